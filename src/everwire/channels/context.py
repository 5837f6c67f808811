"""What hooks are told, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from everwire.channels.options import SubscribeOptions, as_answer

if TYPE_CHECKING:
    from everwire.channels.carrier import Origin
    from everwire.channels.session import Session

__all__ = ["Context", "Credentials", "as_credentials"]


@dataclass(slots=True, kw_only=True)
class Credentials:
    """Who a session is of: what a ``connect`` hook answers.

    Attributes:
        user: the user's id; empty: nobody known.
        info: about the user, told by presence, joins and publications: any value that JSON can carry.
        expire_at: when the session expires unless it is refreshed, in seconds since 1970; 0: never.
        client_side_refresh: whether the client is to refresh it with a new token; else the ``refresh`` hook
            is asked.
        data: for the client, with the answer.
        channels: channels to subscribe the client to, from the server's side: names, or names with options.
        meta: kept with the session, for later hooks; the client does not see it.
        caps: what the user may do beyond the channels' options: see :mod:`everwire.channels.tokens`.
    """

    user: str = ""
    info: Any = None
    expire_at: float = 0
    client_side_refresh: bool = True
    data: Any = None
    channels: list[str] | Mapping[str, SubscribeOptions | None] = field(default_factory=list[str])
    meta: Any = None
    caps: Any = None


def as_credentials(answer: object) -> Credentials:
    """What a hook has answered.

    Raises:
        TypeError: it is neither credentials nor a dict of them.
    """
    return as_answer(Credentials, answer, "Unauthorized")


class Context:
    """A session, as hooks see it: who asks, from where, and for what.

    Attributes:
        channel: the channel that is asked for; empty where there is none.
        token: the token that came with the request; empty without one.
    """

    __slots__ = ("_data", "_session", "channel", "token")

    def __init__(
        self, session: Session, *, channel: str = "", data: Raw | None = None, token: str = ""
    ) -> None:
        self._session = session
        self._data = data
        self.channel = channel
        self.token = token

    @property
    def user(self) -> str:
        """The user's id; empty: nobody known."""
        return self._session.user

    @property
    def client(self) -> str:
        """The id of this connection."""
        return self._session.client

    @property
    def transport(self) -> str:
        """The transport's name: ``"websocket"``, ``"sse"``, ``"http_stream"``, ``"long_poll"`` ..."""
        return self._session.transport

    @property
    def info(self) -> Any:
        """What is told about the user to others."""
        info = bytes(self._session.info)
        return msgspec.json.decode(info) if info else None

    @property
    def meta(self) -> Any:
        """What the token or the ``connect`` hook gave to keep."""
        return self._session.meta

    @property
    def data(self) -> Any:
        """What the client has sent with the request, as JSON has it; None: nothing."""
        raw = self.raw_data
        return msgspec.json.decode(raw) if raw else None

    @property
    def raw_data(self) -> bytes:
        """The same as bytes."""
        return b"" if self._data is None else bytes(self._data)

    @property
    def origin(self) -> Origin:
        """Where the session comes from: headers, path, address, the ASGI scope."""
        return self._session.origin

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request by which the session came, names in lower case."""
        return self._session.origin.headers

    @property
    def scope(self) -> Mapping[str, Any]:
        """The ASGI scope of that request: where frameworks keep session and user. Empty without one."""
        return self._session.origin.scope or {}

    def __repr__(self) -> str:
        return f"<Context of {self.user or 'nobody known'!r} on {self.transport}, channel {self.channel!r}>"
