"""The server API: what an application's back end asks of a hub, as Centrifugo has it.

A method takes parameters as JSON and answers ``{"result": ...}`` or ``{"error": {"code", "message"}}``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from everwire.channels.engine import Position
from everwire.channels.hub import Hub
from everwire.channels.rules import call
from everwire.errors import BadRequest, CommandError, EngineError, EverwireError
from everwire.wire.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from everwire.wire.messages import NOTHING, ClientInfo, Publication

__all__ = ["Answer", "Api"]

MAX_COMMANDS = 10_000
"""Commands of a batch, and channels of a broadcast, at most."""


INTERNAL: dict[str, Any] = {"code": int(ErrorCode.INTERNAL), "message": ErrorCode.INTERNAL.reason}


class Answer(NamedTuple):
    """What a method answers.

    Attributes:
        body: as JSON.
        error: the code of the error; 0: none.
    """

    body: bytes
    error: int = 0


class Params(Struct, kw_only=True):
    """Parameters of a method. Those that are not known are ignored, as Centrifugo does."""


class Since(Struct):
    offset: int = 0
    epoch: str = ""


class Switch(Struct):
    value: bool = False


class Override(Struct):
    presence: Switch | None = None
    join_leave: Switch | None = None
    force_push_join_leave: Switch | None = None
    force_positioning: Switch | None = None
    force_recovery: Switch | None = None


class PublishOptions(Params, kw_only=True):
    data: Raw = NOTHING
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] | None = None
    idempotency_key: str = ""
    delta: bool = False
    version: int = 0
    version_epoch: str = ""

    def options(self) -> dict[str, Any]:
        """What the hub's publish takes by the same names."""
        names = ("skip_history", "tags", "idempotency_key", "delta", "version", "version_epoch")
        return {name: getattr(self, name) for name in names}

    def payload(self) -> Raw:
        """What is to be published."""
        payload = _bytes(self.data, self.b64data, "b64data")
        if payload is None:
            raise BadRequest("data is missing")
        return payload


class Publish(PublishOptions, kw_only=True):
    channel: str


class Broadcast(PublishOptions, kw_only=True):
    channels: list[str]


class Target(Params, kw_only=True):
    user: str = ""
    client: str = ""
    session: str = ""

    def target(self) -> dict[str, str]:
        """Whose sessions are meant."""
        return {"user": self.user, "client": self.client, "session": self.session}


class Subscribe(Target, kw_only=True):
    channel: str
    info: Raw = NOTHING
    b64info: str = ""
    data: Raw = NOTHING
    b64data: str = ""
    expire_at: float = 0
    recover_since: Since | None = None
    override: Override | None = None


class Unsubscribe(Target, kw_only=True):
    channel: str = ""


class Reason(Struct):
    code: int = 0
    reason: str = ""


class Disconnect(Target, kw_only=True):
    disconnect: Reason | None = None
    whitelist: list[str] = []


class Refresh(Target, kw_only=True):
    expired: bool = False
    expire_at: float = 0
    info: Raw = NOTHING


class OfChannel(Params, kw_only=True):
    channel: str


class History(OfChannel, kw_only=True):
    limit: int = 0
    since: Since | None = None
    reverse: bool = False


class Channels(Params, kw_only=True):
    pattern: str = ""


class Rpc(Params, kw_only=True):
    method: str
    params: Raw = NOTHING


class Drain(Params, kw_only=True):
    spread: float | None = 60.0
    deadline: float | None = None


class Batch(Params, kw_only=True):
    commands: list[dict[str, Raw]]
    parallel: bool = False


class Nothing(Params, kw_only=True):
    pass


Method = Callable[[Any], Awaitable[Any]]


