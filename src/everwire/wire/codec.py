"""What a format of the client protocol does: messages to bytes and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from everwire.wire.messages import Command, EmulationRequest, Push, Reply

__all__ = ["Codec"]


class Codec(Protocol):
    """A format: JSON or Protobuf.

    A *frame* is what one WebSocket message (or one event, or one chunk) carries: one or more messages, in
    JSON each on a line, in Protobuf each after its length (a varint).

    Attributes:
        name: ``"json"`` or ``"protobuf"``.
        binary: whether its frames are binary.
        ping: the frame of a server's ping, an empty reply.
        pong: the frame of a client's answer, an empty command.
    """

    name: str
    binary: bool
    ping: bytes
    pong: bytes

    def decode_commands(self, frame: bytes | str) -> list[Command]:
        """Read the commands of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        ...

    def encode_commands(self, commands: Iterable[Command]) -> bytes:
        """Make a frame of commands."""
        ...

    def decode_replies(self, frame: bytes | str) -> list[Reply]:
        """Read the replies of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        ...

    def encode_replies(self, replies: Iterable[Reply]) -> bytes:
        """Make a frame of replies.

        Raises:
            WireError: a payload is not of this format (JSON cannot carry binary data).
        """
        ...

    def encode_push(self, push: Push) -> bytes:
        """Make a frame of one push without a reply around it: for unidirectional transports."""
        ...

    def decode_emulation(self, body: bytes | str) -> EmulationRequest:
        """Read the body of a request with commands for a session: one message, without a length before it.

        Raises:
            WireError: it is malformed.
        """
        ...
