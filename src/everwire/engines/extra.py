"""The fields of a publication that most do not have, as bytes to be kept beside its payload."""

from __future__ import annotations

import msgspec

from everwire.wire.messages import ClientInfo, Publication

__all__ = ["decode", "decode_info", "encode", "encode_info"]


class Extra(msgspec.Struct, array_like=True, omit_defaults=True):
    """What is encoded."""

    tags: dict[str, str] = {}
    channel: str = ""
    user: str | None = None
    client: str = ""
    conn_info: bytes = b""
    chan_info: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Extra)


def encode(publication: Publication) -> bytes | None:
    """The fields of a publication beside payload, offset and time; None: it has no other."""
    info = publication.info
    if info is None and not publication.tags and not publication.channel:
        return None
    extra = Extra(publication.tags, publication.channel)
    if info is not None:
        extra.user, extra.client = info.user, info.client
        extra.conn_info, extra.chan_info = bytes(info.conn_info), bytes(info.chan_info)
    return _encoder.encode(extra)


def decode(offset: int, time: int, data: bytes, extra: bytes | None) -> Publication:
    """A publication from its parts."""
    publication = Publication(data=msgspec.Raw(data), offset=offset, time=time)
    if extra is not None:
        more = _decoder.decode(extra)
        publication.tags, publication.channel = more.tags, more.channel
        publication.info = _info(more)
    return publication


def encode_info(info: ClientInfo) -> bytes:
    """Who somebody is."""
    return _encoder.encode(
        Extra({}, "", info.user, info.client, bytes(info.conn_info), bytes(info.chan_info))
    )


def decode_info(data: bytes) -> ClientInfo:
    """Who somebody is, from what :func:`encode_info` made."""
    return _info(_decoder.decode(data)) or ClientInfo()


def _info(extra: Extra) -> ClientInfo | None:
    if extra.user is None:
        return None
    return ClientInfo(
        user=extra.user,
        client=extra.client,
        conn_info=msgspec.Raw(extra.conn_info),
        chan_info=msgspec.Raw(extra.chan_info),
    )
