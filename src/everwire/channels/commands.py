"""The commands of the client protocol: what each of them does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from everwire.channels import subscribing
from everwire.channels.connecting import connect, refresh
from everwire.channels.context import Context
from everwire.channels.engine import Position
from everwire.channels.payload import encode
from everwire.channels.rules import Rule, call
from everwire.errors import CommandError, Disconnected, Forbidden, UnknownChannel
from everwire.wire.codes import DisconnectCode, ErrorCode
from everwire.wire.messages import (
    HistoryRequest,
    HistoryResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
    Publication,
    PublishRequest,
    PublishResult,
    Reply,
    RPCRequest,
    RPCResult,
    SendRequest,
    UnsubscribeRequest,
    UnsubscribeResult,
)

if TYPE_CHECKING:
    from everwire.channels.session import Session

__all__ = ["COMMANDS", "Handler", "error"]


class Handler(NamedTuple):
    """What handles the commands that have a field: it answers them by itself, or raises."""

    field: str
    handle: Callable[[Session, int, Any], Awaitable[None]]


def error(code: ErrorCode, message: str = "") -> CommandError:
    """One of the protocol's errors."""
    return CommandError(code, message or code.reason, temporary=code.temporary)


def rule_of(session: Session, channel: str) -> Rule:
    """The rule of a channel that a client names.

    Raises:
        CommandError: there is none, or the name is no name.
    """
    if not channel:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    if len(channel) > session.hub.options.channel_max_length:
        raise error(ErrorCode.BAD_REQUEST)
    rule = session.hub.rules.find(channel)
    if rule is None:
        raise UnknownChannel
    return rule


def may(session: Session, what: str, channel: str, rule: Rule) -> bool:
    """Whether a session may ``"publish"`` into a channel, or see its ``"presence"`` or ``"history"``."""
    options = rule.options
    if session.hub.options.insecure:
        return True
    if session.caps is not None and session.caps.allows(CAPS[what], channel):
        return True
    subscription = session.subscriptions.get(channel)
    if subscription is not None and CAPS[what] in subscription.allow:
        return True
    if not session.user and not getattr(options, f"allow_{what}_for_anonymous"):
        return False
    if getattr(options, f"allow_{what}_for_client"):
        return True
    return bool(getattr(options, f"allow_{what}_for_subscriber")) and subscription is not None


CAPS = {"publish": "pub", "presence": "prs", "history": "hst"}
"""What the permissions are called in tokens."""


async def unsubscribe(session: Session, id: int, request: UnsubscribeRequest) -> None:
    """Follow a channel no longer."""
    if not request.channel:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    session.hub.leave(session, request.channel, 0, "")
    session.reply(Reply(id=id, unsubscribe=UnsubscribeResult()))


async def publish(session: Session, id: int, request: PublishRequest) -> None:
    """Publish into a channel, if its hook or its options allow that."""
    hub, channel = session.hub, request.channel
    rule = rule_of(session, channel)
    if not bytes(request.data):
        raise error(ErrorCode.BAD_REQUEST, "a publication has data")
    data = request.data
    hook, decode = rule.publish_hook, rule.publish_decoder
    fields: dict[str, Any] = rule.fields(channel)
    if hook is None and not may(session, "publish", channel, rule):
        hook, decode, fields = hub.hooks.publish, hub.hooks.publish_decoder, {}
        if hook is None:
            raise Forbidden
    if rule.check is not None:
        rule.check(data)
    if hook is not None and decode is not None:
        answer = await call(hook, Context(session, channel=channel, data=data), decode(data), **fields)
        if answer is not None:
            data = encode(answer)
    subscription = session.subscriptions.get(channel)
    info = subscription.client_info if subscription is not None else subscribing.client_info(session)
    await hub.append(channel, rule, Publication(data=data, info=info), delta=rule.options.delta_publish)
    session.reply(Reply(id=id, publish=PublishResult()))


async def presence(session: Session, id: int, request: PresenceRequest) -> None:
    """Who is in a channel."""
    await _presence_allowed(session, request.channel)
    found = await session.hub.engine.presence(request.channel)
    session.reply(Reply(id=id, presence=PresenceResult(presence=dict(found))))


async def presence_stats(session: Session, id: int, request: PresenceStatsRequest) -> None:
    """How many are in a channel."""
    await _presence_allowed(session, request.channel)
    clients, users = await session.hub.engine.presence_stats(request.channel)
    result = PresenceStatsResult(num_clients=clients, num_users=users)
    session.reply(Reply(id=id, presence_stats=result))


async def _presence_allowed(session: Session, channel: str) -> None:
    rule = rule_of(session, channel)
    if not rule.options.presence:
        raise error(ErrorCode.NOT_AVAILABLE)
    if not may(session, "presence", channel, rule):
        raise Forbidden


async def history(session: Session, id: int, request: HistoryRequest) -> None:
    """Messages of a channel's log."""
    hub, channel = session.hub, request.channel
    rule = rule_of(session, channel)
    if not rule.log.size:
        raise error(ErrorCode.NOT_AVAILABLE)
    if not may(session, "history", channel, rule):
        raise Forbidden
    since = None if request.since is None else Position(request.since.offset, request.since.epoch)
    most = hub.options.history_max_publication_limit
    limit = request.limit
    if most and (limit < 0 or limit > most):
        limit = most
    page = await hub.reader.read(channel, rule.log, since=since, limit=limit, reverse=request.reverse)
    if since is not None and since.epoch and since.epoch != page.top.epoch:
        raise error(ErrorCode.UNRECOVERABLE_POSITION)
    result = HistoryResult(publications=page.publications, epoch=page.top.epoch, offset=page.top.offset)
    session.reply(Reply(id=id, history=result))


async def rpc(session: Session, id: int, request: RPCRequest) -> None:
    """Call a function of the hub's."""
    hooks = session.hub.hooks
    method = hooks.rpc.get(request.method) or hooks.rpc.get("")
    if method is None:
        raise error(ErrorCode.METHOD_NOT_FOUND if hooks.rpc else ErrorCode.NOT_AVAILABLE)
    function, decode, wants_name = method
    context = Context(session, data=request.data)
    arguments = (request.method,) if wants_name else ()
    answer = await call(function, context, *arguments, decode(request.data))
    session.reply(Reply(id=id, rpc=RPCResult(data=encode(answer))))


async def send(session: Session, id: int, request: SendRequest) -> None:
    """A message to the hub, which is not answered."""
    hook = session.hub.hooks.message
    if hook is None:
        raise Disconnected(DisconnectCode.NOT_AVAILABLE)
    function, decode = hook
    await call(function, Context(session, data=request.data), decode(request.data))


COMMANDS = (
    Handler("connect", connect),
    Handler("subscribe", subscribing.subscribe),
    Handler("unsubscribe", unsubscribe),
    Handler("publish", publish),
    Handler("presence", presence),
    Handler("presence_stats", presence_stats),
    Handler("history", history),
    Handler("send", send),
    Handler("rpc", rpc),
    Handler("refresh", refresh),
    Handler("sub_refresh", subscribing.sub_refresh),
)
"""By the field of the command."""
