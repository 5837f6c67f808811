"""The names of what the Redis engine keeps."""

from __future__ import annotations

from binascii import crc_hqx
from functools import lru_cache
from typing import NamedTuple

from everwire.engines.redis.link import unicode

__all__ = ["SLOTS", "ChannelKeys", "Keys", "slot_of"]

SLOTS = 16384
"""Into how many parts Redis Cluster divides all keys."""

KNOWN = 10_000
"""Channels whose keys are kept at hand."""


class ChannelKeys(NamedTuple):
    """The keys of a channel, all in one slot of a cluster.

    Attributes:
        meta: a hash of epoch, top offset and so on.
        log: a stream of publications.
        tail: where those who follow the channel are told of it.
        clients: a hash of who is present, by client.
        leases: a sorted set of these clients, by the end of their lease.
        users: a hash of how many clients each user has there.
        slot: of all these.
    """

    meta: bytes
    log: bytes
    tail: bytes
    clients: bytes
    leases: bytes
    users: bytes
    slot: int


def slot_of(tag: bytes) -> int:
    """The slot of keys with this hash tag (Redis Cluster specification, "Hash tags")."""
    return crc_hqx(tag, 0) % SLOTS


class Keys:
    """Names keys after channels: ``PREFIX:log:{CHANNEL}``.

    The braces are what a cluster finds a key's slot by. A ``}`` in a channel's name would end them early, and
    an empty name is no tag: so ``%`` and ``}`` are written ``%25`` and ``%7D``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self.of = lru_cache(KNOWN)(self._of)

    def _of(self, channel: str) -> ChannelKeys:
        tag = _tag(channel)
        meta, log, tail, clients, leases, users = (
            self._key(kind, tag) for kind in (b"meta", b"log", b"tail", b"clients", b"leases", b"users")
        )
        return ChannelKeys(meta, log, tail, clients, leases, users, slot_of(tag))

    def once(self, channel: str, idempotency_key: str) -> bytes:
        """Where the position of a publication is kept that had this key."""
        return self._key(b"once", _tag(channel)) + b":" + unicode(str.encode, idempotency_key)

    def control(self, node: str) -> tuple[bytes, int]:
        """Where a node (empty: every node) is told what others send to it, and the slot of that."""
        tag = _tag(node or "*")
        return self._key(b"control", tag), slot_of(tag)

    def pattern(self, kind: bytes) -> bytes:
        """What all keys of a kind match, as ``SCAN`` and ``PUBSUB`` take it."""
        prefix = b"".join(b"\\" + each if each in b"*?[]\\^-" else each for each in _split(self._prefix))
        return prefix + b":" + kind + b":{*}"

    def channel(self, kind: bytes, key: bytes) -> str:
        """The channel that a key of this kind is of."""
        tag = key[len(self._prefix) + len(kind) + 3 : -1]
        return tag.replace(b"%7D", b"}").replace(b"%25", b"%").decode(errors="replace")

    def _key(self, kind: bytes, tag: bytes) -> bytes:
        return b"%b:%b:{%b}" % (self._prefix, kind, tag)


def _tag(name: str) -> bytes:
    tag = unicode(str.encode, name)
    if b"%" in tag or b"}" in tag:
        tag = tag.replace(b"%", b"%25").replace(b"}", b"%7D")
    return tag


def _split(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]