class Api:
    """The server API of a hub.

    Parameters:
        hub: the hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._functions: dict[str, Callable[..., Any]] = {}
        self._encode = msgspec.json.Encoder().encode
        methods: Mapping[str, tuple[type[Params], Method]] = {
            "publish": (Publish, self._publish),
            "broadcast": (Broadcast, self._broadcast),
            "subscribe": (Subscribe, self._subscribe),
            "unsubscribe": (Unsubscribe, self._unsubscribe),
            "disconnect": (Disconnect, self._disconnect),
            "refresh": (Refresh, self._refresh),
            "presence": (OfChannel, self._presence),
            "presence_stats": (OfChannel, self._presence_stats),
            "history": (History, self._history),
            "history_remove": (OfChannel, self._history_remove),
            "channels": (Channels, self._channels),
            "info": (Nothing, self._info),
            "rpc": (Rpc, self._rpc),
            "drain": (Drain, self._drain),
        }
        self._methods = {
            name: (msgspec.json.Decoder(kind).decode, method) for name, (kind, method) in methods.items()
        }
        self._read_batch = msgspec.json.Decoder(Batch).decode

    @property
    def methods(self) -> list[str]:
        """The names of the methods."""
        return [*self._methods, "batch"]

    def rpc(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Let back ends call a function by the method ``rpc``: ``@api.rpc("add")`` of ``(params)``."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._functions[name] = function
            return function

        return add

    async def call(self, method: str, params: bytes) -> Answer:
        """Call a method by its name, with parameters in JSON. What fails is answered, not raised."""
        if method == "batch":
            return await self._batch(params)
        result, error = await self._call(method, params)
        if error is not None:
            return Answer(self._encode({"error": error}), error["code"])
        return Answer(self._encode({"result": result}))

    async def _call(self, method: str, params: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The result, or the error, of a method."""
        try:
            if method not in self._methods:
                raise CommandError(
                    ErrorCode.METHOD_NOT_FOUND,
                    f"there is no method {method[:50]!r}; there are {', '.join(self.methods)}",
                )
            decode, function = self._methods[method]
            return await function(_read(decode, params)), None
        except CommandError as error:
            return None, _error(error)
        except EngineError as error:
            self._hub.logger.error("the server API's %s failed: %s", method, error)
        except Exception:
            self._hub.logger.exception("the server API's %s failed", method)
        return None, INTERNAL

    async def _batch(self, params: bytes) -> Answer:
        """Several commands, one after the other; what is sent is in order in any case."""
        try:
            commands = _read(self._read_batch, params).commands
            _check_count("commands", len(commands))
        except CommandError as error:
            return Answer(self._encode({"error": _error(error)}), error.code)
        replies: list[dict[str, Any]] = []
        for command in commands:
            if len(command) != 1:
                message = 'each of commands has one method, like {"publish": {}}'
                replies.append({"error": {"code": int(ErrorCode.BAD_REQUEST), "message": message}})
                continue
            method = next(iter(command))
            result, problem = await self._call(method, bytes(command[method]))
            replies.append({method: result} if problem is None else {"error": problem})
        return Answer(self._encode({"replies": replies}))

    async def _publish(self, params: Publish) -> Any:
        _need("channel", params.channel)
        position = await self._hub.publish(params.channel, params.payload(), **params.options())
        return _position(position)

    async def _broadcast(self, params: Broadcast) -> Any:
        _need("channels", params.channels)
        _check_count("channels", len(params.channels))
        responses: list[dict[str, Any]] = []
        if not all(params.channels):
            raise BadRequest("bad request: one of channels is empty")
        for each in await self._hub.broadcast(params.channels, params.payload(), **params.options()):
            if isinstance(each, CommandError):
                responses.append({"error": _error(each)})
            elif isinstance(each, EverwireError):
                responses.append({"error": INTERNAL})
            else:
                responses.append({"result": _position(each)})
        return {"responses": responses}

    async def _subscribe(self, params: Subscribe) -> Any:
        _need("channel", params.channel)
        since, override = params.recover_since, params.override or Override()
        switched: dict[str, Switch | None] = {
            name: getattr(override, name) for name in Override.__struct_fields__
        }
        await self._hub.subscribe_user(
            params.user,
            params.channel,
            client=params.client,
            session=params.session,
            info=_bytes(params.info, params.b64info, "b64info"),
            data=_bytes(params.data, params.b64data, "b64data"),
            expire_at=params.expire_at,
            recover_since=None if since is None else Position(since.offset, since.epoch),
            **{name: each.value for name, each in switched.items() if each is not None},
        )
        return {}

    async def _unsubscribe(self, params: Unsubscribe) -> Any:
        code = UnsubscribeCode.SERVER
        await self._hub.unsubscribe(channel=params.channel, **params.target(), code=code, reason=code.reason)
        return {}

    async def _disconnect(self, params: Disconnect) -> Any:
        said = params.disconnect or Reason()
        code = said.code or int(DisconnectCode.FORCE_NO_RECONNECT)
        if not 3000 <= code <= 4999:
            raise BadRequest(f"disconnect.code is 3000 to 4999, not {code}")
        if len(said.reason.encode()) > 123:
            raise BadRequest("disconnect.reason is at most 123 bytes long")
        reason = said.reason or ("" if said.code else DisconnectCode.FORCE_NO_RECONNECT.reason)
        await self._hub.disconnect(**params.target(), whitelist=params.whitelist, code=code, reason=reason)
        return {}

    async def _refresh(self, params: Refresh) -> Any:
        await self._hub.refresh(
            **params.target(),
            expired=params.expired,
            expire_at=params.expire_at,
            info=_bytes(params.info, "", "info"),
        )
        return {}

    async def _drain(self, params: Drain) -> Any:
        for name in ("spread", "deadline"):
            seconds: float | None = getattr(params, name)
            if seconds is not None and not seconds >= 0:
                raise BadRequest(f"{name} is a number of seconds, not {seconds}")
        leaving = self._hub.begin_drain(spread=params.spread, deadline=params.deadline)
        return {"node": self._hub.node, "clients": self._hub.open_sessions, "done": leaving.done()}

    async def _presence(self, params: OfChannel) -> Any:
        found = await self._hub.presence(params.channel)
        return {"presence": {client: _info(info) for client, info in found.items()}}

    async def _presence_stats(self, params: OfChannel) -> Any:
        stats = await self._hub.presence_stats(params.channel)
        return {"num_clients": stats.clients, "num_users": stats.users}

    async def _history(self, params: History) -> Any:
        since = None if params.since is None else Position(params.since.offset, params.since.epoch)
        page = await self._hub.history(
            params.channel, limit=params.limit, since=since, reverse=params.reverse
        )
        if since is not None and since.epoch and since.epoch != page.top.epoch:
            code = ErrorCode.UNRECOVERABLE_POSITION
            raise CommandError(code, code.reason)
        return {
            "publications": [_publication(each) for each in page.publications],
            "offset": page.top.offset,
            "epoch": page.top.epoch,
        }

    async def _history_remove(self, params: OfChannel) -> Any:
        await self._hub.remove_history(params.channel)
        return {}

    async def _channels(self, params: Channels) -> Any:
        found = await self._hub.channels(params.pattern)
        return {"channels": {name: {"num_clients": count} for name, count in found.items()}}

    async def _info(self, params: Nothing) -> Any:
        nodes = [
            {
                "uid": each.node,
                "name": each.name,
                "version": each.version,
                "num_clients": each.clients,
                "num_users": each.users,
                "num_channels": each.channels,
                "num_subs": each.subscriptions,
                "uptime": each.uptime,
            }
            for each in self._hub.nodes()
        ]
        return {"nodes": nodes}

    async def _rpc(self, params: Rpc) -> Any:
        function = self._functions.get(params.method)
        if function is None:
            code = ErrorCode.METHOD_NOT_FOUND
            raise CommandError(code, f"no function was added for the method {params.method[:50]!r}")
        raw = bytes(params.params)
        return {"data": await call(function, msgspec.json.decode(raw) if raw else None)}


