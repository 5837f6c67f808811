"""What a message in NATS has in it: MessagePack arrays, whose last parts are left out where there is nothing.

``[kind, time, data, tags, info, channel]``: *kind* is one of :class:`Kind`, *time* milliseconds since 1970
(in a mark, the offset at which its log stands), *info* ``[user, client, conn_info, chan_info]``.
"""

from __future__ import annotations

import enum
import time
from typing import Any

import msgspec
from msgspec import Raw, Struct

from everwire.errors import EngineError
from everwire.wire.messages import NOTHING, ClientInfo, Publication

__all__ = ["Frame", "Kind", "encode_event", "encode_info", "encode_mark", "encode_publication", "read"]


class Kind(enum.IntEnum):
    """What a frame is."""

    PUBLICATION = 0
    DELTA = 1
    """A publication of which differences are wanted."""
    MARK = 2
    """In place of publications that are gone: the position of their log stays."""
    JOIN = 3
    LEAVE = 4


class Who(Struct, array_like=True):
    """A client."""

    user: str = ""
    client: str = ""
    conn_info: bytes = b""
    chan_info: bytes = b""


class Frame(Struct, array_like=True):
    """A message."""

    kind: int
    time: int = 0
    data: bytes = b""
    tags: dict[str, str] | None = None
    who: Who | None = None
    channel: str = ""

    @property
    def info(self) -> ClientInfo | None:
        """The client, if there is one."""
        who = self.who
        if who is None:
            return None
        return ClientInfo(
            user=who.user,
            client=who.client,
            conn_info=Raw(who.conn_info) if who.conn_info else NOTHING,
            chan_info=Raw(who.chan_info) if who.chan_info else NOTHING,
        )

    def publication(self, offset: int) -> Publication:
        """The publication."""
        return Publication(
            data=Raw(self.data),
            info=self.info,
            offset=offset,
            tags=self.tags or {},
            time=self.time,
            channel=self.channel,
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


def read(data: bytes) -> Frame:
    """Read a message.

    Raises:
        EngineError: it is none of ours.
    """
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise EngineError(f"a message in NATS is not everwire's: {error}") from error


def _who(info: ClientInfo) -> tuple[str, str, bytes, bytes]:
    return info.user, info.client, bytes(info.conn_info), bytes(info.chan_info)


def encode_publication(publication: Publication, *, delta: bool) -> bytes:
    """A publication; one without a time has the present one."""
    kind = 1 if delta else 0
    stamp = publication.time or int(time.time() * 1000)
    head = (kind, stamp, bytes(publication.data))
    if publication.channel:
        info = None if publication.info is None else _who(publication.info)
        return _encode((*head, publication.tags or None, info, publication.channel))
    if publication.info is not None:
        return _encode((*head, publication.tags or None, _who(publication.info)))
    if publication.tags:
        return _encode((*head, publication.tags))
    return _encode(head)


def encode_mark(top: int) -> bytes:
    """What stands for publications that are gone, the last one at offset *top*."""
    return _encode((Kind.MARK.value, top))


def encode_event(kind: Kind, info: ClientInfo) -> bytes:
    """A join or a leave."""
    return _encode((kind.value, 0, b"", None, _who(info)))


def encode_info(info: ClientInfo) -> bytes:
    """A client as presence has it."""
    return encode_event(Kind.JOIN, info)


def encode_value(value: Any) -> bytes:
    """Anything simple."""
    return _encode(value)
