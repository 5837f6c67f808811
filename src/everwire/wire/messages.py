"""The messages of Centrifugo's client protocol (the fields of its version 0.19).

One definition serves both formats: in JSON a field has its name here, in Protobuf its number in ``NUMBERS``.
Fields that have their default are left out, but for those that Centrifugo always writes in JSON (they have a
``default_factory``); those that are not known are ignored.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Raw, Struct, field

__all__ = [
    "ClientInfo",
    "Command",
    "Connect",
    "ConnectRequest",
    "ConnectResult",
    "Disconnect",
    "EmulationRequest",
    "Error",
    "FilterNode",
    "HistoryRequest",
    "HistoryResult",
    "Join",
    "Leave",
    "Message",
    "PingRequest",
    "PingResult",
    "PresenceRequest",
    "PresenceResult",
    "PresenceStatsRequest",
    "PresenceStatsResult",
    "Publication",
    "PublishRequest",
    "PublishResult",
    "Push",
    "RPCRequest",
    "RPCResult",
    "Refresh",
    "RefreshRequest",
    "RefreshResult",
    "Reply",
    "SendRequest",
    "StreamPosition",
    "SubRefreshRequest",
    "SubRefreshResult",
    "Subscribe",
    "SubscribeRequest",
    "SubscribeResult",
    "Unsubscribe",
    "UnsubscribeRequest",
    "UnsubscribeResult",
    "WireMessage",
]

NOTHING = Raw(b"")
"""The payload that is not there."""

UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Half of what 64 bits could hold: what counts up from 0 does not get there, and databases hold no more.
UInt64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class WireMessage(Struct, omit_defaults=True, kw_only=True, gc=False):
    """What all messages have in common.

    Attributes:
        NUMBERS: the number of each field in Protobuf.
    """

    NUMBERS: ClassVar[dict[str, int]] = {}


class Error(WireMessage):
    """Why a command failed. *temporary*: it may work when it is tried again."""

    NUMBERS = {"code": 1, "message": 2, "temporary": 3}

    code: UInt32 = 0
    message: str = ""
    temporary: bool = False


class ClientInfo(WireMessage):
    """Who a connection is of: what presence, joins and publications of clients tell about it."""

    NUMBERS = {"user": 1, "client": 2, "conn_info": 3, "chan_info": 4}

    user: str = field(default_factory=str)
    client: str = field(default_factory=str)
    conn_info: Raw = NOTHING
    chan_info: Raw = NOTHING


class Publication(WireMessage):
    """A message of a channel. *time* is milliseconds since 1970; with *delta*, *data* is a difference."""

    NUMBERS = {"data": 4, "info": 5, "offset": 6, "tags": 7, "delta": 8, "time": 9, "channel": 10}

    data: Raw = NOTHING
    info: ClientInfo | None = None
    offset: UInt64 = 0
    tags: dict[str, str] = {}
    delta: bool = False
    time: Int64 = 0
    channel: str = ""


class StreamPosition(WireMessage):
    """A place in the log of a channel."""

    NUMBERS = {"offset": 1, "epoch": 2}

    offset: UInt64 = 0
    epoch: str = ""


class FilterNode(WireMessage):
    """A condition on the tags of publications, or several combined by *op*."""

    NUMBERS = {"op": 1, "key": 2, "cmp": 3, "val": 4, "vals": 5, "nodes": 6}

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: list[str] = []
    nodes: list[FilterNode] = []


# Commands and their results


class SubscribeRequest(WireMessage):
    """Follow a channel; with *recover*, from the position on that the client had."""

    NUMBERS = {
        "channel": 1,
        "token": 2,
        "recover": 3,
        "epoch": 6,
        "offset": 7,
        "data": 8,
        "positioned": 9,
        "recoverable": 10,
        "join_leave": 11,
        "delta": 12,
        "tf": 13,
        "flag": 14,
        "type": 15,
    }

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    data: Raw = NOTHING
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: FilterNode | None = None
    flag: Int64 = 0
    type: Int32 = 0


class SubscribeResult(WireMessage):
    """The answer to a subscription; *ttl* is in seconds."""

    NUMBERS = {
        "expires": 1,
        "ttl": 2,
        "recoverable": 3,
        "epoch": 6,
        "publications": 7,
        "recovered": 8,
        "offset": 9,
        "positioned": 10,
        "data": 11,
        "was_recovering": 12,
        "delta": 13,
        "id": 14,
    }

    expires: bool = False
    ttl: UInt32 = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Publication] = []
    recovered: bool = False
    offset: UInt64 = 0
    positioned: bool = False
    data: Raw = NOTHING
    was_recovering: bool = False
    delta: bool = False
    id: Int64 = 0


class ConnectRequest(WireMessage):
    """The first command of a session. *subs*: the positions of server-side subscriptions to recover."""

    NUMBERS = {"token": 1, "data": 2, "subs": 3, "name": 4, "version": 5, "headers": 6, "flag": 7}

    token: str = ""
    data: Raw = NOTHING
    subs: dict[str, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: Int64 = 0


class ConnectResult(WireMessage):
    """The answer to it; *ttl* and *ping* are in seconds, *time* is in milliseconds since 1970."""

    NUMBERS = {
        "client": 1,
        "version": 2,
        "expires": 3,
        "ttl": 4,
        "data": 5,
        "subs": 6,
        "ping": 7,
        "pong": 8,
        "session": 9,
        "node": 10,
        "time": 11,
    }

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: UInt32 = 0
    data: Raw = NOTHING
    subs: dict[str, SubscribeResult] = {}
    ping: UInt32 = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: Int64 = 0


class RefreshRequest(WireMessage):
    """A new token for the connection."""

    NUMBERS = {"token": 1}

    token: str = ""


class RefreshResult(WireMessage):
    """The answer to it; *ttl* is in seconds."""

    NUMBERS = {"client": 1, "version": 2, "expires": 3, "ttl": 4}

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: UInt32 = 0


class SubRefreshRequest(WireMessage):
    """A new token for a subscription."""

    NUMBERS = {"channel": 1, "token": 2, "type": 3}

    channel: str = ""
    token: str = ""
    type: Int32 = 0


class SubRefreshResult(WireMessage):
    """The answer to it; *ttl* is in seconds."""

    NUMBERS = {"expires": 1, "ttl": 2}

    expires: bool = False
    ttl: UInt32 = 0


class UnsubscribeRequest(WireMessage):
    """Follow a channel no longer."""

    NUMBERS = {"channel": 1}

    channel: str = ""


class UnsubscribeResult(WireMessage):
    """The answer to it."""


class PublishRequest(WireMessage):
    """Publish into a channel."""

    NUMBERS = {"channel": 1, "data": 2, "type": 3}

    channel: str = ""
    data: Raw = NOTHING
    type: Int32 = 0


class PublishResult(WireMessage):
    """The answer to it."""


class PresenceRequest(WireMessage):
    """Ask who is in a channel."""

    NUMBERS = {"channel": 1}

    channel: str = ""


class PresenceResult(WireMessage):
    """Who is there, by client."""

    NUMBERS = {"presence": 1}

    presence: dict[str, ClientInfo] = field(default_factory=lambda: dict[str, ClientInfo]())


class PresenceStatsRequest(WireMessage):
    """Ask how many are in a channel."""

    NUMBERS = {"channel": 1}

    channel: str = ""


class PresenceStatsResult(WireMessage):
    """How many there are."""

    NUMBERS = {"num_clients": 1, "num_users": 2}

    num_clients: UInt32 = field(default_factory=int)
    num_users: UInt32 = field(default_factory=int)


class HistoryRequest(WireMessage):
    """Ask for messages of a channel. *limit* 0: only the position; below 0: all there are."""

    NUMBERS = {"channel": 1, "limit": 7, "since": 8, "reverse": 9}

    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class HistoryResult(WireMessage):
    """The messages, and the position of the newest in the log."""

    NUMBERS = {"publications": 1, "epoch": 2, "offset": 3}

    publications: list[Publication] = field(default_factory=lambda: list[Publication]())
    epoch: str = field(default_factory=str)
    offset: UInt64 = field(default_factory=int)


class PingRequest(WireMessage):
    """A command that servers do not answer any more."""


class PingResult(WireMessage):
    """The answer to it."""


class RPCRequest(WireMessage):
    """Call a method of the server."""

    NUMBERS = {"data": 1, "method": 2}

    data: Raw = NOTHING
    method: str = ""


class RPCResult(WireMessage):
    """What it returned."""

    NUMBERS = {"data": 1}

    data: Raw = NOTHING


class SendRequest(WireMessage):
    """A message to the server, which is not answered."""

    NUMBERS = {"data": 1}

    data: Raw = NOTHING


class Command(WireMessage):
    """What a client sends: one of these. Without any it is a pong."""

    NUMBERS = {
        "id": 1,
        "connect": 4,
        "subscribe": 5,
        "unsubscribe": 6,
        "publish": 7,
        "presence": 8,
        "presence_stats": 9,
        "history": 10,
        "ping": 11,
        "send": 12,
        "rpc": 13,
        "refresh": 14,
        "sub_refresh": 15,
    }

    id: UInt32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: PingRequest | None = None
    send: SendRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


class EmulationRequest(WireMessage):
    """The body of a request that carries commands of a session whose replies go another way."""

    NUMBERS = {"node": 1, "session": 2, "data": 3}

    node: str = ""
    session: str = ""
    data: Raw = NOTHING


# Pushes: what the server sends by itself


class Join(WireMessage):
    """Somebody has come."""

    NUMBERS = {"info": 1}

    info: ClientInfo | None = None


class Leave(WireMessage):
    """Somebody has left."""

    NUMBERS = {"info": 1}

    info: ClientInfo | None = None


class Unsubscribe(WireMessage):
    """The server has ended a subscription."""

    NUMBERS = {"code": 2, "reason": 3}

    code: UInt32 = 0
    reason: str = ""


class Subscribe(WireMessage):
    """The server has subscribed the client."""

    NUMBERS = {"recoverable": 1, "epoch": 4, "offset": 5, "positioned": 6, "data": 7}

    recoverable: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    positioned: bool = False
    data: Raw = NOTHING


class Message(WireMessage):
    """A message to one client, of no channel."""

    NUMBERS = {"data": 1}

    data: Raw = NOTHING


class Connect(ConnectResult):
    """The result of a connect command, where there was none: on unidirectional transports."""

    NUMBERS = {
        "client": 1,
        "version": 2,
        "data": 3,
        "subs": 4,
        "expires": 5,
        "ttl": 6,
        "ping": 7,
        "pong": 8,
        "session": 9,
        "node": 10,
        "time": 11,
    }


class Disconnect(WireMessage):
    """The server ends the connection."""

    NUMBERS = {"code": 1, "reason": 2, "reconnect": 3}

    code: UInt32 = 0
    reason: str = ""
    reconnect: bool = False


class Refresh(WireMessage):
    """The server has prolonged the connection; *ttl* is in seconds."""

    NUMBERS = {"expires": 1, "ttl": 2}

    expires: bool = False
    ttl: UInt32 = 0


class Push(WireMessage):
    """What the server sends by itself: one of these. *id* stands for the channel where that was agreed."""

    NUMBERS = {
        "id": 1,
        "channel": 2,
        "pub": 4,
        "join": 5,
        "leave": 6,
        "unsubscribe": 7,
        "message": 8,
        "subscribe": 9,
        "connect": 10,
        "disconnect": 11,
        "refresh": 12,
    }

    id: Int64 = 0
    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    connect: Connect | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


class Reply(WireMessage):
    """What the server sends: the result of the command with the same *id*, or a push. Empty it is a ping."""

    NUMBERS = {
        "id": 1,
        "error": 2,
        "push": 4,
        "connect": 5,
        "subscribe": 6,
        "unsubscribe": 7,
        "publish": 8,
        "presence": 9,
        "presence_stats": 10,
        "history": 11,
        "ping": 12,
        "rpc": 13,
        "refresh": 14,
        "sub_refresh": 15,
    }

    id: UInt32 = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: PingResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None
