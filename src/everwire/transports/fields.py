"""The headers of a request as a session keeps them: in as little memory as there may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Fields"]


class Fields(Mapping[str, str]):
    """Headers by name in lower case; the values of one with several are joined by commas.

    They are kept as one string, since there are as many of these as sessions, and few are ever looked at.
    """

    __slots__ = ("_lines",)

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._lines = "\n".join([f"{name.lower()}:{value}" for name, value in items])

    def _read(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in self._lines.split("\n") if self._lines else ():
            name, _, value = line.partition(":")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
