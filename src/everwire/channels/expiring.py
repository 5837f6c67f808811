"""The end of subscriptions that expire."""

from __future__ import annotations

from everwire.channels.context import Context
from everwire.channels.options import SubscribeOptions, as_ttl
from everwire.channels.rules import call
from everwire.channels.subscription import Subscription
from everwire.errors import CommandError
from everwire.wire.codes import DisconnectCode, UnsubscribeCode
from everwire.wire.messages import SubRefreshResult, SubscribeResult

__all__ = ["expire_later"]


def expire_later(
    subscription: Subscription, allowed: SubscribeOptions, result: SubscribeResult | SubRefreshResult
) -> None:
    """End the subscription when it expires; tell the client when, if it is to refresh it."""
    hub = subscription.session.hub
    if subscription.expiry is not None:
        subscription.expiry.cancel()
        subscription.expiry = None
    if not allowed.expire_at:
        return
    left = allowed.expire_at - hub.clock()
    if allowed.client_side_refresh:
        result.expires, result.ttl = True, as_ttl(left)
        left += hub.options.expired_close_delay
    subscription.expiry = hub.loop.call_later(max(left, 0), _expired, subscription)


def _expired(subscription: Subscription) -> None:
    subscription.expiry = None
    session, rule = subscription.session, subscription.channel.rule
    if rule.refresh_hook is not None and not subscription.client_side_refresh:
        session.hub.spawn(_ask_refresh(subscription))
    else:
        _end_expired(subscription)


def _end_expired(subscription: Subscription) -> None:
    if subscription.server_side:
        subscription.session.disconnect(DisconnectCode.SUB_EXPIRED)
    else:
        subscription.session.drop(subscription.channel.name, UnsubscribeCode.EXPIRED)


async def _ask_refresh(subscription: Subscription) -> None:
    """Ask the channel's hook whether a subscription goes on."""
    session, rule, name = subscription.session, subscription.channel.rule, subscription.channel.name
    assert rule.refresh_hook is not None
    try:
        until = await call(rule.refresh_hook, Context(session, channel=name), **rule.fields(name))
    except CommandError:
        until = None
    except Exception:
        session.hub.logger.exception("the refresh hook of %r failed for %s", rule, session)
        until = None
    if session.subscriptions.get(name) is not subscription:
        return
    if until is None or until <= session.hub.clock():
        _end_expired(subscription)
        return
    expire_later(
        subscription, SubscribeOptions(expire_at=until, client_side_refresh=False), SubscribeResult()
    )
