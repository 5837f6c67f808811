"""Subscribing: from the request to the moment from which a subscription is live, without a gap between.

What comes while the log is read is kept for the subscription and put after what was read. What was missed and
cannot
be had whole is not sent in part: the answer says ``recovered: false``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from everwire.channels.channel import Channel, Encoding
from everwire.channels.context import Context
from everwire.channels.engine import HistoryPage, Position
from everwire.channels.expiring import expire_later
from everwire.channels.options import ChannelOptions, SubscribeOptions, as_subscribe_options
from everwire.channels.payload import as_raw
from everwire.channels.rules import Rule, call
from everwire.channels.subscription import Gap, Subscription
from everwire.errors import (
    BadRequest,
    CommandError,
    Disconnected,
    Forbidden,
    TokenError,
    TokenExpired,
    WireError,
)
from everwire.wire.codes import DisconnectCode, ErrorCode
from everwire.wire.delta import difference, full_as_string
from everwire.wire.filters import compile_filter
from everwire.wire.messages import (
    ClientInfo,
    Publication,
    Push,
    Reply,
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
    SubscribeResult,
)

if TYPE_CHECKING:
    from everwire.channels.session import Session

__all__ = ["Joining", "client_info", "is_open", "join", "sub_refresh", "subscribe"]

COMPACTION, REJECT_UNRECOVERED = 1, 2
"""Flags of a subscribe request."""


def client_info(session: Session) -> ClientInfo:
    """What is told about a session that has no subscription to the channel."""
    return ClientInfo(user=session.user, client=session.client, conn_info=session.info)


class Joining:
    """A subscription that is to be live as soon as the client was told of it.

    Attributes:
        channel: the channel's name.
        result: what the client is told.
        subscription: what is to be live.
    """

    __slots__ = ("channel", "result", "subscription")

    def __init__(self, subscription: Subscription, result: SubscribeResult) -> None:
        self.channel = subscription.channel.name
        self.subscription = subscription
        self.result = result

    def resend(self) -> None:
        """Send what was recovered as pushes, where the answer has no place for it."""
        subscription = self.subscription
        for publication in self.result.publications:
            subscription.session.push(subscription.channel.push(subscription.encoding, pub=publication))

    def go_live(self) -> None:
        """The client was told: what comes from now on is sent to it."""
        subscription = self.subscription
        session = subscription.session
        if subscription.ended is not None:
            session.push(Push(channel=self.channel, unsubscribe=subscription.ended))
        if subscription.buffer is None or session.subscriptions.get(self.channel) is not subscription:
            return  # it has ended already
        if subscription.positioned:
            try:
                late = subscription.merge(subscription.since)
            except Gap:
                subscription.buffer = None
                subscription.lose()
                return
        else:
            late = [publication for publication, _ in subscription.buffer]
        subscription.buffer = None
        subscription.channel.go_live(subscription, late)
        if session.subscriptions.get(self.channel) is subscription:  # else what was sent has ended it
            session.hub.joined(subscription)


def is_open(session: Session, channel: str) -> bool:
    """Whether a client may have itself subscribed as it connects: if it could do so by itself."""
    rule = session.hub.rules.find(channel)
    return rule is not None and not channel.startswith("$") and _by_options(session, channel, rule)


def _by_options(session: Session, channel: str, rule: Rule) -> bool:
    """Whether the options of the channel let a session subscribe, without a hook or a token."""
    options = rule.options
    limited = options.allow_user_limited_channels and "#" in channel
    if limited and session.user and session.user in channel.rpartition("#")[2].split(","):
        return True
    known = bool(session.user) or options.allow_subscribe_for_anonymous
    if known and options.allow_subscribe_for_client and not limited:
        return True
    if session.caps is not None and session.caps.allows("sub", channel):
        return True
    return session.hub.options.insecure


async def subscribe(session: Session, id: int, request: SubscribeRequest) -> None:
    """Follow a channel, if the token, the hook or the channel's options allow that."""
    hub, channel = session.hub, request.channel
    if not channel:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    if request.type:
        raise BadRequest("subscriptions of this type are not known")
    if len(channel) > hub.options.channel_max_length:
        raise BadRequest
    if channel in session.subscriptions:
        raise CommandError(ErrorCode.ALREADY_SUBSCRIBED, ErrorCode.ALREADY_SUBSCRIBED.reason)
    if len(session.subscriptions) >= hub.options.channel_limit:
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, ErrorCode.LIMIT_EXCEEDED.reason)
    rule = hub.rules.find(channel)
    if rule is None:
        raise CommandError(ErrorCode.UNKNOWN_CHANNEL, ErrorCode.UNKNOWN_CHANNEL.reason)
    options = await _allowed(session, rule, request)
    if session.is_closed:
        return
    joining = await join(session, rule, request, options, server_side=False)
    if session.is_closed:
        return
    session.reply(Reply(id=id, subscribe=joining.result))
    joining.go_live()


