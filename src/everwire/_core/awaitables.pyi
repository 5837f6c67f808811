from collections.abc import Generator

class Done:
    def __await__(self) -> Generator[object]: ...

class Failed(Done):
    def __init__(self, error: BaseException) -> None: ...

class Closing:
    def __await__(self) -> Generator[object]: ...
