"""The tests by section run on asyncio's own transports, too: there the same bytes come another way."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Stay on one event loop: which one it is changes nothing about the protocol."""
    metafunc.definition.add_marker(pytest.mark.loops("asyncio"))


@pytest.fixture(params=["reactor", "transports"])
def run(request: pytest.FixtureRequest, run: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The fixture of all tests, with everwire's reactor and without it."""
    if request.param == "transports":
        monkeypatch.setenv("EVERWIRE_REACTOR", "off")
    return run
