"""Connecting sockets: names, literals, races, Unix sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from proxies import Echo

from everwire.websocket.dial import connect_tcp, connect_unix

pytestmark = pytest.mark.reactor("these tests end before there is a connection")


async def echoed(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    with sock:
        assert sock.gettimeout() == 0
        await loop.sock_sendall(sock, b"hello")
        return await loop.sock_recv(sock, 100)


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name have these addresses."""

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, at, 0, 0) if ":" in address else (address, at),
            )
            for address, at in addresses
        ]

    async def resolve(self: Any, host: str, port: int, **kwargs: Any) -> list[Any]:
        return getaddrinfo(host, port)

    monkeypatch.setattr(
        "everwire.websocket.dial._resolve", lambda loop, host, port: resolve(loop, host, port)
    )


def test_literal_resolves_nothing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Echo() as echo:
            monkeypatch.setattr("everwire.websocket.dial._resolve", None)
            sock = await connect_tcp("127.0.0.1", echo.port)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert await echoed(sock) == b"hello"

    run(main)


def test_name(run: Any) -> None:
    async def main() -> None:
        async with Echo() as echo:
            sock = await connect_tcp("localhost", echo.port)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert await echoed(sock) == b"hello"

    run(main)


def test_ipv6_literal(run: Any) -> None:
    async def main() -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            for host in ("::1", "::1%lo", "::1%1"):
                sock = await connect_tcp(host, server.getsockname()[1])
                peer, _ = server.accept()
                with peer, sock:
                    assert peer.getpeername()[:2] == sock.getsockname()[:2]

    run(main)


def test_an_address_that_refuses_does_not_matter(
    run: Any, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    async def main() -> None:
        async with Echo() as echo:
            answers(
                monkeypatch,
                ("::1", unused_tcp_port),
                ("127.0.0.1", unused_tcp_port),
                ("127.0.0.1", echo.port),
            )
            assert await echoed(await connect_tcp("a.example", echo.port)) == b"hello"

    run(main)


def test_an_address_that_says_nothing_is_raced(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Echo() as echo:
            monkeypatch.setattr("everwire.websocket.dial.HAPPY_EYEBALLS_DELAY", 0.01)
            # A full backlog of a socket that accepts nothing: further connections get no answer on Linux.
            with socket.socket() as silent:
                silent.bind(("127.0.0.1", 0))
                silent.listen(0)
                fillers = [socket.socket() for _ in range(4)]
                for filler in fillers:
                    filler.setblocking(False)
                    filler.connect_ex(silent.getsockname())
                answers(monkeypatch, silent.getsockname(), ("127.0.0.1", echo.port))
                assert await echoed(await connect_tcp("a.example", echo.port)) == b"hello"
                for filler in fillers:
                    filler.close()

    run(main)


def test_refused(run: Any, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect_tcp("127.0.0.1", unused_tcp_port)
        answers(monkeypatch, ("::1", unused_tcp_port), ("127.0.0.1", unused_tcp_port))
        with pytest.raises(OSError, match="Multiple exceptions"):
            await connect_tcp("a.example", unused_tcp_port)

    run(main)


def test_name_without_address(run: Any) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror):
            await connect_tcp("host.invalid", 80)

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_local_addr(run: Any, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            sock = await connect_tcp(host, server.getsockname()[1], local_addr=("127.0.0.1", 0))
            peer, address = server.accept()
            with peer, sock:
                assert sock.getsockname() == address

    run(main)


def test_local_addr_that_is_not_ours(run: Any) -> None:
    async def main() -> None:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(OSError):
                await connect_tcp(host, 80, local_addr=("192.0.2.1", 0))

    run(main)


def test_cancelled(run: Any) -> None:
    async def main() -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(silent.getsockname())
            task = asyncio.ensure_future(connect_tcp(*silent.getsockname()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for filler in fillers:
                filler.close()

    run(main)


def test_unix(run: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with pytest.raises(FileNotFoundError):
            await connect_unix(path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            for each in (path, str(path)):
                sock = await connect_unix(each)
                peer, _ = server.accept()
                with peer, sock:
                    await asyncio.get_running_loop().sock_sendall(sock, b"hello")
                    assert peer.recv(100) == b"hello"

    run(main)
