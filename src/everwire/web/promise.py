"""Outcomes that are there to be awaited, or not."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Generic, TypeVar

__all__ = ["Promise"]

T = TypeVar("T")


class Promise(Generic[T]):
    """What will come of something. It may be awaited any number of times, at any time, or never."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[T] = loop.create_future()

    def __await__(self) -> Generator[Any, None, T]:
        # Who stops waiting stops for himself alone.
        return asyncio.shield(self._future).__await__()

    def __repr__(self) -> str:
        if not self._future.done():
            return "<Promise, pending>"
        error = self._future.exception()
        return f"<Promise of {self._future.result()!r}>" if error is None else f"<Promise, {error!r}>"

    @property
    def settled(self) -> bool:
        """Whether the outcome is known."""
        return self._future.done()

    def resolve(self, value: T) -> None:
        """It went well; only the first outcome counts."""
        if not self._future.done():
            self._future.set_result(value)

    def reject(self, error: BaseException) -> None:
        """It failed; only the first outcome counts."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # nobody has to look at it
