from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, overload

class _Awaitable(Coroutine[Any, Any, None]):
    """The methods of a coroutine, by which asyncio takes it for one; of the stub only."""

    def __await__(self) -> Generator[Any, Any]: ...
    def send(self, value: Any) -> Any: ...
    @overload
    def throw(
        self, kind: type[BaseException], error: object = None, trace: TracebackType | None = None, /
    ) -> Any: ...
    @overload
    def throw(
        self, error: BaseException, nothing: None = None, trace: TracebackType | None = None, /
    ) -> Any: ...
    def close(self) -> None: ...

class Done(_Awaitable): ...

class Failed(Done):
    def __init__(self, error: BaseException) -> None: ...

class Closing(_Awaitable):
    """Not a plain ``Coroutine``, so that checkers let who does not wait leave it alone."""
