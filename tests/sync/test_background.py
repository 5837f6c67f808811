"""The thread in the background: who is looked after, and when."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from blocking import until

from everwire._core.stream import monotonic
from everwire.sync.background import Background


class Idle:
    """Something to look after; it wants to be seen again after so many seconds, and so often."""

    def __init__(self, seconds: float, times: int = 1_000_000) -> None:
        self.seconds = seconds
        self.times = times
        self.looks = 0
        self.seen = threading.Event()

    def tend(self) -> float | None:
        self.looks += 1
        self.seen.set()
        return monotonic() + self.seconds if self.looks < self.times else None


@pytest.fixture
def background() -> Iterator[Background]:
    """A thread in the background, for this test alone."""
    before = set(threading.enumerate())
    background = Background()
    loop = background.loop
    (thread,) = set(threading.enumerate()) - before
    yield background
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_each_is_looked_at_when_it_is_due_and_only_then(background: Background) -> None:
    idle = [Idle(3600) for _ in range(500)]
    for each in idle:
        background.tend(each)
    soon = Idle(0.01, times=5)
    background.tend(soon)
    until(lambda: soon.looks == 5)
    assert {each.looks for each in idle} == {1}
    # Asked for anew, one is looked at at once, and is not due twice.
    background.tend(idle[7])
    until(lambda: idle[7].looks == 2)
    assert len(background._entries) == 500


def test_an_earlier_time_comes_first_and_what_is_forgotten_not_at_all(background: Background) -> None:
    late, early = Idle(3600), [Idle(0.01)]
    background.tend(late)
    assert late.seen.wait(10)
    background.tend(early[0])
    until(lambda: early[0].looks > 3)
    assert late.looks == 1
    gone = weakref.ref(early[0])
    early.clear()
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: len(background._entries) == 1)


def test_a_failure_leaves_the_others(background: Background) -> None:
    class Broken(Idle):
        def tend(self) -> float | None:
            super().tend()
            raise RuntimeError("broken")

    errors: list[object] = []
    background.loop.set_exception_handler(lambda loop, context: errors.append(context["message"]))
    broken, sound = Broken(0.01), Idle(0.01)
    background.tend(broken)
    background.tend(sound)
    until(lambda: sound.looks > 3)
    assert broken.looks == 1
    assert errors == ["looking after a connection failed"]
