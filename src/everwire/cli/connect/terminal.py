"""What a session says to a person at a terminal: coloured, with times, above the prompt if there is one."""

from __future__ import annotations

import asyncio
from datetime import datetime

from prompt_toolkit.application import get_app_or_none
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.output import Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style

import everwire
from everwire.cli.connect.show import Fragments, content, described
from everwire.cli.explain import Problem
from everwire.cli.text import escape

__all__ = ["STYLE", "TerminalView"]

STYLE = Style.from_dict(
    {
        "dim": "ansibrightblack",
        "in": "ansigreen",
        "out": "ansicyan",
        "good": "ansigreen bold",
        "bad": "ansired bold",
        "warn": "ansiyellow",
        "escaped": "ansired",
        "hex": "",
        "prompt": "ansicyan bold",
        "prompt.off": "ansibrightblack bold",
        "completion-menu.completion": "bg:default ansicyan",
        "completion-menu.completion.current": "noreverse bg:ansicyan ansiblack",
        "completion-menu.meta.completion": "bg:default ansibrightblack",
        "completion-menu.meta.completion.current": "bg:default",
        "json.key": "ansiblue",
        "json.string": "ansigreen",
        "json.number": "ansicyan",
        "json.word": "ansimagenta",
        "json.mark": "ansibrightblack",
    }
)

FRAME = 0.03
"""Seconds between two updates of the screen: what comes faster is shown together."""

MAX_PENDING = 2000
"""Pieces of text that may wait for the next update; then it comes at once."""


class TerminalView:
    """Prints to a terminal; while a prompt is there, above it.

    Args:
        output: the terminal.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pending: Fragments = []
        self._timer: asyncio.TimerHandle | None = None
        self._shown_at = 0.0

    def connecting(self, uri: str) -> None:
        """An attempt begins."""
        self._line([("class:dim", f"connecting to {escape(uri)}")], mark=("class:dim", "·"))

    async def opened(self, ws: everwire.Connection, uri: str) -> None:
        """The connection is open."""
        facts: list[str] = []
        if ws.subprotocol is not None:
            facts.append(f"subprotocol {escape(ws.subprotocol)}")
        headers = ws.response.headers if ws.response is not None else everwire.Headers()
        if "permessage-deflate" in ",".join(headers.get_all("Sec-WebSocket-Extensions")):
            facts.append("compression")
        if ws.ssl_object is not None:
            facts.append(str(ws.ssl_object.version()))
        detail = f"  {', '.join(facts)}" if facts else ""
        self._line([("class:good", "connected"), ("class:dim", detail)], mark=("class:good", "●"))

    async def received(self, message: str | bytes) -> None:
        """A message has come."""
        self._message("class:in", "←", message, layout=True)
        if len(self._pending) > MAX_PENDING:
            self._show()

    def sent(self, message: str | bytes) -> None:
        """A message was sent."""
        # Whoever typed it knows what it is.
        self._message("class:out", "→", message, layout=False)

    async def ponged(self, seconds: float) -> None:
        """A ping was answered."""
        self.say([("", f"pong after {seconds * 1000:.1f} ms")])

    async def closed(self, problem: Problem, close: everwire.Close, *, regular: bool) -> None:
        """The connection is over."""
        style = "class:dim" if regular else "class:bad"
        self._line([("" if regular else style, problem.message)], mark=(style, "●"))
        if problem.remedy and not regular:
            self.say([("", problem.remedy)])

    async def failed(self, problem: Problem) -> None:
        """Something did not work."""
        self._line([("class:bad", problem.message)], mark=("class:bad", "✗"))
        for line in problem.lines[1:]:
            self.say([("class:dim" if line.startswith("|") else "", line)])

    def note(self, text: str) -> None:
        """A word in passing."""
        self.say([("class:dim", escape(text))])

    def say(self, fragments: Fragments) -> None:
        """A line of text, under what it belongs to."""
        self._put([("", "  "), *fragments, ("", "\n")])

    async def flush(self) -> None:
        """Everything is shown when this returns."""
        self._show()

    def _message(self, style: str, arrow: str, message: str | bytes, *, layout: bool) -> None:
        shown = content(message, layout=layout)
        multiline = any("\n" in text for _, text in shown) or (isinstance(message, bytes) and bool(message))
        head: Fragments = [(style, f"{arrow} "), ("class:dim", f"{described(message)}  ")]
        if multiline:
            indented = [(each, text.replace("\n", "\n    ")) for each, text in shown]
            self._line([*head, ("", "\n    "), *indented])
        else:
            self._line([*head, *shown])

    def _line(self, fragments: Fragments, mark: tuple[str, str] | None = None) -> None:
        """A line with the time, and what kind of thing happened."""
        now = datetime.now()
        time = f"{now:%H:%M:%S}.{now.microsecond // 1000:03d} "
        start: Fragments = [("class:dim", time)]
        if mark is not None:
            start.append((mark[0], f"{mark[1]} "))
        self._put([*start, *fragments, ("", "\n")])

    def _put(self, fragments: Fragments) -> None:
        self._pending += fragments
        app = get_app_or_none()
        if app is None or not app.is_running:
            self._show()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._shown_at + FRAME), self._show)

    def _show(self) -> None:
        """Print what is pending; a prompt gives way, and is drawn again below.

        prompt_toolkit's own way for this, run_in_terminal, leaves the terminal to its driver meanwhile, which
        echoes keys and swallows a Ctrl-D.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        app = get_app_or_none()
        running = app is not None and app.is_running
        if app is not None and running:
            app.renderer.erase()
            self._shown_at = asyncio.get_running_loop().time()
        print_formatted_text(self._output, FormattedText(pending), STYLE)
        self._output.flush()
        if app is not None and running:
            app.invalidate()
