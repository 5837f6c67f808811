"""``bufferedAmount`` from what is known of the bytes of frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from everwire.web.buffered import Buffered, frame_size


def test_a_frame_is_larger_than_its_message() -> None:
    assert [frame_size(size) - size for size in (0, 125, 126, 65535, 65536)] == [6, 6, 8, 8, 14]


def test_what_leaves_is_counted_off() -> None:
    buffered = Buffered()
    buffered.sent(100, 106)
    buffered.sent(200, 208)
    assert buffered.amount == 300
    buffered.settle(314)
    assert buffered.amount == 300
    buffered.settle(208 + 50)
    assert buffered.amount == 250
    buffered.settle(208)
    assert buffered.amount == 200
    buffered.settle(0)
    assert buffered.amount == 0


def test_what_was_discarded_stays() -> None:
    buffered = Buffered()
    buffered.sent(10, 16)
    buffered.discarded(5)
    buffered.settle(0)
    assert buffered.amount == 5


@given(st.lists(st.integers(0, 300)), st.lists(st.floats(0, 1)))
def test_it_tells_what_waits_but_for_the_heads_of_frames(sizes: list[int], parts: list[float]) -> None:
    buffered = Buffered()
    for size in sizes:
        buffered.sent(size, frame_size(size))
    waiting = sum(map(frame_size, sizes))
    before = buffered.amount
    for part in parts:
        waiting = int(waiting * part)
        buffered.settle(waiting)
        assert 0 <= buffered.amount <= before
        # The frames that wait have at most 14 bytes of their own, the one that is leaving included.
        assert waiting - 14 * (len(sizes) + 1) <= buffered.amount <= waiting
        before = buffered.amount
    buffered.settle(0)
    assert buffered.amount == 0
