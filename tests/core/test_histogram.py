"""The histogram: percentiles within its precision, and what is merged, dumped and loaded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire._core.histogram import Histogram

PRECISION = 1 / 512
"""How far a percentile may be from the duration that it stands for."""

durations = st.lists(st.integers(0, 1 << 42), min_size=1, max_size=200)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def dumped(histogram: Histogram) -> tuple[int, int, int, list[int | float]]:
    return histogram.count, histogram.minimum, histogram.maximum, histogram.dump()


@given(durations, st.floats(0, 1))
def test_a_quantile_is_right_within_the_precision(values: list[int], share: float) -> None:
    exact = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    assert filled(values).quantile(share) == pytest.approx(exact, rel=PRECISION, abs=0)


@given(durations)
def test_the_extremes_are_exact(values: list[int]) -> None:
    histogram = filled([min(value, (1 << 42) - 1) for value in values])
    most = min(max(values), (1 << 42) - 1)
    assert (histogram.count, histogram.minimum, histogram.maximum) == (
        len(values),
        min(min(values), most),
        most,
    )
    assert histogram.quantile(1) == most


@given(durations, durations)
def test_merged_is_as_recorded_together(one: list[int], two: list[int]) -> None:
    merged = filled(one)
    merged.merge(filled(two))
    together = filled(one + two)
    assert merged.dump()[3:] == together.dump()[3:]
    assert (merged.count, merged.minimum, merged.maximum) == (
        together.count,
        together.minimum,
        together.maximum,
    )
    assert merged.mean == pytest.approx(together.mean)


@given(durations)
def test_loaded_is_as_dumped(values: list[int]) -> None:
    histogram = filled(values)
    assert dumped(Histogram.load(histogram.dump())) == dumped(histogram)


def test_nothing_is_zero() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.mean, histogram.quantile(0.5), histogram.maximum) == (0, 0.0, 0, 0)
    full = filled([7])
    full.merge(histogram)
    histogram.merge(full)
    assert dumped(full) == dumped(histogram) == dumped(filled([7]))


def test_what_is_out_of_range_counts_as_the_extreme() -> None:
    assert filled([-5]).minimum == 0
    assert filled([1 << 60]).maximum == (1 << 42) - 1


def test_a_duration_can_be_recorded_many_times() -> None:
    histogram = filled([10])
    histogram.record(1000, 99)
    histogram.record(5, 0)
    assert (histogram.count, histogram.minimum, histogram.quantile(0.5)) == (100, 10, 1000)


@pytest.mark.parametrize("numbers", [[], [1, 2], [1, 2, 3, 4], [1, 2, 3.0, 1 << 30, 1]])
def test_what_is_no_histogram_is_not_loaded(numbers: list[int | float]) -> None:
    with pytest.raises(ValueError, match="a histogram"):
        Histogram.load(numbers)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_from_0_to_1(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Histogram().quantile(share)
