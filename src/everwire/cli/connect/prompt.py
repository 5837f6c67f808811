"""The prompt of ``everwire connect``: line editing, completion, and a history that outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.shortcuts import CompleteStyle

from everwire.cli.connect.session import Session
from everwire.cli.connect.slash import COMMANDS, SlashCompleter, perform
from everwire.cli.connect.terminal import STYLE, TerminalView

__all__ = ["Prompt", "history_file", "open_history", "open_terminal"]

MAX_HISTORY = 1 << 20
"""Bytes of the history; when it is larger, the older half is dropped."""

MAX_ENTRY = 16 << 10
"""Characters of the longest line that is kept in the history."""

LAST_LINES = 1.0
"""Seconds that lines have to be sent when the user leaves."""


def history_file() -> Path:
    """Where the history is kept (XDG Base Directory Specification: the state directory)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "everwire" / "history"


class Discreet(FileHistory):
    """A history that does not keep lines that begin with a space, nor very long ones."""

    def append_string(self, string: str) -> None:
        """Keep a line."""
        if not string.startswith(" ") and len(string) <= MAX_ENTRY:
            super().append_string(string)


def open_history(path: Path) -> History:
    """The history in a file that only its owner may read.

    Raises:
        OSError: the file cannot be made or written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if size > MAX_HISTORY:
        _halve(path)
    return Discreet(path)


def _halve(path: Path) -> None:
    """Drop the older half: entries begin with an empty line and a comment."""
    data = path.read_bytes()
    start = data.find(b"\n# ", len(data) // 2)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data[start:] if start >= 0 else b"")
    os.replace(file.name, path)


def open_terminal() -> Output:
    """Standard output as a terminal that is never asked where its cursor is.

    Not all terminals answer that, and an answer that comes after the end would be typed into the shell.
    """
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    return create_output()


class Prompt:
    """Messages and commands come from a person.

    Args:
        view: where answers are shown.
        output: the terminal.
        keep: whether lines are kept for the next time.
    """

    def __init__(self, view: TerminalView, output: Output, *, keep: bool) -> None:
        history: History = InMemoryHistory()
        if keep:
            try:
                history = open_history(history_file())
            except OSError as error:
                view.note(f"no history is kept: {error}")
        self._view = view
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._session: PromptSession[str] = PromptSession(
            output=output,
            history=history,
            completer=SlashCompleter(),
            complete_style=CompleteStyle.COLUMN,
            complete_while_typing=Condition(self._is_command),
            reserve_space_for_menu=1 + len(COMMANDS),
            key_bindings=self._bindings(),
            style=STYLE,
            erase_when_done=True,
        )

    def _is_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")

    async def run(self, session: Session) -> None:
        """Take lines until the user leaves."""
        async with asyncio.TaskGroup() as group:
            performing = group.create_task(self._perform(session))
            await self._read(session)
            # What was entered before Ctrl-D is still sent, unless that takes long.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LINES):
                    await self._lines.join()
            performing.cancel()
        session.leave()

    async def _read(self, session: Session) -> None:
        """Let the user edit lines, until Ctrl-D.

        The prompt stays while lines are carried out: it keeps the terminal from its driver, which would echo
        keys.
        """

        def message() -> FormattedText:
            return FormattedText([("class:prompt" if session.is_open else "class:prompt.off", "> ")])

        while True:
            try:
                await self._session.prompt_async(message, handle_sigint=False)
            except EOFError:
                return
            except KeyboardInterrupt:
                session.interrupt()

    async def _perform(self, session: Session) -> None:
        while True:
            line = await self._lines.get()
            await perform(session, self._view, line)
            self._lines.task_done()

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()

        def enter(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.text:
                self._lines.put_nowait(buffer.text)
                buffer.append_to_history()
                buffer.reset()

        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        bindings.add("enter", filter=~is_searching)(enter)
        bindings.add("escape", "enter")(new_line)
        return bindings