async def _allowed(session: Session, rule: Rule, request: SubscribeRequest) -> SubscribeOptions:
    """Ask whether a session may subscribe: the token, the channel's hook, its options, the hub's hook.

    Raises:
        CommandError: it may not.
    """
    hub, channel = session.hub, request.channel
    if request.token and hub.verifier is not None:
        try:
            return await _by_token(session, request)
        except TokenExpired:
            raise CommandError(ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_EXPIRED.reason) from None
    if channel.startswith("$") and not hub.options.insecure:
        raise Forbidden
    context = Context(session, channel=channel, data=request.data, token=request.token)
    if rule.subscribe_hook is not None:
        return await rule.subscribe(context)
    if _by_options(session, channel, rule):
        return SubscribeOptions()
    if hub.hooks.subscribe is not None:
        return as_subscribe_options(await call(hub.hooks.subscribe, context))
    raise Forbidden


async def _by_token(session: Session, request: SubscribeRequest | SubRefreshRequest) -> SubscribeOptions:
    """What a subscription token allows.

    Raises:
        Disconnected: it is for another channel, user or connection.
        CommandError: it is not valid.
        TokenExpired: it has expired.
    """
    hub = session.hub
    assert hub.verifier is not None
    try:
        claims = await hub.verifier.subscription(request.token)
    except TokenExpired:
        raise
    except TokenError as error:
        hub.logger.info("the token of %s for %r is not valid: %s", session, request.channel, error)
        raise Forbidden from None
    if (
        claims.channel != request.channel
        or claims.user != session.user
        or (claims.client and claims.client != session.client)
    ):
        raise Disconnected(DisconnectCode.INVALID_TOKEN)
    options: SubscribeOptions = claims.options()
    return options


async def join(
    session: Session,
    rule: Rule,
    request: SubscribeRequest,
    allowed: SubscribeOptions,
    *,
    server_side: bool,
) -> Joining:
    """Make a subscription; it is live once :meth:`Joining.go_live` was called.

    Raises:
        CommandError, Disconnected, EngineError: it cannot be; nothing of it is left.
    """
    hub, options, name = session.hub, rule.options, request.channel
    if allowed.expire_at and allowed.expire_at <= hub.clock():
        raise CommandError(ErrorCode.EXPIRED, ErrorCode.EXPIRED.reason)
    filter = _filter(options, request)
    channel = hub.hold(name, rule)
    if options.max_subscribers and len(channel.subscribers) >= options.max_subscribers:
        hub.release(channel)
        raise CommandError(ErrorCode.LIMIT_EXCEEDED, ErrorCode.LIMIT_EXCEEDED.reason)
    subscription = _make(session, channel, options, request, allowed, server_side=server_side)
    subscription.filter = filter
    session.subscriptions[name] = subscription
    channel.attach(subscription)
    try:
        await hub.left_before(session, name)
        await hub.follow(channel)
        if subscription.presence:
            await hub.engine.add_presence(name, subscription.client_info, ttl=hub.options.presence_ttl)
        result = await _position(subscription, options, request, allowed)
    except BaseException as error:
        hub.leave(session, name, 0, "")
        hub.remove_traces(subscription)
        if isinstance(error, Gap):
            raise Disconnected(DisconnectCode.INSUFFICIENT_STATE) from None
        raise
    if session.is_closed:
        # It was closed meanwhile, and what it had then was removed: this is, too.
        hub.leave(session, name, 0, "")
    if session.subscriptions.get(name) is not subscription:
        hub.remove_traces(subscription)
    subscription.joining = False
    expire_later(subscription, allowed, result)
    return Joining(subscription, result)


