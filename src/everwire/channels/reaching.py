"""Reaching sessions from the server's side: by user, by client, by session, on whichever node they are.

What is asked for is done on this node, and sent to all others, unless the one session that is meant is here.
"""

from __future__ import annotations

import asyncio
import collections
import fnmatch
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from everwire.channels import subscribing
from everwire.channels.connecting import expire_later
from everwire.channels.engine import Position
from everwire.channels.node import Node
from everwire.channels.options import SubscribeOptions
from everwire.channels.payload import as_raw, encode
from everwire.channels.session import Session
from everwire.errors import CommandError, Disconnected, UnknownChannel
from everwire.wire.codes import DisconnectCode, ErrorCode
from everwire.wire.messages import Push, Subscribe, SubscribeRequest

__all__ = ["Reaching"]


class Reach(Struct, kw_only=True, omit_defaults=True):
    """What is to be done to whose sessions. Nodes of another version pass over fields they do not know."""

    user: str = ""
    client: str = ""
    session: str = ""


class ReachSubscribe(Reach, kw_only=True, omit_defaults=True):
    channel: str
    info: bytes | None = None
    data: bytes | None = None
    expire_at: float = 0
    since: tuple[int, str] | None = None
    options: dict[str, Any] = {}


class ReachUnsubscribe(Reach, kw_only=True, omit_defaults=True):
    channel: str = ""
    code: int = 2000
    reason: str = ""


class ReachDisconnect(Reach, kw_only=True, omit_defaults=True):
    whitelist: Sequence[str] = ()
    code: int = int(DisconnectCode.FORCE_NO_RECONNECT)
    reason: str = ""


class ReachRefresh(Reach, kw_only=True, omit_defaults=True):
    expired: bool = False
    expire_at: float = 0
    info: bytes | None = None


class ReachSend(Reach, kw_only=True, omit_defaults=True):
    data: bytes


AnyReach = TypeVar("AnyReach", bound=Reach)
Work = Callable[[AnyReach], Awaitable[int]]


