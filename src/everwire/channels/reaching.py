"""Reaching sessions from the server's side: by user, by client, by session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class Reaching(Node):
    """What a hub does to sessions that are there."""

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
        """
        rule = self.rules.find(channel)
        if rule is None:
            raise UnknownChannel(f"no channel {channel!r} was declared")
        allowed = SubscribeOptions(
            info=info, data=data, expire_at=expire_at, client_side_refresh=False, **options
        )
        done = 0
        for each in self.sessions_of(user, client=client, session=session):
            if channel in each.subscriptions:
                continue
            request = SubscribeRequest(channel=channel)
            if recover_since is not None:
                request.recover, request.recoverable = True, True
                request.offset, request.epoch = recover_since
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
            each.push(Push(channel=channel, subscribe=told))
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
        """
        if not 2000 <= code <= 2999:
            raise ValueError(f"a code of an ended subscription is 2000 to 2999, not {code!r}")
        done = 0
        for each in self.sessions_of(user, client=client, session=session):
            for name in [channel] if channel else list(each.subscriptions):
                if name in each.subscriptions:
                    each.drop(name, code, reason)
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
        """
        if not 3000 <= code <= 4999:
            raise ValueError(f"a code of an ended session is 3000 to 4999, not {code!r}")
        done = 0
        for each in self.sessions_of(user, client=client, session=session):
            if each.client not in whitelist:
                each.disconnect(code, reason)
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
        """
        if expire_at and expire_at <= self.clock():
            raise CommandError(ErrorCode.EXPIRED, ErrorCode.EXPIRED.reason)
        found = self.sessions_of(user, client=client, session=session)
        for each in found:
            if expired:
                each.disconnect(DisconnectCode.EXPIRED)
                continue
            if info is not None:
                each.info = as_raw(info)
            each.expire_at = float(expire_at)
            expire_later(each)
            each.tell_refresh()
        return len(found)

    async def send(self, user: str, data: Any, *, client: str = "", session: str = "") -> int:
        """Send a user's sessions a message of no channel; return how many there were."""
        payload = encode(data)
        found: list[Session] = self.sessions_of(user, client=client, session=session)
        for each in found:
            each.send(payload)
        return len(found)
