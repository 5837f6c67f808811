"""Engines: where the logs of channels are kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

from everwire.channels.engine import Engine
from everwire.engines.urls import without_secrets
from everwire.errors import ConfigError

__all__ = ["open_engine"]


def open_engine(url: str | None = None, **options: Any) -> Engine:
    """The engine that a URL names; the hub starts it.

    ``memory:`` (and None) keeps everything in the memory of the process
    (:class:`~everwire.engines.memory.MemoryEngine`), ``sqlite:PATH`` logs in a file
    (:class:`~everwire.engines.sqlite.SqliteEngine`), ``nats://HOST:PORT`` logs in NATS JetStream
    (:class:`~everwire.engines.nats.NatsEngine`; needs the extra ``nats``), ``redis://HOST:PORT`` all in Redis
    (:class:`~everwire.engines.redis.RedisEngine`; needs the extra ``redis``). Their options can be given by
    name, the simple ones in the URL: ``sqlite:log.db?synchronous=normal``.

    Raises:
        ConfigError: there is no such engine, it has no such option, or what it needs is not installed.
    """
    scheme, _, rest = (url or "memory:").partition(":")
    path, _, query = rest.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if not name.isidentifier():
            # Not shown: it may be the end of a password.
            raise ConfigError(
                f"{without_secrets(scheme)}: after the ? are options, NAME=VALUE; one in a password is %3F"
            )
        # Those of servers know by themselves which options are numbers: a password may be one of digits.
        numeric = scheme in ("memory", "sqlite") and value.isdecimal()
        options.setdefault(name, int(value) if numeric else value)
    try:
        if scheme in ("nats", "tls"):
            try:
                from everwire.engines.nats import NatsEngine
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"{scheme}: needs a package: pip install 'everwire[nats]' ({error})"
                ) from error
            return NatsEngine(f"{scheme}:{path}", **options)
        if scheme == "memory" and not path:
            from everwire.engines.memory import MemoryEngine

            return MemoryEngine(**options)
        if scheme == "sqlite":
            from everwire.engines.sqlite import SqliteEngine

            if path.startswith("//"):
                raise ConfigError(
                    f"{url!r} has two slashes too many: it is sqlite:PATH, as in sqlite:/var/lib/a.db"
                )
            return SqliteEngine(unquote(path), **options)
        if scheme.partition("+")[0] in ("redis", "rediss", "unix"):
            try:
                from everwire.engines.redis import RedisEngine
            except ModuleNotFoundError as error:
                raise ConfigError(
                    f"{scheme}: needs a package: pip install 'everwire[redis]' ({error})"
                ) from error
            return RedisEngine(f"{scheme}:{path}", **options)
    except TypeError as error:
        raise ConfigError(f"{scheme}: {str(error).rpartition('() ')[2]}") from error
    raise ConfigError(
        f"there is no engine {without_secrets(scheme)!r}: it is memory:, sqlite:PATH, nats://HOST:PORT or "
        "redis://HOST:PORT"
    )
