"""Listening sockets: by host and port, by path, or given."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Where", "addresses_of", "listening_sockets", "port_of", "remove_path", "unix_socket"]

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a server listens: host and port, a Unix socket's path, or sockets that somebody else has bound.

    Raises:
        TypeError: there is no place, or more than one.
    """

    host: str | Sequence[str] | None
    port: int | None
    unix: str | os.PathLike[str] | None
    sock: socket.socket | Sequence[socket.socket] | None
    backlog: int
    reuse_port: bool
    reuse_address: bool

    def __post_init__(self) -> None:
        places = sum(x is not None for x in (self.unix, self.sock, self.port))
        if places == 0:
            raise TypeError("name where to listen: host and port (0 for any free one), unix, or sock")
        if places > 1:
            raise TypeError("name one place to listen: host and port, unix, or sock")

    @property
    def path(self) -> str | None:
        """The path of the Unix socket, if that is the place."""
        return None if self.unix is None else os.fspath(self.unix)

    async def sockets(self) -> list[socket.socket]:
        """Return the sockets, which listen from now on.

        Raises:
            OSError: the place cannot be listened on; the message says why.
        """
        if self.sock is not None:
            given = [self.sock] if isinstance(self.sock, socket.socket) else list(self.sock)
            for one in given:
                one.listen(self.backlog)
            return given
        if self.path is not None:
            return [unix_socket(self.path, backlog=self.backlog)]
        return await listening_sockets(
            self.host,
            self.port,
            backlog=self.backlog,
            reuse_port=self.reuse_port,
            reuse_address=self.reuse_address,
        )


async def listening_sockets(
    host: str | Sequence[str] | None, port: int | None, *, backlog: int, reuse_port: bool, reuse_address: bool
) -> list[socket.socket]:
    """Return sockets that listen on *port* at every address of *host* (None: all interfaces).

    Raises:
        OSError: an address cannot be listened on; the message names it.
    """
    loop = asyncio.get_running_loop()
    hosts: Sequence[str | None] = (
        [None] if host is None or host == "" else [host] if isinstance(host, str) else host
    )
    addresses: dict[tuple[int, tuple[Any, ...]], None] = {}
    for one in hosts:
        found = await loop.getaddrinfo(
            one, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, family=socket.AF_UNSPEC
        )
        addresses.update(((info[0], info[4]), None) for info in found if info[0] in _FAMILIES)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            sock = _bound(family, address, reuse_port=reuse_port, reuse_address=reuse_address)
            if sock is not None:
                sockets.append(sock)
                sock.listen(backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"no address of {host!r} can be listened on")
    return sockets


def _bound(
    family: int, address: tuple[Any, ...], *, reuse_port: bool, reuse_address: bool
) -> socket.socket | None:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None  # the machine has no such family
    try:
        if reuse_address:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError as exc:
        sock.close()
        raise _explained(exc, address) from None
    return sock


def _explained(exc: OSError, address: tuple[Any, ...]) -> OSError:
    host, port = address[:2]
    where = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if exc.errno == errno.EADDRINUSE:
        return OSError(
            exc.errno,
            f"{where} is in use: stop what listens there, or choose another port (0 for any free one)",
        )
    if exc.errno == errno.EACCES:
        return OSError(exc.errno, f"{where} may not be listened on: ports below 1024 need privileges")
    return OSError(exc.errno, f"{where} cannot be listened on: {exc.strerror}")


def unix_socket(path: str, *, backlog: int) -> socket.socket:
    """Return a socket that listens at *path*, in place of one that is left from a process that is gone.

    Raises:
        OSError: the path is something else than a socket, somebody listens there, or it cannot be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not path.startswith("\0"):
            _remove_stale(path)
        sock.bind(path)
        sock.listen(backlog)
    except OSError as exc:
        sock.close()
        raise OSError(exc.errno, f"cannot listen at {path!r}: {exc.strerror}") from None
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file that is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass  # somebody is there, but too busy, or not for us
    raise OSError(errno.EADDRINUSE, "another process listens there")


def remove_path(path: str) -> None:
    """Remove the file of a Unix socket that is closed."""
    if not path.startswith("\0"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def addresses_of(sockets: Sequence[socket.socket]) -> list[str]:
    """The addresses of sockets that are open, as ``host:port`` or a path."""
    names: list[str] = []
    for sock in sockets:
        if sock.fileno() < 0:
            continue
        name: tuple[Any, ...] | str | bytes = sock.getsockname()
        if isinstance(name, tuple):
            host, port = name[:2]
            names.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        else:
            names.append(str(name))
    return names


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port of the first socket; 0 for a Unix socket."""
    name: tuple[Any, ...] | str | bytes = sockets[0].getsockname()
    return int(name[1]) if isinstance(name, tuple) else 0
