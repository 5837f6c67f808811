"""Connecting sockets: name resolution, happy eyeballs (RFC 8305), Unix sockets.

Deadlines are the caller's: it wraps what it does in one ``asyncio.timeout``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from typing import Any

from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]

from everwire.websocket.uri import is_ip_address

__all__ = ["connect_tcp", "connect_unix"]

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered (RFC 8305, section 5)."""


async def connect_tcp(host: str, port: int, *, local_addr: tuple[str, int] | None = None) -> socket.socket:
    """Opens a TCP connection and returns its non-blocking socket.

    Args:
        host: a name, whose addresses are raced, or an IP address, for which nothing is resolved.
        port: the port.
        local_addr: the address to connect from.

    Raises:
        OSError: no address accepted the connection, or the name has none.
    """
    if is_ip_address(host):
        family, address = _literal(host, port)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if local_addr is not None:
                sock.bind(local_addr)
            await _connect(sock, address)
        except BaseException:
            sock.close()
            raise
    else:
        loop = asyncio.get_running_loop()
        local = await _resolve(loop, *local_addr) if local_addr is not None else None
        sock = await start_connection(
            await _resolve(loop, host, port),
            local_addr_infos=local,
            happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
            loop=loop,
        )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def connect_unix(path: str | os.PathLike[str]) -> socket.socket:
    """Connects to a Unix socket and returns the non-blocking socket.

    Raises:
        OSError: there is no server at that path.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, os.fspath(path))
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(sock: socket.socket, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        return await loop.sock_connect(sock, address)
    # What sock_connect does, without its preparations: they take longer than the rest, most of all in uvloop.
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        fd = sock.fileno()
        connected: asyncio.Future[None] = loop.create_future()
        loop.add_writer(fd, _done, connected)
        try:
            await connected
        finally:
            loop.remove_writer(fd)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, f"cannot connect to {address[0]} port {address[1]}: {os.strerror(error)}")
    return None


def _done(connected: asyncio.Future[None]) -> None:
    if not connected.done():
        connected.set_result(None)


def _literal(host: str, port: int) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]]:
    if ":" not in host:
        return socket.AF_INET, (host, port)
    address, _, zone = host.partition("%")
    scope = 0 if not zone else int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    return socket.AF_INET6, (address, port, 0, scope)


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Any]:
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"the name {host} has no address")
    return list(found)