def _filter(options: ChannelOptions, request: SubscribeRequest) -> Callable[[Mapping[str, str]], bool] | None:
    """The condition on tags that is asked for; None: there is none.

    Raises:
        BadRequest: it is malformed, or not allowed.
    """
    if request.tf is None:
        return None
    if not options.allow_tags_filter:
        raise BadRequest("filters by tags are not allowed here")
    try:
        return compile_filter(request.tf)
    except WireError as error:
        raise BadRequest(str(error)) from None


def _make(
    session: Session,
    channel: Channel,
    options: ChannelOptions,
    request: SubscribeRequest,
    allowed: SubscribeOptions,
    *,
    server_side: bool,
) -> Subscription:
    delta = bool(request.delta) and request.delta in options.allowed_delta_types
    compact = options.allow_channel_compaction and bool(request.flag & COMPACTION)
    carrier = session.carrier
    encoding = Encoding(carrier.codec, carrier.unidirectional, compact, delta)
    subscription = Subscription(session, channel, encoding, server_side=server_side)

    def pick(mine: bool | None, theirs: bool | None) -> bool:
        return bool(theirs if mine is None else mine)

    subscription.info = as_raw(allowed.info)
    subscription.allow = allowed.allow
    subscription.client_side_refresh = allowed.client_side_refresh
    subscription.presence = pick(allowed.presence, options.presence)
    subscription.join_leave = pick(allowed.join_leave, options.join_leave)
    subscription.push_join_leave = pick(allowed.force_push_join_leave, options.force_push_join_leave) or (
        request.join_leave and options.join_leave
    )
    return subscription


async def _position(
    subscription: Subscription,
    options: ChannelOptions,
    request: SubscribeRequest,
    allowed: SubscribeOptions,
) -> SubscribeResult:
    """Find the position from which the subscription goes on, and what it has missed before.

    What was kept for it after that position stays kept, and is sent when it is live.
    """
    result = SubscribeResult(data=as_raw(allowed.data), delta=subscription.encoding.delta)
    if subscription.encoding.compact:
        result.id = subscription.channel.number
    result.positioned, result.recoverable = _followed_how(options, request, allowed)
    # Who asks for it where nothing can be recovered is told that nothing was.
    result.was_recovering = request.recover
    if not result.positioned:
        return result
    subscription.positioned = True
    cache = options.force_recovery_mode == "cache"
    if result.recoverable and cache and options.auto_cache_recover:
        result.was_recovering = True
    recovering = result.recoverable and result.was_recovering
    page = await _read(subscription, request, recovering=recovering, cache=cache)
    if subscription.buffer is not None:
        subscription.channel.seen(page.top)  # else it ended meanwhile, and the channel may be followed anew
    subscription.since, result.epoch, result.offset = page.top.offset, page.top.epoch, page.top.offset
    if recovering:
        most = subscription.session.hub.options.recovery_max_publication_limit
        result.recovered = _has_latest(page, request) if cache else _is_whole(page, request, most)
        if request.recover:
            subscription.session.hub.counts.came_back(recovered=result.recovered)
        if result.recovered:
            _recover(subscription, page, request, result, cache=cache)
        elif request.flag & REJECT_UNRECOVERED and not cache:
            raise CommandError(ErrorCode.UNRECOVERABLE_POSITION, ErrorCode.UNRECOVERABLE_POSITION.reason)
    return result


