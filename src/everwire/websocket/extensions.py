"""Extensions in the opening handshake (RFC 6455, section 9): permessage-deflate (RFC 7692)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from everwire.errors import InvalidHeader, NegotiationError

__all__ = [
    "Deflate",
    "DeflateParams",
    "Extension",
    "accept",
    "negotiate",
    "offer",
    "parse_extensions",
    "parse_tokens",
]

HEADER = "Sec-WebSocket-Extensions"
NAME = "permessage-deflate"

_token = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_space = r"[ \t]*"
_TOKEN = re.compile(_token)
_EXTENSION = re.compile(rf"{_space}({_token}){_space}")
# A quoted value must be a token when its quotes and backslashes are gone (RFC 6455, section 9.1).
_PARAMETER = re.compile(rf';{_space}({_token}){_space}(?:={_space}({_token}|"(?:[^"\\]|\\.)*"){_space})?')
_WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}

Extension = tuple[str, list[tuple[str, str | None]]]
"""An extension's name and its parameters; a parameter without a value has None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """How messages are compressed, with permessage-deflate (RFC 7692), if the peer can do it too.

    Without context takeover a message is compressed on its own, and all connections share one compressor:
    they cost no memory. With it, a message may refer to the ones before it. Small similar messages then
    become much smaller, but each connection keeps a compressor and a decompressor: some 40 KiB with the
    standard library's zlib and these defaults, and 200 KiB with zlib-ng, which is faster.

    Raises:
        ValueError: a value is out of range.
    """

    context_takeover: bool = False
    """Whether messages may refer to those before them; in both directions, unless the next two differ."""

    server_no_context_takeover: bool | None = None
    """Whether the server's messages stand alone; None: the opposite of ``context_takeover``."""

    client_no_context_takeover: bool | None = None
    """Whether the client's messages stand alone; None: the opposite of ``context_takeover``."""

    server_max_window_bits: int = 15
    """The server compresses with a window of 2 to this power bytes, from 8 to 15."""

    client_max_window_bits: int = 15
    """The client compresses with a window of 2 to this power bytes, from 8 to 15, if it can limit it."""

    level: int = 1
    """From 1, the fastest, to 9, the smallest; 0 does not compress."""

    mem_level: int = 5
    """From 1 to 9: how much memory the compressor takes for its search, ``2 ** (mem_level + 9)`` bytes."""

    threshold: int = 64
    """Messages of fewer bytes are sent as they are: compressing them costs more than it saves."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("server_max_window_bits", 8, 15),
            ("client_max_window_bits", 8, 15),
            ("level", 0, 9),
            ("mem_level", 1, 9),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it can be from {low} to {high}")
        if self.threshold < 0:
            raise ValueError(f"threshold is {self.threshold}; it is a number of bytes, at least 0")

    @property
    def server_alone(self) -> bool:
        """Whether the server's messages stand alone."""
        chosen = self.server_no_context_takeover
        return not self.context_takeover if chosen is None else chosen

    @property
    def client_alone(self) -> bool:
        """Whether the client's messages stand alone."""
        chosen = self.client_no_context_takeover
        return not self.context_takeover if chosen is None else chosen


class DeflateParams(NamedTuple):
    """What two peers agreed on (RFC 7692, section 7.1)."""

    server_no_context_takeover: bool = False
    """The server's messages stand alone."""

    client_no_context_takeover: bool = False
    """The client's messages stand alone."""

    server_max_window_bits: int = 15
    """The window of the server's compressor is 2 to this power bytes at most."""

    client_max_window_bits: int = 15
    """The window of the client's compressor is 2 to this power bytes at most."""


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """The extensions of all headers Sec-WebSocket-Extensions of a message, in order (RFC 6455, section 9.1).

    Raises:
        InvalidHeader: a value does not follow the grammar.
    """
    found: list[Extension] = []
    for value in values:
        at = 0
        while at < len(value):
            # An empty element of a list means nothing (RFC 9110, section 5.6.1.2).
            if value[at] in ", \t":
                at += 1
                continue
            match = _EXTENSION.match(value, at)
            if match is None:
                raise InvalidHeader(HEADER, value)
            name, at = match[1], match.end()
            params: list[tuple[str, str | None]] = []
            while match := _PARAMETER.match(value, at):
                params.append((match[1], _unquoted(match[2], value)))
                at = match.end()
            if at < len(value) and value[at] != ",":
                raise InvalidHeader(HEADER, value)
            found.append((name, params))
    return found


def _unquoted(value: str | None, header: str) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if not _TOKEN.fullmatch(value):
        raise InvalidHeader(HEADER, header)
    return value


def parse_tokens(name: str, values: Iterable[str]) -> list[str]:
    """The distinct tokens of a header that is a comma-separated list, such as Sec-WebSocket-Protocol.

    Raises:
        InvalidHeader: an element is not a token.
    """
    found: dict[str, None] = {}
    for value in values:
        for element in value.split(","):
            token = element.strip(" \t")
            if not token:
                continue
            if not _TOKEN.fullmatch(token):
                raise InvalidHeader(name, value)
            found[token] = None
    return list(found)


def negotiate(offers: Iterable[Extension], deflate: Deflate) -> tuple[str, DeflateParams] | None:
    """What a server answers to a client's offers: the first one of permessage-deflate that it can accept.

    Returns:
        The value of the header of the response, and what it means; None if no offer can be accepted, because
        it has an unknown, a repeated or an invalid parameter (RFC 7692, section 7.1) or is none of this name.
    """
    for name, params in offers:
        if name == NAME:
            agreed = _answer(params, deflate)
            if agreed is not None:
                return agreed
    return None


