"""Subscriptions: a session's cursor in a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Raw

from everwire.channels.channel import Channel, Encoding
from everwire.wire.codes import DisconnectCode, UnsubscribeCode
from everwire.wire.messages import NOTHING, ClientInfo, Publication, Unsubscribe

if TYPE_CHECKING:
    from everwire.channels.channel import Frames, Lane
    from everwire.channels.options import Permission
    from everwire.channels.session import Session

__all__ = ["Gap", "Subscription"]

MAX_KEPT = 10_000
"""Publications that are kept for a subscription until it is live."""


class Gap(Exception):
    """What was kept for a subscription does not follow on what was read of the log."""


class Subscription:
    """What a session has in a channel.

    Attributes:
        session: whose it is.
        channel: the channel.
        server_side: whether the server has subscribed the client.
        positioned: whether gaps are told.
        presence, join_leave: whether it is told of in presence, and by joins.
        push_join_leave: whether it is told of joins.
        client_side_refresh: whether the client is to refresh it.
        encoding: how its frames are made.
        filter: whether publications with these tags are for it; None: all are.
        primed: whether it has the newest publication, to which the next difference will be.
        info: what is told about it.
        allow: what the subscriber may do beyond the channel's options.
        joining: whether it is being made.
        live: whether it is sent what comes.
        ended: with what it was ended before it was live: the client is told once it knows of it.
        buffer: publications that came before it was live, each with the offset before it; None: it is live.
        since: the offset up to which it has all, where the channel has still to be told of some of that.
        lane: the lane that it is in; None: it is reached by itself.
        expiry: the timer of its end.
    """

    __slots__ = (
        "allow",
        "buffer",
        "channel",
        "client_side_refresh",
        "encoding",
        "ended",
        "expiry",
        "filter",
        "info",
        "join_leave",
        "joining",
        "lane",
        "live",
        "positioned",
        "presence",
        "primed",
        "push_join_leave",
        "server_side",
        "session",
        "since",
    )

    def __init__(self, session: Session, channel: Channel, encoding: Encoding, *, server_side: bool) -> None:
        self.session = session
        self.channel = channel
        self.encoding = encoding
        self.server_side = server_side
        self.positioned = False
        self.presence = False
        self.join_leave = False
        self.push_join_leave = False
        self.client_side_refresh = True
        self.filter: Callable[[Mapping[str, str]], bool] | None = None
        self.primed = not encoding.delta
        self.info: Raw = NOTHING
        self.allow: Sequence[Permission] = ()
        self.buffer: list[tuple[Publication, int]] | None = []
        self.since = 0
        self.joining = True
        self.live = False
        self.ended: Unsubscribe | None = None
        self.lane: Lane | None = None
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def alone(self) -> bool:
        """Whether it takes more than a lane's frames."""
        return self.filter is not None or not self.primed or self.since > 0

    @property
    def client_info(self) -> ClientInfo:
        """What is told about it to others."""
        session = self.session
        return ClientInfo(
            user=session.user, client=session.client, conn_info=session.info, chan_info=self.info
        )

    def keep(self, publication: Publication, previous: int) -> None:
        """Keep a publication until the subscription is live."""
        assert self.buffer is not None
        self.buffer.append((publication, previous))
        if len(self.buffer) > MAX_KEPT:
            self.session.disconnect(DisconnectCode.SLOW)

    def send(self, frames: Frames, *, primed: bool) -> None:
        """Send a publication to this subscriber alone."""
        self.send_frame(frames.get(self.encoding, primed=primed))

    def send_frame(self, frame: bytes | None) -> None:
        """Send a frame to this subscriber alone; None: its format could not carry what was to be sent."""
        if frame is None:
            self.session.disconnect(DisconnectCode.INAPPROPRIATE_PROTOCOL)
        else:
            self.session.hub.counts.sent(frame)
            self.session.carrier.send(frame)

    def merge(self, top: int) -> list[Publication]:
        """What was kept that comes after the offset *top*.

        Raises:
            Gap: something between them is missing.
        """
        merged: list[Publication] = []
        last = top
        for publication, previous in self.buffer or ():
            if publication.offset <= last:
                continue
            if previous != last:
                raise Gap
            merged.append(publication)
            last = publication.offset
        return merged

    def lose(self) -> None:
        """Publications are missing for it: the client is told at once, and comes back for them."""
        if self.buffer is not None:
            return  # not live yet: the merge will see it
        self.session.hub.counts.insufficient += 1
        if self.server_side:
            self.session.disconnect(DisconnectCode.INSUFFICIENT_STATE)
        else:
            self.session.drop(self.channel.name, UnsubscribeCode.INSUFFICIENT_STATE)
