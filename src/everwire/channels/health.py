"""Whether a node works, and whether it is to be sent clients: its liveness and its readiness."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Health"]


class Health:
    """What keeps a node from being ready: each part of it says so by a name of its own, and takes it back.

    A node that is not ready lives: whom it serves is served as far as that goes. Only who is new had better
    go elsewhere.
    """

    __slots__ = ("_problems",)

    def __init__(self) -> None:
        self._problems: dict[str, str] = {"hub": "it is not started"}

    @property
    def ready(self) -> bool:
        """Whether new clients are welcome."""
        return not self._problems

    @property
    def problems(self) -> Mapping[str, str]:
        """Why it is not ready, by the part that says so, for people. Nothing secret is in there."""
        return dict(self._problems)

    def set(self, part: str, problem: str) -> None:
        """Say what is wrong with a part: ``health.set("drain", "clients are being sent away")``."""
        self._problems[part] = problem

    def clear(self, part: str) -> None:
        """Say that nothing is wrong with it any more."""
        self._problems.pop(part, None)
