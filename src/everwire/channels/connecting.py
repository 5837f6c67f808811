"""Connecting and refreshing: who a session is of, and for how long."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from everwire.channels import subscribing
from everwire.channels.context import Context, Credentials, as_credentials
from everwire.channels.options import SubscribeOptions, as_ttl
from everwire.channels.payload import as_raw
from everwire.channels.rules import call
from everwire.errors import CommandError, Disconnected, TokenError, TokenExpired
from everwire.wire.codes import DisconnectCode, ErrorCode
from everwire.wire.messages import (
    ConnectRequest,
    ConnectResult,
    RefreshRequest,
    RefreshResult,
    Reply,
    SubscribeRequest,
    SubscribeResult,
)

if TYPE_CHECKING:
    from everwire.channels.session import Session
    from everwire.channels.subscribing import Joining

__all__ = ["connect", "expire_later", "refresh"]


async def connect(session: Session, id: int, request: ConnectRequest) -> None:
    """Find out who a session is of, subscribe it to what it is to be in, and answer."""
    hub = session.hub
    credentials = await _credentials(session, request)
    if session.is_closed:
        return
    _check_limits(session, credentials)
    session.user = credentials.user
    session.info = as_raw(credentials.info)
    session.meta = credentials.meta
    session.caps = credentials.caps
    session.client_side_refresh = credentials.client_side_refresh
    session.expire_at = credentials.expire_at
    if session.expire_at and session.expire_at <= hub.clock():
        raise CommandError(ErrorCode.EXPIRED, ErrorCode.EXPIRED.reason)
    hub.register(session)
    try:
        joinings = await _server_side(session, credentials, request.subs)
    except BaseException:
        hub.unregister(session)
        raise
    if session.is_closed:
        return
    result = _result(session, credentials, {joining.channel: joining.result for joining in joinings})
    options = hub.options
    session.accepted(random.uniform(options.ping_interval / 2, options.ping_interval))
    expire_later(session)
    session.reply(Reply(id=id, connect=result))
    for joining in joinings:
        joining.go_live()
    if hub.hooks.connected is not None:
        await call(hub.hooks.connected, Context(session))


def _result(session: Session, credentials: Credentials, subs: dict[str, SubscribeResult]) -> ConnectResult:
    hub, carrier = session.hub, session.carrier
    left = session.expire_at - hub.clock() if session.expire_at else 0
    asks = left > 0 and session.client_side_refresh
    return ConnectResult(
        client=session.client,
        version=hub.version,
        expires=asks,
        ttl=as_ttl(left) if asks else 0,
        data=as_raw(credentials.data),
        subs=subs,
        ping=int(hub.options.ping_interval) if carrier.pings else 0,
        pong=carrier.pings and not carrier.unidirectional,
        session=session.secret,
        node=hub.node if carrier.emulated else "",
    )


async def _credentials(session: Session, request: ConnectRequest) -> Credentials:
    """Who it is, by the token, by the hook, or nobody known.

    Raises:
        Disconnected: the token is not valid, or there is none and it takes one.
        CommandError: the token has expired, or the hook refuses.
    """
    if session.origin.credentials is not None:
        return session.origin.credentials
    hub = session.hub
    hook = hub.hooks.connect
    if request.token and (hub.verifier is not None or hook is None):
        if hub.verifier is None:
            hub.logger.warning(
                "%s has come with a token, and this hub has no key to check it with: set one "
                "(token_hmac_secret_key, ...) or an on_connect hook",
                session,
            )
            raise Disconnected(DisconnectCode.INVALID_TOKEN)
        try:
            return await by_token(session, request.token)
        except TokenExpired:
            raise CommandError(ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_EXPIRED.reason) from None
    if hook is not None:
        answer = await call(hook, Context(session, data=request.data, token=request.token))
        if answer is not None:
            return as_credentials(answer)
    options = hub.options
    anonymous = options.allow_anonymous_connect_without_token
    if anonymous is None:
        anonymous = hook is None and hub.verifier is None
    if anonymous or options.insecure:
        return Credentials()
    raise Disconnected(DisconnectCode.BAD_REQUEST if hook is None else DisconnectCode.PERMISSION_DENIED)


async def by_token(session: Session, token: str) -> Credentials:
    """Who a connection token says it is.

    Raises:
        Disconnected: the token is not valid.
        TokenExpired: it has expired.
    """
    hub = session.hub
    assert hub.verifier is not None
    try:
        claims = await hub.verifier.connection(token)
    except TokenExpired:
        raise
    except TokenError as error:
        hub.logger.info("the token of %s is not valid: %s", session, error)
        raise Disconnected(DisconnectCode.INVALID_TOKEN) from None
    credentials: Credentials = claims.credentials()
    return credentials


def _check_limits(session: Session, credentials: Credentials) -> None:
    hub = session.hub
    most = hub.options.user_connection_limit
    if most and credentials.user and len(hub.sessions_of(credentials.user)) >= most:
        raise Disconnected(DisconnectCode.CONNECTION_LIMIT)
    if len(credentials.channels) > hub.options.channel_limit:
        raise Disconnected(DisconnectCode.CHANNEL_LIMIT)


async def _server_side(
    session: Session, credentials: Credentials, positions: Mapping[str, SubscribeRequest]
) -> list[Joining]:
    """Subscribe a session to what it is to be in from the start: by its credentials, or as it asks itself."""
    hub = session.hub
    given = credentials.channels
    wanted: dict[str, SubscribeOptions | None] = (
        dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)
    )
    if session.user and hub.options.user_personal_channel is not None:
        namespace = hub.options.user_personal_channel
        wanted.setdefault(f"{namespace}:#{session.user}" if namespace else f"#{session.user}", None)
    for channel in positions:
        if channel not in wanted and subscribing.is_open(session, channel):
            wanted[channel] = None
    joinings: list[Joining] = []
    for channel, options in wanted.items():
        request = positions.get(channel, SubscribeRequest())
        request.channel = channel
        rule = hub.rules.find(channel)
        if rule is None:
            hub.logger.warning("%s is to be subscribed to %r: there is no such channel", session, channel)
            raise CommandError(ErrorCode.UNKNOWN_CHANNEL, ErrorCode.UNKNOWN_CHANNEL.reason)
        joinings.append(
            await subscribing.join(session, rule, request, options or SubscribeOptions(), server_side=True)
        )
        if session.is_closed:
            break
    return joinings


async def refresh(session: Session, id: int, request: RefreshRequest) -> None:
    """Prolong a session by a new token."""
    hub = session.hub
    if not request.token:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    if not session.client_side_refresh or hub.verifier is None:
        raise Disconnected(DisconnectCode.BAD_REQUEST)
    try:
        credentials = await by_token(session, request.token)
    except TokenExpired:
        # With an error clients would give up; so they come back, with a token that is new.
        raise Disconnected(DisconnectCode.EXPIRED) from None
    if session.is_closed:
        return
    if credentials.user != session.user:
        raise Disconnected(DisconnectCode.INVALID_TOKEN)
    session.expire_at = credentials.expire_at
    session.info = as_raw(credentials.info)
    session.meta = credentials.meta
    session.caps = credentials.caps
    left = session.expire_at - hub.clock() if session.expire_at else 0
    if session.expire_at and left <= 0:
        raise Disconnected(DisconnectCode.EXPIRED)
    expire_later(session)
    result = RefreshResult(expires=left > 0, ttl=as_ttl(left) if left > 0 else 0)
    session.reply(Reply(id=id, refresh=result))


def expire_later(session: Session) -> None:
    """End the session when it expires, some seconds later if the client is to refresh it by itself."""
    hub = session.hub
    if session.expiry is not None:
        session.expiry.cancel()
        session.expiry = None
    if session.expire_at:
        delay = session.expire_at - hub.clock()
        if session.client_side_refresh:
            delay += hub.options.expired_close_delay
        session.expiry = hub.loop.call_later(max(delay, 0), _expired, session)


def _expired(session: Session) -> None:
    session.expiry = None
    hub = session.hub
    if hub.hooks.refresh is not None and not session.client_side_refresh:
        hub.spawn(_ask_refresh(session))
    else:
        session.disconnect(DisconnectCode.EXPIRED)


async def _ask_refresh(session: Session) -> None:
    """Ask the hook whether a session goes on."""
    hub = session.hub
    assert hub.hooks.refresh is not None
    try:
        answer = await call(hub.hooks.refresh, Context(session))
    except CommandError:
        answer = None
    except Disconnected as error:
        session.disconnect(error.code, error.reason)
        return
    except Exception:
        hub.logger.exception("the refresh hook failed for %s", session)
        answer = None
    if session.is_closed:
        return
    if isinstance(answer, Credentials | dict):
        renewed = as_credentials(cast(object, answer))
        if renewed.info is not None:
            session.info = as_raw(renewed.info)
        answer = renewed.expire_at
    if answer is None or answer <= hub.clock():
        session.disconnect(DisconnectCode.EXPIRED)
        return
    session.expire_at = float(answer)
    expire_later(session)
