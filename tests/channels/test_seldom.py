"""Warnings that come for each client are logged now and then, and counted."""

from __future__ import annotations

import logging

import pytest

from everwire.channels.seldom import Seldom


def test_warnings_are_counted_until_the_next_is_due(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    seldom = Seldom(logging.getLogger("test"), interval=5, clock=lambda: now)
    for number in range(4):
        seldom.warning("no presence in %r: %s", f"c{number}", "gone")
    now = 104.9
    seldom.warning("no presence in %r: %s", "c4", "gone")
    now = 105
    seldom.warning("no presence in %r: %s", "c5", "gone")
    now = 120
    seldom.warning("no leave in %r", "c6")
    assert [record.getMessage() for record in caplog.records] == [
        "no presence in 'c0': gone",
        "no presence in 'c5': gone (and 4 warnings like it before)",
        "no leave in 'c6'",
    ]
