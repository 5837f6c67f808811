"""Whether the promises were kept: what was acknowledged, what is in the logs, and what each follower got."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.followers import Follower, Got
from chaos.publishing import Ledger

__all__ = ["Log", "Verdict", "judge"]


class Log(NamedTuple):
    """What is in the log of a channel: its epoch, and the values by their offsets."""

    epoch: str
    values: dict[int, int]


@dataclass(slots=True)
class Verdict:
    """What was counted.

    Attributes:
        problems: promises that were broken, in words.
        lost: acknowledged, and not in the log.
        unacknowledged: in the log all the same.
        twice: values that are in a log twice.
        duplicates: publications that a follower got twice.
        disordered: publications that a follower got after a later one.
        missing: publications that a follower did not get, and was not told.
        told: gaps that a follower was told of.
        needless: those of them before which it had everything.
        skipped: publications in gaps that were told.
        withdrawn: publications that a follower got, that no log has any more, and of which it was told.
    """

    problems: list[str] = field(default_factory=list[str])
    lost: int = 0
    unacknowledged: int = 0
    twice: int = 0
    duplicates: int = 0
    disordered: int = 0
    missing: int = 0
    told: int = 0
    needless: int = 0
    skipped: int = 0
    withdrawn: int = 0


def judge(
    ledger: Ledger, logs: Sequence[Mapping[str, Log]], crew: Sequence[Follower], *, history: int, lossy: bool
) -> Verdict:
    """Compare everything with everything.

    Parameters:
        logs: as each of the nodes has read them.
        history: publications in a log, at most.
        lossy: whether the engine may lose what was acknowledged, as long as those are told who have seen it.
    """
    verdict = Verdict()
    if any(each != logs[0] for each in logs):
        verdict.problems.append("the nodes do not read the same in the logs")
    expected = _judge_logs(ledger, logs[0], verdict, history=history, lossy=lossy)
    for follower in crew:
        for channel, got in follower.got.items():
            who = f"{follower.transport}, {channel}"
            _Reading(who, got, expected[channel], verdict, small=len(expected[channel]) > history).judge()
    return verdict


def _judge_logs(
    ledger: Ledger, logs: Mapping[str, Log], verdict: Verdict, *, history: int, lossy: bool
) -> dict[str, dict[int, int]]:
    """Look at the logs; return what was ever in each, with what a small log has evicted, in order."""
    problem = verdict.problems.append
    expected = {channel: dict(log.values) for channel, log in logs.items()}
    for channel, log in logs.items():
        verdict.twice += len(log.values) - len(set(log.values.values()))
        if list(log.values) != sorted(log.values):
            problem(f"{channel}: the log is not in order")
    if verdict.twice:
        problem(f"{verdict.twice} values are in a log twice")
    last: dict[tuple[str, int], int] = {}
    for value, each in ledger.publications.items():
        if each.position is None:
            if each.key:
                problem(f"{each.channel}: {value} was not acknowledged in {each.tries} tries")
            continue
        offset, epoch = each.position
        log = logs[each.channel]
        if offset <= last.get((each.channel, each.publisher), 0) and not lossy:
            problem(f"{each.channel}: {value} is at {offset}, before what its publisher has published before")
        last[each.channel, each.publisher] = offset
        if len(log.values) >= history and offset < min(log.values):
            expected[each.channel][offset] = value
        elif log.values.get(offset) != value or log.epoch != epoch:
            verdict.lost += 1
            if not lossy:
                found = log.values.get(offset)
                problem(f"{each.channel}: {value} was acknowledged at {offset}, and there is {found}")
    for channel, log in logs.items():
        for value in log.values.values():
            published = ledger.publications.get(value)
            if published is None or published.channel != channel:
                problem(f"{channel}: {value} is in the log, and was not published there")
            elif published.position is None:
                verdict.unacknowledged += 1
    return {channel: dict(sorted(values.items())) for channel, values in expected.items()}


class _Reading:
    """What a follower got of a channel, held against what it should have got.

    Parameters:
        who: for people.
        small: whether the log has evicted some: then gaps are to be expected.
    """

    def __init__(
        self, who: str, got: Got, expected: Mapping[int, int], verdict: Verdict, *, small: bool
    ) -> None:
        self._who = who
        self._got = got
        self._expected = list(expected.items())
        self._index = {offset: number for number, offset in enumerate(expected)}
        self._verdict = verdict
        self._small = small
        self._seen: collections.Counter[int] = collections.Counter()
        self._at = 0
        """The number of what is to come next."""

    def judge(self) -> None:
        """Follow it from the first publication to the last."""
        verdict, runs = self._verdict, self._got.runs
        for number, run in enumerate(runs):
            withdrawn = self._run(run, after_gap=number > 0)
            verdict.withdrawn += withdrawn
            if number + 1 < len(runs):
                verdict.told += 1
                verdict.needless += not withdrawn and not self._small
            elif withdrawn:
                self._problem(f"it got {withdrawn} that are in no log, and was not told")
        top = self._expected[-1][0] if self._expected else 0
        if self._got.position.offset != top:
            self._problem(f"it is at {self._got.position.offset}, the log at {top}")
        elif len(runs) > 1 and not runs[-1]:
            verdict.skipped += len(self._expected) - self._at

    def _run(self, run: Sequence[tuple[int, int]], *, after_gap: bool) -> int:
        """Follow it to the next gap that it was told of; how many publications before that are in no log."""
        withdrawn = 0
        for number, (offset, value) in enumerate(run):
            self._seen[value] += 1
            index = self._index.get(offset)
            if index is None or self._expected[index][1] != value:
                withdrawn += 1
                continue
            if withdrawn:
                self._problem(f"it got {withdrawn} that are in no log before {offset}, and was not told")
                withdrawn = 0
            if index < self._at:
                self._verdict.duplicates += self._seen[value] > 1
                self._verdict.disordered += self._seen[value] == 1
                self._problem(f"{offset} came twice, or after a later one")
                continue
            if after_gap and not number:
                self._verdict.skipped += index - self._at
            elif index > self._at:
                self._verdict.missing += index - self._at
                self._problem(f"{index - self._at} are missing before {offset}")
            self._at = index + 1
        return withdrawn

    def _problem(self, what: str) -> None:
        self._verdict.problems.append(f"{self._who}: {what}")
