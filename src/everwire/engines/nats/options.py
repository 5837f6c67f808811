"""The options of the engine."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import parse_qsl, unquote

from everwire.engines.urls import without_secrets
from everwire.errors import ConfigError

__all__ = ["NatsOptions"]

MAX_REPLICAS = 5
"""JetStream has no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """The options of :class:`everwire.engines.nats.NatsEngine`, by name or after ``?`` in its URL.

    Attributes:
        prefix: what the names of streams and subjects begin with; hubs with different ones share nothing.
        replicas: servers of a cluster that have a copy of each stream: 1, 3 or 5.
        storage: ``"file"``, or ``"memory"``: quicker, and gone with the server.
        max_size: bytes that the stream of one namespace may have; what would be too much raises
            :class:`~everwire.errors.EngineError`. 0: as much as the account may.
        timeout: seconds that anything may take; then it raises :class:`~everwire.errors.EngineError`.
        max_waiting: publications and reads that wait for NATS at once; more raise it, too.
        username, password, token: who we are; they may be in the URL.
        credentials: a file with a JWT and an nkey, as ``nsc`` makes it.
        nkey: a file with the seed of an nkey.
        ssl: a context for TLS, in place of what the next ones say.
        ssl_ca_certs, ssl_cert, ssl_key: files: authorities to trust (default: the system's), and our own
            certificate and its key.
        servers: where to connect.
    """

    prefix: str = "everwire"
    replicas: int = 1
    storage: str = "file"
    max_size: int = 0
    timeout: float = 5.0
    max_waiting: int = 8192
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    credentials: str | None = None
    nkey: str | None = None
    ssl: ssl_module.SSLContext | None = None
    ssl_ca_certs: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    servers: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= MAX_REPLICAS:
            raise ConfigError(f"replicas={self.replicas!r} is not 1, 3 or 5")
        if self.storage not in ("file", "memory"):
            raise ConfigError(f"storage={self.storage!r} is neither file nor memory")
        if self.max_size < 0:
            raise ConfigError(f"max_size={self.max_size!r} is no number of bytes")
        if self.max_waiting < 1:
            raise ConfigError(f"max_waiting={self.max_waiting!r} is no number from 1 on")
        if not self.timeout > 0:
            raise ConfigError(f"timeout={self.timeout!r} is not a time above 0")
        if (self.ssl_key is None) != (self.ssl_cert is None):
            raise ConfigError("ssl_cert and ssl_key are only of use together")

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, Any]) -> Self:
        """The options that a URL and names give; a name wins.

        Raises:
            ConfigError: what they say does not make sense.
            TypeError: there is no such option.
        """
        scheme, _, rest = url.partition("://")
        if scheme not in ("nats", "tls"):
            raise ConfigError(f"{without_secrets(url)!r} is no URL of NATS: it is nats://HOST or tls://HOST")
        hosts, _, query = rest.partition("?")
        given: dict[str, Any] = {}
        identity, at, hosts = hosts.rstrip("/").rpartition("@")
        if at:
            user, colon, password = identity.partition(":")
            given = (
                {"username": unquote(user), "password": unquote(password)}
                if colon
                else {"token": unquote(user)}
            )
        given |= parse_qsl(query, keep_blank_values=True)
        given |= options
        given = {name: _typed(name, value) for name, value in given.items()}
        given["servers"] = [_server(scheme, each, url) for each in hosts.split(",")]
        unknown = given.keys() - {each.name for each in fields(cls)}
        if unknown:
            raise TypeError(f"NatsEngine() got an unexpected keyword argument {min(unknown)!r}")
        return cls(**given)

    def connecting(self) -> dict[str, Any]:
        """The options of ``nats-py``.

        Raises:
            ConfigError: a file cannot be read.
        """
        options: dict[str, Any] = {"name": "everwire", "tls": self._tls()}
        if self.username is not None:
            options["user"] = self.username
        for name in ("password", "token"):
            if (value := getattr(self, name)) is not None:
                options[name] = value
        for name, path in (("user_credentials", self.credentials), ("nkeys_seed", self.nkey)):
            if path is not None:
                if not os.access(path, os.R_OK):
                    raise ConfigError(f"the file {path} with our credentials for NATS cannot be read")
                options[name] = os.fspath(path)
        return options

    def _tls(self) -> ssl_module.SSLContext | None:
        if self.ssl is not None:
            return self.ssl
        if self.ssl_ca_certs is None and self.ssl_cert is None:
            secure = any(each.startswith("tls:") for each in self.servers)
            return ssl_module.create_default_context() if secure else None
        try:
            context = ssl_module.create_default_context(cafile=self.ssl_ca_certs)
            if self.ssl_cert is not None:
                context.load_cert_chain(self.ssl_cert, self.ssl_key)
        except (OSError, ssl_module.SSLError) as error:
            raise ConfigError(
                f"the certificates for NATS cannot be read: {error} (ssl_ca_certs, ssl_cert, ssl_key)"
            ) from error
        return context


def _typed(name: str, value: Any) -> Any:
    """A value, which may be from a URL, as what it stands for."""
    if name in ("replicas", "max_size", "max_waiting", "timeout"):
        try:
            return float(value) if name == "timeout" else int(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{name}={value!r} is no number") from None
    return str(value) if isinstance(value, int) else value


def _server(scheme: str, host: str, url: str) -> str:
    if "@" in host or not host or "/" in host:
        raise ConfigError(f"{without_secrets(url)!r} has a server that is not HOST or HOST:PORT")
    _, colon, port = host.rpartition(":")
    if colon and not host.endswith("]") and not port.isdecimal():
        raise ConfigError(f"{without_secrets(url)!r} has a port that is no number")
    return f"{scheme}://{host}"
