"""How a connection to a Redis server begins, and what its errors mean."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from everwire.engines.redis.link import Link, LinkLost, Refused, pack
from everwire.engines.redis.settings import Address, Settings
from everwire.errors import EngineError

__all__ = ["FAILURES", "connect", "explain", "greet", "read_info"]

OLDEST = (6, 2)
"""The version of Redis that has what the scripts use (``XTRIM MINID``)."""

FAILURES = (EngineError, Refused, OSError, TimeoutError, ssl.SSLError, ValueError, LookupError)
"""What may go wrong with a server; the last two: its name is none, or what it says of itself is nonsense."""

REMEDIES = {
    "OOM": "it has reached its maxmemory: give it more, or keep less (history, ttl)",
    "NOAUTH": "it needs a password: redis://USER:PASSWORD@HOST, or the option password",
    "WRONGPASS": "it does not take this user name and password",
    "NOPERM": "this user may not do that: it needs the commands of hashes, streams, sorted sets, strings, "
    "pub/sub and scripts, HELLO, INFO, PING, SCAN and WAIT, for the keys and channels of pub/sub with the "
    "prefix",
    "MISCONF": "it cannot save its data to the disk and takes no writes until it can",
    "NOREPLICAS": "fewer replicas than its min-replicas-to-write are there, so it takes no writes",
    "READONLY": "it is a replica, which takes no writes",
    "LOADING": "it still loads its data",
    "CLUSTERDOWN": "its cluster does not have all slots at the moment",
    "MASTERDOWN": "it is a replica without its master",
    "BUSY": "it runs a script that does not end",
}
"""What the errors of Redis mean, by their first word."""


async def connect(
    settings: Settings,
    address: Address,
    on_push: Callable[[list[Any]], None],
    on_lost: Callable[[Link, Exception], None],
) -> Link:
    """Open a connection, on which nothing was sent yet.

    Raises:
        OSError: that is not possible.
    """
    loop = asyncio.get_running_loop()

    def make() -> Link:
        return Link(
            on_push=on_push,
            on_lost=on_lost,
            timeout=settings.timeout,
            max_waiting=settings.max_waiting,
            replicas=settings.wait_replicas,
        )

    if address.port:
        _, link = await loop.create_connection(make, address.host, address.port, ssl=settings.tls)
    else:
        _, link = await loop.create_unix_connection(make, address.host)
    return link


async def greet(link: Link, settings: Settings, name: str) -> dict[str, str]:
    """Say who we are, and in which way we speak; return what the server says about itself.

    Raises:
        EngineError: it is too old.
        Refused: it does not want us.
    """
    hello: list[bytes | str | int] = ["HELLO", 3]
    if settings.password or settings.username:
        hello += ["AUTH", settings.username or "default", settings.password]
    answers = [link.send(pack(*hello, "SETNAME", name))]
    if settings.db:
        answers.append(link.send(pack("SELECT", settings.db)))
    answers.append(link.send(pack("INFO")))
    try:
        *_, info = await asyncio.gather(*answers)
    except Refused as error:
        if "unknown command" in str(error):
            raise EngineError("the server is older than Redis 6.2, which this needs") from error
        raise
    found = read_info(info)
    version = found.get("redis_version", "0")
    if tuple(int(each) for each in version.split(".")[:2]) < OLDEST:
        raise EngineError(f"the server is Redis {version}, but this needs 6.2 or newer")
    return found


def read_info(info: bytes) -> dict[str, str]:
    """The answer of ``INFO``."""
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, separator, value in lines if separator}


def explain(error: BaseException, where: object) -> EngineError:
    """What went wrong, in words that help."""
    if isinstance(error, Refused):
        remedy = REMEDIES.get(error.code)
        return EngineError(f"Redis at {where} has refused: {f'{remedy} ({error})' if remedy else error}")
    if isinstance(error, LinkLost):
        return LinkLost(f"Redis at {where}: {error}")
    if isinstance(error, TimeoutError):
        return EngineError(f"Redis at {where} does not answer")
    return EngineError(f"Redis at {where}: {error}")
