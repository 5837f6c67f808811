"""How a Redis engine is set up: what its URL and its options say."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from everwire.engines.urls import without_secrets
from everwire.errors import ConfigError

__all__ = ["Address", "Settings", "parse"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

NUMBERS = {"timeout": float, "heartbeat": float, "max_waiting": int, "wait_replicas": int, "db": int}
"""Options that are numbers, which come as text from a URL."""


class Address(NamedTuple):
    """Where a server listens: a host and a port, or with port 0 a path."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to reach the servers, and how long to wait for them; the options of
    :class:`~everwire.engines.redis.RedisEngine` where they have the same name.

    Attributes:
        kind: ``"redis"``, ``"sentinel"`` or ``"cluster"``.
        addresses: of the server, the sentinels, or some servers of the cluster.
        master: what the sentinels call the master.
        tls: how to encrypt; None: not at all.
    """

    kind: str
    addresses: tuple[Address, ...]
    master: str = ""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    timeout: float = 5.0
    heartbeat: float = 2.0
    max_waiting: int = 100_000
    wait_replicas: int = 0

    def __str__(self) -> str:
        where = ", ".join(str(each) for each in self.addresses)
        return {
            "sentinel": f"{self.master} of the sentinels at {where}",
            "cluster": f"the cluster at {where}",
        }.get(self.kind, where)


def parse(url: str, *, ssl_context: ssl.SSLContext | None, ssl_ca_certs: str, **options: Any) -> Settings:
    """What a URL and the options beside it say.

    Raises:
        ConfigError: that makes no sense.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ConfigError(
            f"a Redis engine is at {', '.join(each + '://' for each in SCHEMES)}, not at "
            f"{without_secrets(scheme.partition(':')[0])!r}"
        )
    for name in ("username", "password", "db"):
        if options.get(name) is None:
            options.pop(name, None)
    for name, number in NUMBERS.items():
        try:
            if name in options:
                options[name] = number(options[name])
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{name}={options[name]!r} is no number") from None
    security, _, kind = scheme.partition("+")
    if security == "unix":
        path = unquote(rest)
        if not path.startswith("/"):
            raise ConfigError("the path of a Unix socket begins with a slash: unix:///run/redis.sock")
        return _checked(Settings(kind="redis", addresses=(Address(path, 0),), **options))
    if "?" in rest:
        raise ConfigError("options are given by name here; a question mark in a password is written %3F")
    # Before anything is split at a slash: a password may have one, and must not be taken for a host then.
    credentials, _, rest = rest.rpartition("@")
    parts = urlsplit(f"//{rest}")
    hosts = parts.netloc
    username, _, password = credentials.partition(":")
    if credentials:
        options.setdefault("username", unquote(username))
        options.setdefault("password", unquote(password))
    kind = kind or "redis"
    usual = 26379 if kind == "sentinel" else 6379
    addresses = tuple(_address(each, usual) for each in (hosts or "localhost").split(","))
    if kind == "redis" and len(addresses) > 1:
        raise ConfigError("redis:// has one server; for several it is redis+sentinel:// or redis+cluster://")
    names = [unquote(each) for each in parts.path.strip("/").split("/") if each]
    if kind == "sentinel":
        if not names:
            raise ConfigError(
                "the name of the master is missing: redis+sentinel://HOST:26379,HOST:26379/mymaster"
            )
        options["master"] = names.pop(0)
    if names:
        if not names[0].isdecimal() or len(names) > 1:
            raise ConfigError(f"the path of a Redis URL is the number of a database, not {'/'.join(names)!r}")
        options.setdefault("db", int(names[0]))
    tls = None
    if security == "rediss":
        tls = ssl_context or ssl.create_default_context(cafile=ssl_ca_certs or None)
    elif ssl_context is not None or ssl_ca_certs:
        raise ConfigError("TLS needs a URL that begins with rediss")
    return _checked(Settings(kind=kind, addresses=addresses, tls=tls, **options))


def _address(text: str, usual: int) -> Address:
    try:
        parts: SplitResult = urlsplit(f"//{text}")
        return Address(parts.hostname or "localhost", parts.port or usual)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not the address of a Redis server: {error}") from error


def _checked(settings: Settings) -> Settings:
    if settings.kind == "cluster" and settings.db:
        raise ConfigError("a Redis cluster has database 0 only")
    for name in ("timeout", "heartbeat"):
        if not getattr(settings, name) > 0:
            raise ConfigError(f"{name} is a number of seconds above 0, not {getattr(settings, name)!r}")
    if settings.max_waiting < 1 or settings.wait_replicas < 0:
        raise ConfigError("max_waiting is at least 1, and wait_replicas not below 0")
    return settings
