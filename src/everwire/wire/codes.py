"""The codes of the client protocol, with what they mean: of errors, disconnections, ended subscriptions."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

__all__ = ["DisconnectCode", "ErrorCode", "UnsubscribeCode"]


class Code(IntEnum):
    """A code, and what it means."""

    reason: str

    def __new__(cls, value: int, reason: str = "", *more: object) -> Self:
        code = int.__new__(cls, value)
        code._value_ = value
        code.reason = reason
        return code


class ErrorCode(Code):
    """Why a command failed. Codes from 400 to 1999 are the application's own."""

    temporary: bool

    def __init__(self, value: int, reason: str = "", temporary: bool = False) -> None:
        self.temporary = temporary

    INTERNAL = 100, "internal server error", True
    UNAUTHORIZED = 101, "unauthorized"
    UNKNOWN_CHANNEL = 102, "unknown channel"
    PERMISSION_DENIED = 103, "permission denied"
    METHOD_NOT_FOUND = 104, "method not found"
    ALREADY_SUBSCRIBED = 105, "already subscribed"
    LIMIT_EXCEEDED = 106, "limit exceeded"
    BAD_REQUEST = 107, "bad request"
    NOT_AVAILABLE = 108, "not available"
    TOKEN_EXPIRED = 109, "token expired"
    EXPIRED = 110, "expired"
    TOO_MANY_REQUESTS = 111, "too many requests", True
    UNRECOVERABLE_POSITION = 112, "unrecoverable position"
    CONCURRENT_PAGINATION = 113, "concurrent pagination", True


class DisconnectCode(Code):
    """Why the server ended a connection. Clients come back after 3000 to 3499 and 4000 to 4499 only."""

    CONNECTION_CLOSED = 3000, "connection closed"
    SHUTDOWN = 3001, "shutdown"
    SERVER_ERROR = 3004, "internal server error"
    EXPIRED = 3005, "connection expired"
    SUB_EXPIRED = 3006, "subscription expired"
    SLOW = 3008, "slow"
    WRITE_ERROR = 3009, "write error"
    INSUFFICIENT_STATE = 3010, "insufficient state"
    FORCE_RECONNECT = 3011, "force reconnect"
    NO_PONG = 3012, "no pong"
    TOO_MANY_REQUESTS = 3013, "too many requests"
    STATE_INVALIDATED = 3014, "state invalidated"
    INVALID_TOKEN = 3500, "invalid token"
    BAD_REQUEST = 3501, "bad request"
    STALE = 3502, "stale"
    FORCE_NO_RECONNECT = 3503, "force disconnect"
    CONNECTION_LIMIT = 3504, "connection limit"
    CHANNEL_LIMIT = 3505, "channel limit"
    INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol"
    PERMISSION_DENIED = 3507, "permission denied"
    NOT_AVAILABLE = 3508, "not available"
    TOO_MANY_ERRORS = 3509, "too many errors"

    @property
    def reconnect(self) -> bool:
        """Whether a client comes back by itself."""
        return self < 3500


class UnsubscribeCode(Code):
    """Why a subscription ended. From 2500 on the client subscribes anew by itself."""

    CLIENT = 0, "client unsubscribed"
    DISCONNECT = 1, "client disconnected"
    SERVER = 2000, "server unsubscribe"
    INSUFFICIENT_STATE = 2500, "insufficient state"
    EXPIRED = 2501, "subscription expired"
    STATE_INVALIDATED = 2502, "state invalidated"