def _followed_how(
    options: ChannelOptions, request: SubscribeRequest, allowed: SubscribeOptions
) -> tuple[bool, bool]:
    """Whether a subscription is positioned, and whether it can be recovered."""
    may_ask = bool(options.log.size) and (
        options.allow_history_for_subscriber or options.allow_history_for_client or "hst" in allowed.allow
    )
    force = options.force_recovery if allowed.force_recovery is None else allowed.force_recovery
    recoverable = bool(force) or (request.recoverable and (options.allow_recovery or may_ask))
    force = options.force_positioning if allowed.force_positioning is None else allowed.force_positioning
    positioned = bool(force) or (request.positioned and (options.allow_positioning or may_ask))
    return positioned or recoverable, recoverable


def _recover(
    subscription: Subscription,
    page: HistoryPage,
    request: SubscribeRequest,
    result: SubscribeResult,
    *,
    cache: bool,
) -> None:
    """Put what was missed into the answer, and what came while it was read."""
    publications = [*page.publications, *subscription.merge(page.top.offset)]
    if publications:
        subscription.since = max(subscription.since, publications[-1].offset)
    if cache:
        same = (request.offset, request.epoch) == (subscription.since, page.top.epoch)
        publications = [] if same else publications[-1:]
    if subscription.filter is not None:
        publications = [each for each in publications if subscription.filter(each.tags)]
    result.publications = _encoded(subscription, publications)
    # The client goes on from its own position, through the publications.
    result.offset = request.offset
    if publications and subscription.encoding.delta:
        subscription.primed = publications[-1] is subscription.channel.last


async def _read(
    subscription: Subscription,
    request: SubscribeRequest,
    *,
    recovering: bool,
    cache: bool,
) -> HistoryPage:
    """Read of the log what it takes."""
    hub, name = subscription.session.hub, subscription.channel.name
    log = subscription.channel.rule.log
    if not recovering:
        return await hub.reader.read(name, log, limit=0)
    if cache:
        return await hub.reader.read(name, log, limit=1, reverse=True)
    most = hub.options.recovery_max_publication_limit
    since = Position(request.offset, request.epoch)
    # One more than is allowed, to know whether that was all.
    return await hub.reader.read(name, log, since=since, limit=most + 1 if most else -1)


def _is_whole(page: HistoryPage, request: SubscribeRequest, most: int) -> bool:
    """Whether all that the client has missed is there."""
    if request.epoch and request.epoch != page.top.epoch:
        return False
    if most and len(page.publications) > most:
        return False
    if request.offset > page.top.offset:
        return False
    return page.complete


def _has_latest(page: HistoryPage, request: SubscribeRequest) -> bool:
    """Whether the latest publication is there, or the client has it."""
    if page.publications:
        return page.publications[0].offset == page.top.offset
    return request.offset > 0 and (request.offset, request.epoch) == page.top


def _encoded(subscription: Subscription, publications: list[Publication]) -> list[Publication]:
    """Publications for the answer: the first whole, the others as differences, where that was agreed."""
    if not subscription.encoding.delta:
        return publications
    codec = subscription.encoding.codec
    return [
        difference(codec, publications[i - 1], publication) if i else full_as_string(codec, publication)
        for i, publication in enumerate(publications)
    ]


async def sub_refresh(session: Session, id: int, request: SubRefreshRequest) -> None:
    """Prolong a subscription by a new token."""
    if not request.channel:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    subscription = session.subscriptions.get(request.channel)
    if subscription is None:
        raise Forbidden
    if not request.token:
        raise BadRequest("a subscription is refreshed with a token")
    if session.hub.verifier is None or not subscription.client_side_refresh:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    result = SubRefreshResult()
    try:
        allowed = await _by_token(session, request)
    except TokenExpired:
        allowed = None
    if session.subscriptions.get(request.channel) is not subscription:
        return
    # With an error clients would give up; what is not prolonged ends when it expires, and they come anew.
    if allowed is not None and (not allowed.expire_at or allowed.expire_at > session.hub.clock()):
        if allowed.info is not None:
            subscription.info = as_raw(allowed.info)
        subscription.allow = allowed.allow
        expire_later(subscription, allowed, result)
    session.reply(Reply(id=id, sub_refresh=result))