def _answer(params: list[tuple[str, str | None]], deflate: Deflate) -> tuple[str, DeflateParams] | None:
    offered = _read(params, bits_may_be_bare=True)
    if offered is None:
        return None
    server_alone = deflate.server_alone or offered.server_alone
    client_alone = deflate.client_alone or offered.client_alone
    server_bits = min(deflate.server_max_window_bits, offered.server_bits or 15)
    # A client's window can be limited only if its offer says that it understands the limit (7.1.2.2).
    client_bits = (
        min(deflate.client_max_window_bits, offered.client_bits or 15) if offered.client_limit else 15
    )
    answer = NAME
    if server_alone:
        answer += "; server_no_context_takeover"
    if client_alone:
        answer += "; client_no_context_takeover"
    # A window that the client limited must be confirmed, even if it is the largest (7.1.2.1).
    if server_bits < 15 or offered.server_bits is not None:
        answer += f"; server_max_window_bits={server_bits}"
    if client_bits < 15:
        answer += f"; client_max_window_bits={client_bits}"
    return answer, DeflateParams(server_alone, client_alone, server_bits, client_bits)


def offer(deflate: Deflate) -> str:
    """The offer of permessage-deflate that a client sends: its wishes, and what else it takes."""
    first = _offer(deflate, server_alone=deflate.server_alone)
    if _only_wishes_server_alone(deflate):
        # Not every server can do without context takeover; one that cannot is to choose this (RFC 7692, 5.1).
        return f"{first}, {_offer(deflate, server_alone=False)}"
    return first


def _offer(deflate: Deflate, *, server_alone: bool) -> str:
    value = NAME
    if server_alone:
        value += "; server_no_context_takeover"
    if deflate.client_alone:
        value += "; client_no_context_takeover"
    if deflate.server_max_window_bits < 15:
        value += f"; server_max_window_bits={deflate.server_max_window_bits}"
    # Without a value it says: limit this client's window if you like.
    value += "; client_max_window_bits"
    if deflate.client_max_window_bits < 15:
        value += f"={deflate.client_max_window_bits}"
    return value


def _only_wishes_server_alone(deflate: Deflate) -> bool:
    return deflate.server_alone and deflate.server_no_context_takeover is None


def accept(extensions: Iterable[Extension], deflate: Deflate | None) -> DeflateParams | None:
    """What a client understands from a server's response to :func:`offer`; None if there is no compression.

    Args:
        extensions: those of the response.
        deflate: what was offered; None if nothing was.

    Raises:
        NegotiationError: the server names an extension that was not offered, or one twice, or parameters that
            do not answer the offer (RFC 6455, section 4.1; RFC 7692, section 7.1).
    """
    agreed: DeflateParams | None = None
    for name, params in extensions:
        if name != NAME or deflate is None:
            raise NegotiationError(f"the server uses the extension {name}, which was not offered")
        if agreed is not None:
            raise NegotiationError(f"the server names the extension {name} twice")
        agreed = _understand(params, deflate)
    return agreed


def _understand(params: list[tuple[str, str | None]], deflate: Deflate) -> DeflateParams:
    answer = _read(params, bits_may_be_bare=False)
    if answer is None:
        raise NegotiationError(
            f"the server answers {NAME} with an unknown, repeated or invalid parameter: {params}"
        )
    if deflate.server_alone and not answer.server_alone and not _only_wishes_server_alone(deflate):
        raise NegotiationError("the server does not confirm server_no_context_takeover")
    server_bits = answer.server_bits or 15
    if server_bits > deflate.server_max_window_bits:
        raise NegotiationError(
            f"the server uses server_max_window_bits={server_bits}, which is more than the offer's "
            f"{deflate.server_max_window_bits}"
        )
    client_bits = answer.client_bits or deflate.client_max_window_bits
    if client_bits > deflate.client_max_window_bits:
        raise NegotiationError(
            f"the server allows client_max_window_bits={client_bits}, which is more than the offer's "
            f"{deflate.client_max_window_bits}"
        )
    # What the client offered to do without, it does without, whether or not the server confirms it (7.1.1.2).
    client_alone = answer.client_alone or deflate.client_alone
    return DeflateParams(answer.server_alone, client_alone, server_bits, client_bits)


class _Parameters(NamedTuple):
    """The parameters of one offer or response as sent."""

    server_alone: bool
    client_alone: bool
    server_bits: int | None
    client_bits: int | None
    client_limit: bool


def _read(params: list[tuple[str, str | None]], *, bits_may_be_bare: bool) -> _Parameters | None:
    """The parameters, or None if one is unknown, repeated or has an invalid value.

    In an offer, and only there, client_max_window_bits needs no value.
    """
    given = dict(params)
    if len(given) < len(params):
        return None
    if given.pop("server_no_context_takeover", "") or given.pop("client_no_context_takeover", ""):
        return None
    names = {name for name, _ in params}
    bits: list[int | None] = []
    for name in ("server_max_window_bits", "client_max_window_bits"):
        value = given.pop(name, "")
        if value == "" or (value is None and bits_may_be_bare and name == "client_max_window_bits"):
            bits.append(None)
        elif value in _WINDOW_BITS:
            bits.append(_WINDOW_BITS[value])
        else:
            return None
    if given:
        return None
    return _Parameters(
        "server_no_context_takeover" in names,
        "client_no_context_takeover" in names,
        bits[0],
        bits[1],
        "client_max_window_bits" in names,
    )