class Reaching(Node):
    """What a hub does to sessions that are there. All return how many there were, on all nodes.

    A node that does not answer in ``survey_timeout`` seconds is not counted, and named in the log; what was
    sent to it is done if it goes on, or its sessions are gone if it does not.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._answers("subscribe", ReachSubscribe, self._subscribe)
        self._answers("unsubscribe", ReachUnsubscribe, self._unsubscribe)
        self._answers("disconnect", ReachDisconnect, self._disconnect)
        self._answers("refresh", ReachRefresh, self._refresh)
        self._answers("send", ReachSend, self._send)
        self.cluster.handle("channels", self._list_channels)

    def _answers(self, op: str, kind: type[AnyReach], work: Work[AnyReach]) -> None:
        """Do what another node asks for."""
        decode = msgspec.msgpack.Decoder(kind).decode

        async def handle(data: bytes) -> bytes:
            return msgspec.msgpack.encode(await work(decode(data)))

        self.cluster.handle(op, handle)

    async def _everywhere(self, op: str, reach: AnyReach, work: Work[AnyReach]) -> int:
        """Do something on all nodes; return the sum.

        Raises:
            CommandError: it could not be done on one of them; it was on the others.
            EngineError: the others could not be told; it was done here.
        """
        alone = (reach.client or reach.session) and self.sessions_of(
            reach.user, client=reach.client, session=reach.session
        )
        if alone or not self.cluster.members:
            return await work(reach)
        asked = self.cluster.survey(op, msgspec.msgpack.encode(reach))
        done, survey = await asyncio.gather(work(reach), asked, return_exceptions=True)
        if isinstance(done, BaseException):
            raise done
        if isinstance(survey, BaseException):
            raise survey
        for error in survey.errors.values():
            raise error
        return done + sum(msgspec.msgpack.decode(answer, type=int) for answer in survey.answers.values())

    async def subscribe_user(
        self,
        user: str,
        channel: str,
        *,
        client: str = "",
        session: str = "",
        info: Any = None,
        data: Any = None,
        expire_at: float = 0,
        recover_since: Position | None = None,
        **options: Any,
    ) -> int:
        """Subscribe a user's sessions to a channel from the server's side; return how many were.

        Parameters:
            user: the user's id.
            channel: the channel.
            client, session: this connection only.
            info, data, expire_at, and *options*: as in :class:`SubscribeOptions`.
            recover_since: send what was published after this position.

        Raises:
            UnknownChannel: no such channel was declared.
            EngineError: the other nodes could not be told.
        """
        if self.rules.find(channel) is None:
            raise UnknownChannel(f"no channel {channel!r} was declared")
        # What there is not, is an error here.
        SubscribeOptions(info=info, data=data, expire_at=expire_at, client_side_refresh=False, **options)
        reach = ReachSubscribe(
            user=user,
            client=client,
            session=session,
            channel=channel,
            info=None if info is None else bytes(as_raw(info)),
            data=None if data is None else bytes(as_raw(data)),
            expire_at=expire_at,
            since=None if recover_since is None else (recover_since.offset, recover_since.epoch),
            options=options,
        )
        return await self._everywhere("subscribe", reach, self._subscribe)

    async def _subscribe(self, reach: ReachSubscribe) -> int:
        rule = self.rules.find(reach.channel)
        if rule is None:
            raise UnknownChannel(f"no channel {reach.channel!r} was declared")
        allowed = SubscribeOptions(
            info=_as_payload(reach.info),
            data=_as_payload(reach.data),
            expire_at=reach.expire_at,
            client_side_refresh=False,
            **reach.options,
        )
        done = 0
        for each in self.sessions_of(reach.user, client=reach.client, session=reach.session):
            if reach.channel in each.subscriptions:
                continue
            request = SubscribeRequest(channel=reach.channel)
            if reach.since is not None:
                request.recover, request.recoverable = True, True
                request.offset, request.epoch = reach.since
            try:
                joining = await subscribing.join(each, rule, request, allowed, server_side=True)
            except Disconnected as error:
                each.disconnect(error.code, error.reason)
                continue
            if each.is_closed:
                continue
            result = joining.result
            told = Subscribe(
                recoverable=result.recoverable,
                epoch=result.epoch,
                offset=result.offset,
                positioned=result.positioned,
                data=result.data,
            )
            each.push(Push(channel=reach.channel, subscribe=told))
            joining.resend()
            joining.go_live()
            done += 1
        return done

    async def unsubscribe(
        self,
        user: str,
        channel: str = "",
        *,
        client: str = "",
        session: str = "",
        code: int = 2000,
        reason: str = "",
    ) -> int:
        """End the subscriptions of a user's sessions to a channel (empty: to all); return how many there
        were.

        *code*: 2000 to 2499: the client stays away; 2500 to 2999: it comes back by itself.

        Raises:
            EngineError: the other nodes could not be told.
        """
        if not 2000 <= code <= 2999:
            raise ValueError(f"a code of an ended subscription is 2000 to 2999, not {code!r}")
        reach = ReachUnsubscribe(
            user=user, client=client, session=session, channel=channel, code=int(code), reason=reason
        )
        return await self._everywhere("unsubscribe", reach, self._unsubscribe)

    async def _unsubscribe(self, reach: ReachUnsubscribe) -> int:
        done = 0
        for each in self.sessions_of(reach.user, client=reach.client, session=reach.session):
            for name in [reach.channel] if reach.channel else list(each.subscriptions):
                if name in each.subscriptions:
                    each.drop(name, reach.code, reach.reason)
                    done += 1
        return done

    async def disconnect(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        whitelist: Sequence[str] = (),
        code: int = DisconnectCode.FORCE_NO_RECONNECT,
        reason: str = "",
    ) -> int:
        """End the sessions of a user, but for the clients in *whitelist*; return how many there were.

        *code*: clients come back by themselves after 3000 to 3499 and 4000 to 4499 only.

        Raises:
            EngineError: the other nodes could not be told.
        """
        if not 3000 <= code <= 4999:
            raise ValueError(f"a code of an ended session is 3000 to 4999, not {code!r}")
        reach = ReachDisconnect(
            user=user,
            client=client,
            session=session,
            whitelist=list(whitelist),
            code=int(code),
            reason=reason,
        )
        return await self._everywhere("disconnect", reach, self._disconnect)

    async def _disconnect(self, reach: ReachDisconnect) -> int:
        done = 0
        for each in self.sessions_of(reach.user, client=reach.client, session=reach.session):
            if each.client not in reach.whitelist:
                each.disconnect(reach.code, reach.reason)
                done += 1
        return done

    async def refresh(
        self,
        user: str,
        *,
        client: str = "",
        session: str = "",
        expired: bool = False,
        expire_at: float = 0,
        info: Any = None,
    ) -> int:
        """Prolong the sessions of a user until *expire_at* (0: for ever), or end them with *expired*.

        Raises:
            CommandError: *expire_at* is past (110).
            EngineError: the other nodes could not be told.
        """
        if expire_at and expire_at <= self.clock():
            raise CommandError(ErrorCode.EXPIRED, ErrorCode.EXPIRED.reason)
        reach = ReachRefresh(
            user=user,
            client=client,
            session=session,
            expired=expired,
            expire_at=float(expire_at),
            info=None if info is None else bytes(as_raw(info)),
        )
        return await self._everywhere("refresh", reach, self._refresh)

    async def _refresh(self, reach: ReachRefresh) -> int:
        found = self.sessions_of(reach.user, client=reach.client, session=reach.session)
        for each in found:
            if reach.expired:
                each.disconnect(DisconnectCode.EXPIRED)
                continue
            if reach.info is not None:
                each.info = Raw(reach.info)
            each.expire_at = reach.expire_at
            expire_later(each)
            each.tell_refresh()
        return len(found)

    async def send(self, user: str, data: Any, *, client: str = "", session: str = "") -> int:
        """Send a user's sessions a message of no channel; return how many there were.

        Raises:
            EngineError: the other nodes could not be told.
        """
        reach = ReachSend(user=user, client=client, session=session, data=bytes(encode(data)))
        return await self._everywhere("send", reach, self._send)

    async def _send(self, reach: ReachSend) -> int:
        found: list[Session] = self.sessions_of(reach.user, client=reach.client, session=reach.session)
        for each in found:
            each.send(Raw(reach.data))
        return len(found)

    async def channels(self, pattern: str = "") -> dict[str, int]:
        """The channels that are followed, with their numbers of subscribers, on all nodes.

        Of nodes that do not answer in ``survey_timeout`` seconds nothing is in there; the log names them.

        Parameters:
            pattern: of names, with ``*`` and ``?``; empty: all.

        Raises:
            CommandError: another node has more than can be sent at once, some 100,000 (106): ask for less.
            EngineError: the other nodes could not be asked.
        """
        found = collections.Counter(self._channels_here(pattern))
        answers, errors, _ = await self.cluster.survey("channels", msgspec.msgpack.encode(pattern))
        for error in errors.values():
            raise error
        for answer in answers.values():
            found.update(msgspec.msgpack.decode(answer, type=dict[str, int]))
        return dict(found)

    async def _list_channels(self, pattern: bytes) -> bytes:
        return msgspec.msgpack.encode(self._channels_here(msgspec.msgpack.decode(pattern, type=str)))

    def _channels_here(self, pattern: str) -> dict[str, int]:
        return {
            name: len(channel.subscribers)
            for name, channel in self._channels.items()
            if channel.subscribers and (not pattern or fnmatch.fnmatchcase(name, pattern))
        }


def _as_payload(data: bytes | None) -> Raw | None:
    return None if data is None else Raw(data)
