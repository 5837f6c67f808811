"""A load balancer without stickiness: each new TCP connection goes to the next node."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence

from live import HOST
from proxies import Proxy


class Balancer(Proxy):
    """Takes turns.

    Attributes:
        turn: which node is next.
        targets: which node each connection went to.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__()
        self.ports = ports
        self.turn = 0
        self.targets: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self.ports:
            target, self.turn = self.turn, (self.turn + 1) % len(self.ports)
            self.targets.append(target)
            try:
                await self.relay((HOST, self.ports[target]), reader, writer)
            except ConnectionRefusedError:
                continue  # it is down: the next one
            return

    def cut(self) -> None:
        """Cut all connections."""
        for task in list(self._connections):
            task.cancel()

    async def shut(self) -> None:
        """Cut all connections, and refuse new ones."""
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    async def reopen(self) -> None:
        """Take connections again."""
        self._server = await asyncio.start_server(self._connected, HOST, self.port)


@contextlib.contextmanager
def balancing(ports: Sequence[int]) -> Iterator[Balancer]:
    """A balancer in a thread of its own, for programs that are waited for."""
    started: list[Balancer] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        async with Balancer(ports) as balancer:
            started.append(balancer)
            ready.set()
            await over.wait()

    def work() -> None:
        with contextlib.closing(loop):
            loop.run_until_complete(main())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(10), "the balancer does not start"
        yield started[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