def _position(position: Position) -> dict[str, Any]:
    """Where a publication is; nothing without a log."""
    return {"offset": position.offset, "epoch": position.epoch} if position.epoch else {}


def _error(error: CommandError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def _read(decode: Callable[[bytes], Any], params: bytes) -> Any:
    """Read parameters.

    Raises:
        BadRequest: they are not what they should be; the message names the field.
    """
    try:
        return decode(params.strip() or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"bad request: {error}") from None


def _need(name: str, value: object) -> None:
    if not value:
        raise BadRequest(f"bad request: {name} is empty")


def _check_count(name: str, count: int) -> None:
    if count > MAX_COMMANDS:
        raise BadRequest(f"bad request: {name} are at most {MAX_COMMANDS}, not {count}")


def _bytes(json: Raw, base64: str, name: str) -> Raw | None:
    """A payload that is there as JSON, or as bytes in base64."""
    if base64:
        try:
            return Raw(b64decode(base64, validate=True))
        except (Base64Error, ValueError):
            raise BadRequest(f"bad request: {name} is not base64") from None
    return Raw(bytes(json)) if bytes(json) else None


def _put(found: dict[str, Any], name: str, payload: Raw) -> None:
    """Add a payload to an answer: as it is if it is JSON, in base64 under another name if it is not."""
    if not bytes(payload):
        return
    try:
        msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found["b64" + name] = b64encode(payload).decode()
    else:
        found[name] = payload


def _info(info: ClientInfo) -> dict[str, Any]:
    found: dict[str, Any] = {"user": info.user, "client": info.client}
    _put(found, "conn_info", info.conn_info)
    _put(found, "chan_info", info.chan_info)
    return found


def _publication(publication: Publication) -> dict[str, Any]:
    found: dict[str, Any] = {"data": None, "offset": publication.offset}
    _put(found, "data", publication.data)
    if publication.tags:
        found["tags"] = publication.tags
    if publication.info is not None:
        found["info"] = _info(publication.info)
    return found
