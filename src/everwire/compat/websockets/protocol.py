"""The states and the sides of a connection."""

from __future__ import annotations

import enum

__all__ = ["CLIENT", "CLOSED", "CLOSING", "CONNECTING", "OPEN", "SERVER", "Side", "State"]


class State(enum.IntEnum):
    """The state of a connection."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class Side(enum.IntEnum):
    """Which end a connection is."""

    SERVER = 0
    CLIENT = 1


CONNECTING, OPEN, CLOSING, CLOSED = State
SERVER, CLIENT = Side
