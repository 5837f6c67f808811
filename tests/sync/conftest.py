"""No test of the blocking API leaves descriptors or threads behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest
from blocking import until

from everwire.sync.background import background


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return {name: what for name, what in found.items() if not what.endswith("/fd")}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    assert background.loop.is_running() or background.loop  # what it keeps open is not a test's leak
    before, threads = _descriptors(), set(threading.enumerate())
    yield
    gc.collect()
    # Daemon threads of everwire end by themselves when their connections have.
    until(lambda: set(threading.enumerate()) <= threads)
    until(lambda: len(_descriptors()) <= len(before))
