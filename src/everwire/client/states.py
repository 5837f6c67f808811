"""The states of a client and of a subscription, and the codes that say why they change.

The names and numbers are those that Centrifugo's specification of client SDKs gives them; codes of the server
(from 3000 for connections, from 2000 for subscriptions, below 2000 for errors) come beside these.
"""

from __future__ import annotations

from enum import Enum, IntEnum

__all__ = [
    "ClientState",
    "ConnectingCode",
    "DisconnectedCode",
    "SubscribingCode",
    "SubscriptionState",
    "UnsubscribedCode",
]


class ClientState(Enum):
    """Where a client is."""

    DISCONNECTED = "disconnected"
    """It was not told to connect, or told to disconnect, or the server sent it away for good."""
    CONNECTING = "connecting"
    """It connects, for the first time or again."""
    CONNECTED = "connected"
    """The server has accepted it."""


class SubscriptionState(Enum):
    """Where a subscription is."""

    UNSUBSCRIBED = "unsubscribed"
    """It is over."""
    SUBSCRIBING = "subscribing"
    """It waits for the server to accept it, for the first time or again."""
    SUBSCRIBED = "subscribed"
    """The server has accepted it."""


class Reasoned(IntEnum):
    """A code with what it means."""

    reason: str

    def __new__(cls, value: int, reason: str) -> Reasoned:
        """Make a code of its number and its meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.reason = reason
        return code

    @property
    def told(self) -> tuple[int, str]:
        """The code as a plain number, and what it means."""
        return int(self), self.reason


class ConnectingCode(Reasoned):
    """Why a client connects."""

    CONNECT_CALLED = 0, "connect called"
    TRANSPORT_CLOSED = 1, "transport closed"
    NO_PING = 2, "no ping"
    SUBSCRIBE_TIMEOUT = 3, "subscribe timeout"
    UNSUBSCRIBE_ERROR = 4, "unsubscribe error"


class DisconnectedCode(Reasoned):
    """Why a client is not connected, where not the server said so."""

    DISCONNECT_CALLED = 0, "disconnect called"
    UNAUTHORIZED = 1, "unauthorized"
    BAD_PROTOCOL = 2, "bad protocol"
    MESSAGE_SIZE_LIMIT = 3, "message size limit exceeded"


class SubscribingCode(Reasoned):
    """Why a subscription is not there yet, where not the server said so."""

    SUBSCRIBE_CALLED = 0, "subscribe called"
    TRANSPORT_CLOSED = 1, "transport closed"


class UnsubscribedCode(Reasoned):
    """Why a subscription is over, where not the server said so."""

    UNSUBSCRIBE_CALLED = 0, "unsubscribe called"
    UNAUTHORIZED = 1, "unauthorized"
    CLIENT_CLOSED = 2, "client closed"
