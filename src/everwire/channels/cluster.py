"""The other nodes of a hub: who they are, and asking one or all of them for something.

Nodes find each other through the engine: each says every few seconds that it is there. Who was not heard of
three times is forgotten. A request to another node is answered in time, or fails in time; what it did there
by then is not known, so that requests are such that they can be repeated.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from everwire.channels import control
from everwire.channels.control import Announce, Answer, Ask, Assembler, Gone, Message
from everwire.errors import CommandError, EngineError, NodeUnreachable
from everwire.wire.codes import ErrorCode

if TYPE_CHECKING:
    from everwire.channels.node import Node

__all__ = ["Cluster", "NodeInfo", "Survey"]

MISSED = 3
"""Announcements that a node may miss until it is forgotten."""
MAX_WAITING = 20_000
"""Requests of this node that wait for an answer."""
MAX_HANDLED = 20_000
"""Requests of other nodes that are being answered."""
MAX_MEMBERS = 10_000
"""Nodes that are known."""
MAX_INTERVAL = 60.0
"""Seconds between the announcements of a node at most, whatever it says."""
LAST_ANSWERS = 1.0
"""Seconds that what is being answered may take when the hub closes."""

Handler = Callable[[bytes], Awaitable[bytes]]


class NodeInfo(NamedTuple):
    """What a node has: counts.

    Attributes:
        node: its id.
        clients: sessions of which it is known who they are of.
        users: different users of those.
        channels: channels that are followed.
        subscriptions: of all sessions together.
        name: for people.
        version: of the server.
        uptime: seconds since it began.
    """

    node: str
    clients: int
    users: int
    channels: int
    subscriptions: int
    name: str = ""
    version: str = ""
    uptime: int = 0


class Survey(NamedTuple):
    """What the other nodes have answered.

    Attributes:
        answers: by node.
        errors: of nodes that could not do it, by node.
        silent: nodes that have not answered in time.
    """

    answers: dict[str, bytes]
    errors: dict[str, CommandError]
    silent: Sequence[str]


class Waiting:
    """A request that waits for the answers of nodes."""

    __slots__ = ("done", "nodes", "survey")

    def __init__(self, nodes: Sequence[str], done: asyncio.Future[None]) -> None:
        self.nodes = set(nodes)
        self.done = done
        self.survey = Survey({}, {}, ())

    def answered(self, answer: Answer) -> None:
        """A node has answered."""
        if answer.node in self.nodes:
            if answer.code:
                self.survey.errors[answer.node] = CommandError(answer.code, answer.message)
            else:
                self.survey.answers[answer.node] = answer.data
            self.lost(answer.node)

    def lost(self, node: str) -> None:
        """A node answers no more."""
        self.nodes.discard(node)
        if not self.nodes and not self.done.done():
            self.done.set_result(None)


class Cluster:
    """The other nodes that share the hub's engine.

    Parameters:
        hub: this node.
    """

    def __init__(self, hub: Node) -> None:
        self._hub = hub
        self._handlers: dict[str, Handler] = {}
        self._members: dict[str, tuple[NodeInfo, float]] = {}
        """What is known of each, and the time at which it is forgotten."""
        self._waiting: dict[int, Waiting] = {}
        self._handled: set[asyncio.Task[None]] = set()
        self._parts = Assembler()
        self._announcing: asyncio.Task[None] | None = None
        self._available = True
        self._begun = time.monotonic()
        self._number = 0

    @property
    def node(self) -> str:
        """The id of this node."""
        return self._hub.node

    @property
    def members(self) -> dict[str, NodeInfo]:
        """The other nodes, by id."""
        return {node: info for node, (info, _) in self._members.items()}

    @property
    def uptime(self) -> int:
        """Seconds since this node began."""
        return int(time.monotonic() - self._begun)

    def handle(self, op: str, handler: Handler) -> None:
        """Answer the requests of other nodes for *op* with what ``handler(data)`` returns.

        A :class:`~everwire.errors.CommandError` that it raises is raised where it was asked.
        """
        self._handlers[op] = handler

    # The beginning and the end

    def start(self) -> None:
        """Begin to say that this node is there, and to learn of the others."""
        self._begun = time.monotonic()
        self._announcing = self._hub.loop.create_task(self._announce_on())

    async def close(self) -> None:
        """Tell the others that this node ends; what they have asked is answered in a second, or not."""
        task, self._announcing = self._announcing, None
        if task is None:
            return
        task.cancel()
        late = {task}
        if self._handled:
            _, pending = await asyncio.wait(self._handled, timeout=LAST_ANSWERS)
            late |= pending
        for each in late:
            each.cancel()
        await asyncio.wait(late)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS):
                await self._try_to_send(Gone(self.node))
        for node in list(self._members):
            self._forget(node)

    async def _announce_on(self) -> None:
        await self._announce(ask=True)
        while True:
            await asyncio.sleep(self._hub.options.node_info_interval * random.uniform(0.8, 1.2))
            self._forget_the_silent()
            await self._announce()

    async def _announce(self, node: str = "", *, ask: bool = False) -> None:
        info = self._hub.info()
        every = self._hub.options.node_info_interval
        await self._try_to_send(
            Announce(
                node=info.node,
                name=info.name,
                version=info.version,
                clients=info.clients,
                users=info.users,
                channels=info.channels,
                subscriptions=info.subscriptions,
                uptime=info.uptime,
                every=every,
                ask=ask,
            ),
            node,
        )

    def available(self, available: bool) -> None:
        """The engine is reachable again, or no longer: then nodes are not forgotten for their silence."""
        back = available and not self._available
        self._available = available
        if back and self._announcing is not None:
            for node, (info, until) in self._members.items():
                self._members[node] = info, max(until, time.monotonic() + self._patience())
            self._run(self._announce(ask=True))

    def _patience(self, every: float = 0.0) -> float:
        return (MISSED + 0.5) * max(min(every, MAX_INTERVAL), self._hub.options.node_info_interval)

    def _forget_the_silent(self) -> None:
        now = time.monotonic()
        for node, (_, until) in list(self._members.items()):
            if self._available and until < now:
                self._hub.logger.warning("node %s was not heard of any more", node)
                self._forget(node)

    def _forget(self, node: str) -> None:
        self._members.pop(node, None)
        for waiting in list(self._waiting.values()):
            waiting.lost(node)

    # Asking

    async def call(self, node: str, op: str, data: bytes, *, timeout: float) -> bytes:
        """Ask another node for something; wait for the answer at most *timeout* seconds.

        Raises:
            NodeUnreachable: there is no such node, or it has not answered. Whether it did what was asked is
                not known.
            CommandError: it cannot do it.
            EngineError: it could not be sent.
        """
        if node not in self._members:
            raise NodeUnreachable(f"there is no node {node[:50]!r} (any more)", known=False)
        survey = await self._ask([node], op, data, node, timeout)
        for error in survey.errors.values():
            raise error
        if node not in survey.answers:
            known = node in self._members
            why = f"has not answered in {timeout:g} seconds" if known else "has ended"
            raise NodeUnreachable(f"node {node} {why}", known=known)
        return survey.answers[node]

    async def survey(self, op: str, data: bytes) -> Survey:
        """Ask all other nodes for something, and wait for their answers for a bounded time.

        Those that have not answered until then are named in the log.

        Raises:
            EngineError: it could not be sent.
        """
        if not self._members:
            return Survey({}, {}, ())
        timeout = self._hub.options.survey_timeout
        survey = await self._ask(list(self._members), op, data, "", timeout)
        if survey.silent:
            self._hub.logger.warning(
                "%s: no answer in %g seconds from %s", op, timeout, ", ".join(survey.silent)
            )
        return survey

    async def _ask(self, nodes: Sequence[str], op: str, data: bytes, to: str, timeout: float) -> Survey:
        if len(self._waiting) >= MAX_WAITING:
            raise EngineError(f"{MAX_WAITING} requests to other nodes wait for an answer already")
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = Waiting(nodes, self._hub.loop.create_future())
        try:
            async with asyncio.timeout(timeout):
                await self._send(Ask(self.node, number, op, data), to)
                await waiting.done
        except TimeoutError:
            pass
        finally:
            del self._waiting[number]
        return waiting.survey._replace(silent=sorted(waiting.nodes))

    async def _send(self, message: Message, node: str = "") -> None:
        self._number += 1
        for each in control.encode(message, self._number):
            await self._hub.engine.control(each, node=node)

    async def _try_to_send(self, message: Message, node: str = "") -> None:
        try:
            await self._send(message, node)
        except EngineError as error:
            self._hub.logger.debug("other nodes could not be told: %s", error)
        except Exception:
            self._hub.logger.exception("other nodes could not be told")

    # What comes

    def receive(self, data: bytes) -> None:
        """Another node has sent something."""
        try:
            message = control.decode(data, self._parts)
        except ValueError as error:
            self._hub.logger.warning("%s", error)
            return
        if message is None or message.node == self.node:
            return
        if isinstance(message, Announce):
            self._heard(message)
        elif isinstance(message, Gone):
            self._forget(message.node)
        elif isinstance(message, Answer):
            waiting = self._waiting.get(message.id)
            if waiting is not None:
                waiting.answered(message)
        elif self._announcing is not None:
            self._run(self._answer(message))

    def _heard(self, news: Announce) -> None:
        new = news.node not in self._members
        if new and len(self._members) >= MAX_MEMBERS:
            return
        info = NodeInfo(
            node=news.node,
            clients=news.clients,
            users=news.users,
            channels=news.channels,
            subscriptions=news.subscriptions,
            name=news.name,
            version=news.version,
            uptime=news.uptime,
        )
        self._members[news.node] = info, time.monotonic() + self._patience(news.every)
        if (new or news.ask) and self._announcing is not None:
            self._run(self._announce(news.node))

    def _run(self, work: Any) -> None:
        task = self._hub.loop.create_task(work)
        self._handled.add(task)
        task.add_done_callback(self._handled.discard)

    async def _answer(self, ask: Ask) -> None:
        answer = await self._result(ask)
        try:
            await self._send(answer, ask.node)
        except ValueError as error:
            code = ErrorCode.LIMIT_EXCEEDED
            await self._try_to_send(Answer(self.node, ask.id, code=code, message=str(error)), ask.node)
        except EngineError as error:
            self._hub.logger.warning("node %s could not be answered: %s", ask.node, error)

    async def _result(self, ask: Ask) -> Answer:
        handler = self._handlers.get(ask.op)
        if handler is None or len(self._handled) > MAX_HANDLED:
            code = ErrorCode.METHOD_NOT_FOUND if handler is None else ErrorCode.TOO_MANY_REQUESTS
            return Answer(self.node, ask.id, code=code, message=f"{ask.op[:50]}: {code.reason}")
        try:
            return Answer(self.node, ask.id, await handler(ask.data))
        except CommandError as error:
            return Answer(self.node, ask.id, code=error.code, message=error.message)
        except EngineError as error:
            self._hub.logger.error("%s for node %s failed: %s", ask.op, ask.node, error)
        except Exception:
            self._hub.logger.exception("%s for node %s failed", ask.op, ask.node)
        return Answer(self.node, ask.id, code=ErrorCode.INTERNAL, message=ErrorCode.INTERNAL.reason)
