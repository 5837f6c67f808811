"""What channels, keys and clients are called in NATS: subjects, and the names of streams."""

from __future__ import annotations

import hashlib
import re

from everwire.errors import ConfigError, EngineError

__all__ = ["Names", "from_token", "token"]

MAX_TOKEN = 1400
"""Bytes of a name in a subject: a line of NATS's protocol has 4096, and two names and more are in it."""

_SPECIAL = re.compile(r"[\x00-\x20\x7f.*>=]")
_FILE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def token(name: str) -> str:
    """A name as one token of a subject: what has a meaning there is ``=`` and two hexadecimal digits.

    Raises:
        EngineError: it is too long.
    """
    text = _SPECIAL.sub(lambda found: f"={ord(found[0]):02X}", name) or "="
    if len(text) > MAX_TOKEN // 4 or not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise EngineError(f"the name {name[:32]!r} cannot be written in UTF-8") from None
        if size <= MAX_TOKEN:
            return text
        raise EngineError(f"the name {name[:32]!r}... is too long for NATS: {MAX_TOKEN} bytes are the limit")
    return text


def from_token(text: str) -> str:
    """The name that a token stands for."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if text != "=" else ""


class Names:
    """The names of one hub: all begin with its prefix, so that hubs can share a NATS.

    Raises:
        ConfigError: the prefix is not letters, digits, ``_`` and ``-``, in parts with dots between.
    """

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix) or len(prefix) > 64:
            raise ConfigError(
                f"prefix={prefix!r} is not a beginning of NATS subjects: it is up to 64 letters, digits, "
                "'_' and '-', in parts with dots between"
            )
        flat = prefix.replace(".", "=2E")
        self.prefix = prefix
        self.logs = f"{prefix}.log.>"
        self.keys = f"{flat}_keys"
        self.key_subjects = f"{prefix}.keys.*"
        self.presence = f"KV_{flat}_presence"
        self.presence_subjects = f"$KV.{flat}_presence."
        self._flat = flat

    def stream(self, namespace: str) -> str:
        """The stream of a namespace."""
        escaped = "".join(chr(byte) if byte in _FILE else f"={byte:02X}" for byte in namespace.encode())
        return f"{self._flat}_log_{escaped}" if namespace else f"{self._flat}_log"

    def log(self, kind: str, namespace: str, epoch: str) -> str:
        """What the subjects of a stream begin with: of its logs (``log``), keys and versions."""
        return f"{self.prefix}.{kind}.{token(namespace)}.{epoch}."

    def live(self, channel: str) -> str:
        """What the subjects of a channel's events begin with."""
        return f"{self.prefix}.live.{token(channel)}."

    def key(self, channel: str, key: str) -> str:
        """An idempotency key as a token."""
        return hashlib.blake2b(f"{channel}\0{key}".encode(errors="replace"), digest_size=16).hexdigest()

    def ephemeral_key(self, channel: str, key: str) -> str:
        """The subject of an idempotency key of a channel without a log."""
        return f"{self.prefix}.keys.{self.key(channel, key)}"

    def present(self, channel: str, client: str) -> str:
        """The subject of a client in a channel; ``*`` for the client: of all."""
        client = client if client == "*" else token(client)
        return f"{self.presence_subjects}{token(channel)}.{client}"

    def control(self, to: str, sender: str) -> str:
        """The subject of messages to a node (none: to all others) from one (none: from any)."""
        receiver = f"node.{token(to)}" if to else "all"
        return f"{self.prefix}.control.{receiver}.{token(sender) if sender else '*'}"
