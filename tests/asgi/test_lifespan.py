"""The lifespan protocol: what an application may do at its start and end, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conftest import Run

from everwire.asgi import LifespanError
from everwire.asgi.lifespan import Lifespan

COMPLETE = {"type": "lifespan.startup.complete"}
GONE = {"type": "lifespan.shutdown.complete"}


class App:
    """An application that notes its scope and does at each event what it is told to."""

    def __init__(self, *steps: Callable[[Any], Awaitable[None]] | dict[str, Any]) -> None:
        self.steps = steps
        self.events: list[str] = []
        self.scope: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        for step in self.steps:
            self.events.append((await receive())["type"])
            await (send(step) if isinstance(step, dict) else step(send))


def test_an_application_starts_and_ends(run: Run) -> None:
    async def main() -> None:
        app = App(COMPLETE, GONE)
        lifespan = Lifespan(app, "on")
        await lifespan.startup()
        assert app.events == ["lifespan.startup"]
        assert app.scope["type"] == "lifespan"
        assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        assert app.scope["state"] is lifespan.state
        await lifespan.shutdown()
        assert app.events == ["lifespan.startup", "lifespan.shutdown"]
        await lifespan.shutdown()

    run(main)


@pytest.mark.parametrize("asked", ["auto", "on"])
def test_an_application_that_says_it_cannot_start(run: Run, asked: Any) -> None:
    async def main() -> None:
        lifespan = Lifespan(App({"type": "lifespan.startup.failed", "message": "no database"}), asked)
        with pytest.raises(LifespanError, match="the application's startup failed: no database"):
            await lifespan.startup()

    run(main)


async def raises(send: Any) -> None:
    raise KeyError("on purpose")


async def returns(send: Any) -> None:
    pass


def test_auto_takes_an_application_that_raises_not_to_know_it(run: Run) -> None:
    async def main() -> None:
        for step in (raises, returns):
            lifespan = Lifespan(App(step), "auto")
            await lifespan.startup()
            await lifespan.shutdown()

    run(main)


@pytest.mark.parametrize(("step", "why"), [(raises, "KeyError"), (returns, "returned without")])
def test_on_wants_an_answer(run: Run, step: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with pytest.raises(LifespanError, match=why):
            await Lifespan(App(step), "on").startup()

    run(main)
    assert ("KeyError" in caplog.text) == (step is raises), "the traceback is logged"


def test_off_does_not_ask(run: Run) -> None:
    async def main() -> None:
        app = App(COMPLETE)
        lifespan = Lifespan(app, "off")
        await lifespan.startup()
        await lifespan.shutdown()
        assert app.scope is None

    run(main)


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="'auto', 'on' or 'off', not 'maybe'"):
        Lifespan(App(), "maybe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"type": "lifespan.shutdown.failed", "message": "disk full"}, "shutdown failed: disk full"),
        (raises, "shutdown failed: KeyError"),
        (returns, "shutdown failed: it returned without lifespan.shutdown.complete"),
    ],
)
def test_an_application_that_fails_to_clean_up(run: Run, step: Any, why: str) -> None:
    async def main() -> None:
        lifespan = Lifespan(App(COMPLETE, step))
        await lifespan.startup()
        with pytest.raises(LifespanError, match=why):
            await lifespan.shutdown()

    run(main)


def test_a_cleanup_has_a_deadline(run: Run) -> None:
    cancelled: list[bool] = []

    async def hangs(send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def main() -> None:
        lifespan = Lifespan(App(COMPLETE, hangs))
        await lifespan.startup()
        with pytest.raises(LifespanError, match=r"shutdown took more than 0\.05 seconds"):
            await lifespan.shutdown(timeout=0.05)

    run(main)
    assert cancelled


def test_a_start_can_be_cancelled(run: Run) -> None:
    asked = asyncio.Event()

    async def hangs(send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    async def main() -> None:
        starting = asyncio.create_task(Lifespan(App(hangs)).startup())
        await asked.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    run(main)


@pytest.mark.parametrize(
    "message",
    [{"type": "http.response.start"}, {}, {"type": "lifespan.shutdown.complete"}],
)
def test_a_wrong_message_is_an_error_of_the_application(run: Run, message: dict[str, Any]) -> None:
    async def main() -> None:
        async def wrong(send: Any) -> None:
            with pytest.raises(RuntimeError, match="lifespan"):
                await send(message)
            await send(COMPLETE)
            with pytest.raises(RuntimeError, match="wrong time"):
                await send(COMPLETE)

        lifespan = Lifespan(App(wrong, GONE), "on")
        await lifespan.startup()
        await lifespan.shutdown()

    run(main)


def test_an_application_that_ends_early_is_noted(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(send: Any) -> None:
        await send(COMPLETE)
        raise KeyError("later")

    async def main() -> None:
        lifespan = Lifespan(App(breaks))
        await lifespan.startup()
        await asyncio.sleep(0)
        await lifespan.shutdown()

    run(main)
    assert "ended early" in caplog.text
