"""What breaks in a chaos run: drawn from a seed, done one after the other, and mended again."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.backends import Backend, Kind
from chaos.nodes import Node
from chaos.wires import Cut, Wire

__all__ = ["Fault", "Saboteur", "plan"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks.

    Attributes:
        kind: ``"kill-node"`` and ``"kill-leader"``: SIGKILL; ``"cut"``: the network between a node and the
            engine's servers; ``"freeze-node"`` and ``"freeze-leader"``: SIGSTOP; ``"isolate-leader"``: its
            replicas are cut off, and then it is killed, with what they do not have.
        pause: seconds without a fault before it.
        lasts: seconds until it is mended.
        node: the number of the node that it is about.
        how: how the network is cut.
    """

    kind: Kind
    pause: float
    lasts: float
    node: int
    how: Cut

    def __str__(self) -> str:
        about = f" {self.node}" if self.kind.endswith("-node") else ""
        if self.kind == "cut":
            about = f" node {self.node} off ({self.how})"
        return f"{self.kind}{about} for {self.lasts:.1f} s"


def plan(
    kinds: Sequence[str],
    *,
    nodes: int,
    known: Sequence[Kind],
    seconds: float,
    lasts: tuple[float, float],
    seed: int,
) -> list[Fault]:
    """Draw the faults of a run: each kind as often as any other, in any order; ``freeze`` is of either.

    Parameters:
        nodes: how many there are.
        known: those that there can be.
        seconds: of the run; there is a fault every six or so.
        lasts: seconds for which a fault lasts, at least and at most.

    Raises:
        ValueError: there is no such kind, or not with this engine.
    """
    chance = random.Random(f"faults {seed}")
    count = max(len(kinds), round(seconds / 6)) if kinds else 0
    drawn: list[Kind] = []
    while len(drawn) < count:
        for kind in chance.sample(kinds, len(kinds)):
            if kind == "freeze":
                kind = chance.choice([each for each in known if each.startswith("freeze-")])
            found = [each for each in known if each == kind]
            if not found:
                raise ValueError(f"there is no fault {kind!r} here: there are {', '.join(known)}, freeze")
            drawn += found
    return [
        Fault(
            kind,
            pause=chance.uniform(0.5, 2.0),
            lasts=chance.uniform(*lasts),
            node=chance.randrange(nodes),
            how=chance.choice(("reset", "silence")),
        )
        for kind in drawn[:count]
    ]


class Saboteur:
    """Breaks things, and mends them.

    Parameters:
        wires: of each node, to the servers of the engine.

    Attributes:
        done: how many faults there were of each kind.
        now: what is broken at the moment; empty: nothing.
    """

    def __init__(self, backend: Backend, nodes: Sequence[Node], wires: Sequence[Sequence[Wire]]) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        self.now = ""
        self._backend = backend
        self._nodes = nodes
        self._wires = wires

    async def run(self, faults: Sequence[Fault]) -> None:
        """Do it all; each fault when the servers are in step again after the one before."""
        for fault in faults:
            self.now = "mending" if self.done else ""
            await self._backend.settle()
            self.now = ""
            await asyncio.sleep(fault.pause)
            self.now = str(fault)
            await self._break(fault)
            self.done[fault.kind] += 1
            self.now = ""

    async def _break(self, fault: Fault) -> None:
        node = self._nodes[fault.node]
        match fault.kind:
            case "kill-node":
                await node.kill()
                await asyncio.sleep(fault.lasts)
                await node.start()
            case "freeze-node":
                node.freeze()
                await asyncio.sleep(fault.lasts)
                node.thaw()
            case "cut":
                for wire in self._wires[fault.node]:
                    wire.cut(fault.how)
                await asyncio.sleep(fault.lasts)
                for wire in self._wires[fault.node]:
                    wire.heal()
            case "kill-leader" | "isolate-leader":
                leader = await self._backend.leader()
                if fault.kind == "isolate-leader":
                    await self._backend.kill_alone(leader)
                else:
                    leader.kill()
                await asyncio.sleep(fault.lasts)
                await self._backend.revive(leader)
            case "freeze-leader":
                leader = await self._backend.leader()
                leader.freeze()
                await asyncio.sleep(fault.lasts)
                leader.thaw()
