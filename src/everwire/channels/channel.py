"""Channels, as a node has them: their subscribers, and how a publication reaches these.

A publication is encoded once for each *lane*: the subscribers of one format, whose transports can share a
feed. Those for whom it takes more (a filter, the first of differences, not yet live) are reached one by one,
with the same frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from everwire.channels.carrier import Feed, FeedFactory
from everwire.channels.counts import Counts
from everwire.channels.engine import Position
from everwire.errors import WireError
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode
from everwire.wire.delta import difference, full_as_string
from everwire.wire.messages import ClientInfo, Join, Leave, Publication, Push, Reply

if TYPE_CHECKING:
    from everwire.channels.rules import Rule
    from everwire.channels.subscription import Subscription

__all__ = ["Channel", "Encoding", "Follower", "encode_push"]


class Encoding(NamedTuple):
    """How a frame is made: what subscribers of a lane have in common.

    *compact*: with the channel's number for its name; *delta*: the subscribers know differences.
    """

    codec: Codec
    unidirectional: bool
    compact: bool
    delta: bool


class Follower(Protocol):
    """Who follows a channel in this process."""

    def push(self, publication: Publication, position: Position, previous: int) -> None:
        """There is a publication, after the one at *previous*."""
        ...

    def lost(self) -> None:
        """Publications are missing."""
        ...


def encode_push(encoding: Encoding, push: Push) -> bytes:
    """The frame of a push."""
    if encoding.unidirectional:
        return encoding.codec.encode_push(push)
    return encoding.codec.encode_replies((Reply(push=push),))


class Lane:
    """Subscribers that get the same frames from one feed."""

    __slots__ = ("encoding", "factory", "feed")

    def __init__(self, encoding: Encoding, factory: FeedFactory) -> None:
        self.encoding = encoding
        self.factory = factory
        self.feed: Feed = factory(encoding.codec)


class Frames:
    """The frames of one publication, each made when first asked for."""

    __slots__ = ("_channel", "_delta", "_made", "publication")

    def __init__(self, channel: Channel, publication: Publication, delta: bool) -> None:
        self.publication = publication
        self._channel = channel
        self._delta = delta and channel.last is not None
        self._made: dict[tuple[Encoding, bool], bytes | None] = {}

    def get(self, encoding: Encoding, *, primed: bool = True) -> bytes | None:
        """The frame for a lane, or for a subscriber who (not *primed*) does not have the publication before.

        None: the format cannot carry it.
        """
        key = (encoding, primed)
        try:
            return self._made[key]
        except KeyError:
            pass
        frame = self._made[key] = self._make(encoding, primed)
        return frame

    def _make(self, encoding: Encoding, primed: bool) -> bytes | None:
        publication, last = self.publication, self._channel.last
        try:
            if encoding.delta:
                if primed and self._delta and last is not None:
                    publication = difference(encoding.codec, last, publication)
                else:
                    publication = full_as_string(encoding.codec, publication)
            return encode_push(encoding, self._channel.push(encoding, pub=publication))
        except WireError:
            return None


class Channel:
    """One channel that somebody follows on this node.

    Attributes:
        name: its name.
        rule: its options and hooks.
        subscribers: the subscriptions, by session.
        position: of the newest publication seen in its log; None: not known yet.
        last: the newest publication, where differences are allowed.
        followed: whether the engine tells of it.
        holds: those who want it to be followed.
        idle: the position at which it was seen last without a change, and the time since when.
        live: those of the subscriptions who are sent what comes.
    """

    __slots__ = (
        "_counts",
        "_direct",
        "_followers",
        "_lanes",
        "_lock",
        "_number",
        "followed",
        "holds",
        "idle",
        "last",
        "live",
        "name",
        "position",
        "rule",
        "subscribers",
    )

    def __init__(self, name: str, rule: Rule, number: int, counts: Counts) -> None:
        self.name = name
        self.rule = rule
        self.subscribers: dict[object, Subscription] = {}
        self.position: Position | None = None
        self.last: Publication | None = None
        self.followed = False
        self.holds = 0
        self.idle: tuple[Position | None, float] = (None, 0.0)
        self.live = 0
        self._number = number
        self._counts = counts
        self._lanes: list[Lane] = []
        self._direct: dict[Subscription, None] = {}
        self._followers: list[Follower] = []
        self._lock: asyncio.Lock | None = None

    @property
    def lock(self) -> asyncio.Lock:
        """Held while it begins or ceases to be followed."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    @property
    def number(self) -> int:
        """What stands for its name where that was agreed."""
        return self._number

    @property
    def positioned(self) -> bool:
        """Whether somebody counts on having all that is published."""
        return bool(self._followers) or any(each.positioned for each in self.subscribers.values())

    def push(self, encoding: Encoding, **what: Any) -> Push:
        """A push of this channel."""
        if encoding.compact:
            return Push(id=self._number, **what)
        return Push(channel=self.name, **what)

    # Who is there

    def attach(self, subscription: Subscription) -> None:
        """Take up a subscription that is not live yet: what comes is kept for it."""
        self.subscribers[subscription.session] = subscription
        self._counts.subscriptions += 1
        self._direct[subscription] = None

    def go_live(self, subscription: Subscription, late: Sequence[Publication]) -> None:
        """From now on the subscription is sent what comes; first *late*, what came while it could not be."""
        for publication in late:
            sent = subscription.filter is None or subscription.filter(publication.tags)
            if sent:
                subscription.send(Frames(self, publication, delta=False), primed=False)
            subscription.primed = not subscription.encoding.delta or (sent and publication is self.last)
        if late:
            subscription.since = max(subscription.since, late[-1].offset) if subscription.positioned else 0
        if self.position is None or self.position.offset >= subscription.since:
            subscription.since = 0
        self._settle(subscription)

    def seen(self, top: Position) -> None:
        """Somebody has read the log: its newest publication is at *top*."""
        known = self.position
        if known is None:
            self.position = top
        elif known.epoch != top.epoch:
            self.position = top
            self.lost()

    def forget_position(self) -> None:
        """It was not followed for a while: what was published meanwhile is not known."""
        self.position = self.last = None

    def _to_lane(self, subscription: Subscription) -> None:
        del self._direct[subscription]
        encoding, carrier = subscription.encoding, subscription.session.carrier
        for lane in self._lanes:
            if lane.factory is carrier.feeds and lane.encoding == encoding:
                break
        else:
            lane = Lane(encoding, carrier.feeds)
            self._lanes.append(lane)
        subscription.lane = lane
        lane.feed.add(carrier)

    def detach(self, subscription: Subscription) -> None:
        """The subscription has ended."""
        if self.subscribers.pop(subscription.session, None) is not None:
            self._counts.subscriptions -= 1
        self._direct.pop(subscription, None)
        lane = subscription.lane
        if lane is not None:
            subscription.lane = None
            lane.feed.discard(subscription.session.carrier)
            if not len(lane.feed):
                self._lanes.remove(lane)

    def add_follower(self, follower: Follower) -> None:
        """Tell somebody in this process of publications, too."""
        self._followers.append(follower)

    def remove_follower(self, follower: Follower) -> None:
        """Do so no longer."""
        self._followers.remove(follower)

    # What comes

    def deliver(self, publication: Publication, position: Position, previous: int, delta: bool) -> None:
        """Send a publication to everybody; tell who has to know that some are missing before it."""
        if position.epoch and not self._advance(position, previous):
            return
        counts = self._counts
        counts.delivered += 1
        frames = Frames(self, publication, delta or self.rule.options.delta_publish)
        for lane in list(self._lanes):
            frame = frames.get(lane.encoding)
            if frame is not None:
                counts.sent(frame, len(lane.feed))
                lane.feed.publish(frame)
            else:
                for each in [sub for sub in self.subscribers.values() if sub.lane is lane]:
                    each.session.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
        if self._direct:
            for each in list(self._direct):
                if each in self._direct:
                    self._deliver_alone(each, frames, position, previous)
        for follower in list(self._followers):
            follower.push(publication, position, previous)
        if self.rule.options.allowed_delta_types:
            self.last = publication

    def _advance(self, position: Position, previous: int) -> bool:
        """Go on to a position; False if it was there already."""
        known, self.position = self.position, position
        if known is None:
            return True
        if known.epoch == position.epoch:
            if position.offset <= known.offset:
                self.position = known
                return False
            if previous == known.offset:
                return True
        self.lost()
        return True

    def _deliver_alone(
        self, subscription: Subscription, frames: Frames, position: Position, previous: int
    ) -> None:
        publication = frames.publication
        if subscription.buffer is not None:
            subscription.keep(publication, previous)
            return
        since = subscription.since
        if since and position.offset >= since:
            subscription.since = 0
        if since and position.offset <= since:
            self._settle(subscription)
            return
        if since and previous != since:
            # It was ahead of what had come here, by what a failover of the engine has lost since.
            subscription.lose()
            return
        if subscription.filter is not None and not subscription.filter(publication.tags):
            # The next difference would be from a publication that this subscriber does not have.
            subscription.primed = not subscription.encoding.delta
            return
        subscription.send(frames, primed=subscription.primed)
        subscription.primed = True
        self._settle(subscription)

    def _settle(self, subscription: Subscription) -> None:
        """A subscription that took more than a lane's frames may do so no longer."""
        if not subscription.alone and subscription in self._direct:
            self._to_lane(subscription)

    def lost(self) -> None:
        """Publications are missing: whoever counts on having all of them is told."""
        self.last = None
        for subscription in list(self.subscribers.values()):
            if subscription.positioned:
                subscription.lose()
        for follower in list(self._followers):
            follower.lost()

    def tell(self, *, join: ClientInfo | None = None, leave: ClientInfo | None = None) -> None:
        """Tell the subscribers who want to know who came or left."""
        what: dict[str, Any] = {"join": Join(info=join)} if join is not None else {"leave": Leave(info=leave)}
        frames: dict[Encoding, bytes | None] = {}
        for each in self._listeners():
            encoding = each.encoding
            if encoding not in frames:
                frames[encoding] = self._frame(encoding, what)
            each.send_frame(frames[encoding])

    def _frame(self, encoding: Encoding, what: dict[str, Any]) -> bytes | None:
        """The frame of a push; None: the format cannot carry it."""
        try:
            return encode_push(encoding, self.push(encoding, **what))
        except WireError:
            return None

    def _listeners(self) -> Iterator[Subscription]:
        for each in list(self.subscribers.values()):
            if each.push_join_leave and each.buffer is None:
                yield each
