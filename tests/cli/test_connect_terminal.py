"""``everwire connect`` at a terminal: the prompt, its commands and history, what is shown of what comes."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Program, everwire
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]")
"""The sequences that the prompt itself sends: colours, and where the cursor goes."""

DOWN, UP, CTRL_C, CTRL_D = "\x1b[B", "\x1b[A", "\x03", "\x04"


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The URL of an echo server."""
    with everwire("echo", "--port", "0") as program:
        yield program.wait_for(r"ws://\S+")[0]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that histories are kept in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("EVERWIRE_HISTORY", raising=False)
    return tmp_path / "state" / "everwire"


@contextlib.contextmanager
def serving(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A server of ``websockets`` in a thread, and its URL."""
    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def prompt(url: str, *args: str) -> Iterator[Program]:
    """A prompt that is connected."""
    with everwire("connect", url, *args, terminal=True) as program:
        program.wait_for("● .*connected(?s:.*)> ")
        yield program


def shown(program: Program) -> str:
    """What was printed, without what controls the terminal."""
    return CONTROL.sub("", program.output)


def say(program: Program, line: str, answer: str) -> re.Match[str]:
    """Type a line, and wait for what it brings about."""
    program.output = ""
    program.write(line + "\r")
    return program.wait_for(answer)


def leave(program: Program) -> str:
    """Ctrl-D: everything that was shown until the end."""
    program.write(CTRL_D)
    assert program.wait() == 0
    return shown(program)


def test_a_message_and_its_answer(echo: str) -> None:
    with prompt(echo) as program:
        say(program, "Grüße 👋", "←.*Grüße 👋")
        text = leave(program)
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3} → text 12 B  Grüße 👋\s", text)
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3} ← text 12 B  Grüße 👋\s", text)
    assert "● closed by this side: 1000 (normal closure)" in text


def test_json_is_laid_out_and_coloured(echo: str) -> None:
    with prompt(echo) as program:
        say(program, '{"name": "ann", "numbers": [1, 2, 3], ' + f'"text": "{"x" * 60}"}}', "←(?s:.*)x{60}")
        text = leave(program)
    assert re.search(r'← text 109 B\s+\{\s+"name": "ann",\s+"numbers": \[\s+1,\s+2,\s+3\s+\],\s+"text"', text)
    assert "\x1b[0;34m" in program.output or "\x1b[34m" in program.output, "keys are blue"


def test_bytes_and_files(echo: str, tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(range(256)) * 4)
    with prompt(echo) as program:
        say(program, "/binary 00 ff48690a", r"← (?s:.*)\|\.\.Hi\.\|")
        assert re.search(r"← binary 5 B\s+00000000  00 ff 48 69 0a", shown(program))
        say(program, f"/file {path}", r"← (?s:.*)… 768 more bytes")
        assert "← binary 1 KiB" in shown(program)
        say(program, f"/file {tmp_path}/none", r"✗.*none cannot be read: No such file")
        say(program, "/binary 0", "✗.*not hexadecimal, not sent")


def test_commands(echo: str) -> None:
    with prompt(echo, "-s", "chat") as program:
        say(program, "/ping hello", r"pong after \d+\.\d ms")
        say(program, "/ping " + "x" * 126, "at most 125 bytes")
        say(program, "/json {", "✗.*not JSON, not sent")
        say(program, "/json [1]", r"←")
        say(program, "/text  two spaces", r"← .*text 11 B.* two spaces")
        say(program, "//slash", r"← .*text 6 B.*/slash")
        say(program, "/slash", r"✗.*/slash is no command")
        say(program, "/help", "not kept in the history")
        for name in ("text", "json", "binary", "file", "ping", "info", "close", "help"):
            assert f"/{name} " in shown(program)
        say(program, "/info", "sent.*messages")
        text = shown(program)
    for line in (
        rf"URL +{re.escape(echo)}",
        r"state +open for \d s",
        r"peer +127\.0\.0\.1 port \d+",
        "subprotocol +chat",
        "extensions +permessage-deflate",
        "TLS +none",
        r"latency +\d+\.\d ms",
        "received +3 messages, 20 B",
        "sent +3 messages, 20 B",
    ):
        assert re.search(line, text), line


def test_closing_with_a_code_and_a_reason() -> None:
    closed: list[tuple[int | None, str | None]] = []

    def handler(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            ws.recv()
        closed.append((ws.close_code, ws.close_reason))

    with serving(handler) as url, prompt(url) as program:
        say(program, "/close 1005", "✗")
        say(program, "/close now", "✗.*the code comes first")
        program.write("/close 4001 had enough\r")
        assert program.wait() == 0
    assert closed == [(4001, "had enough")]


def test_ctrl_c_closes_with_1001() -> None:
    closed: list[int | None] = []

    def handler(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            ws.recv()
        closed.append(ws.close_code)

    with serving(handler) as url, prompt(url) as program:
        program.write("half a line" + CTRL_C)
        assert program.wait() == 0
    assert closed == [1001]
    assert "Traceback" not in program.output


def test_a_signal_closes_too(echo: str) -> None:
    with prompt(echo) as program:
        assert program.stop(signal.SIGTERM) == 0


def test_the_server_closes_and_the_terminal_is_as_before() -> None:
    def handler(ws: ServerConnection) -> None:
        ws.recv()
        ws.close(1011, "out of \x1b[31mcheese")

    with serving(handler) as url, everwire("connect", url, terminal=True) as program:
        before = program.attributes()
        program.wait_for("● .*connected(?s:.*)> ")
        assert program.attributes() != before
        program.write("x\r")
        program.wait_for("its log knows why")
        assert program.wait() == 3
        assert r"closed by the server: 1011 (internal error) out of \x1b[31mcheese" in shown(program)
        assert program.attributes() == before


def test_what_a_peer_sends_commands_nothing() -> None:
    evil = "\x1b]0;title\x07\x1b[2J\x9b5n\x1bPq\x1b\\\r\x08\x7f\u202e end"

    def handler(ws: ServerConnection) -> None:
        for message in (evil, evil + "\nsecond line", f'{{"a": "{"x" * 90}\u202e"}}', evil.encode(), "done"):
            ws.send(message)
        ws.recv()

    with serving(handler) as url, everwire("connect", url, terminal=True) as program:
        program.wait_for("done")
        text = shown(program)
    visible = r"\x1b]0;title\x07\x1b[2J\x9b5n\x1bPq\x1b\\r\x08\x7f\u202e end"
    assert text.replace("\r", "").count(visible) == 2
    assert re.search(r"end\s+second line", text)
    assert not set("\x07\x08\x7f\x9b\u202e") & set(text)
    assert "\x1b" not in text, "all escape sequences are those of the prompt"


def test_the_history_outlives_the_prompt_and_is_private(echo: str, state: Path) -> None:
    with prompt(echo) as program:
        say(program, "the first", "←.*the first")
        say(program, " not this", "←.* not this")
        say(program, "/ping", "pong after")
        leave(program)
    file = state / "history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert [line for line in file.read_text().splitlines() if line.startswith("+")] == [
        "+the first",
        "+/ping",
    ]
    file.chmod(0o644)
    with prompt(echo) as program:
        say(program, UP + UP, "← .*the first")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_history(echo: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with prompt(echo, "--no-history") as program:
        say(program, "secret", "←.*secret")
    monkeypatch.setenv("EVERWIRE_HISTORY", "0")
    with prompt(echo) as program:
        say(program, "secret", "←.*secret")
    assert not state.exists()


def test_a_history_that_cannot_be_kept_is_said(echo: str, state: Path) -> None:
    state.parent.write_text("a file where the folder should be")
    with everwire("connect", echo, terminal=True) as program:
        program.wait_for("no history is kept: ")
        say(program, "all the same", "←.*all the same")


def test_completion(echo: str) -> None:
    with prompt(echo) as program:
        program.write("/bi")
        program.wait_for("send bytes")
        program.write("\t")
        say(program, " 4869", r"\|Hi\|")


def test_a_line_may_have_several_lines(echo: str) -> None:
    with prompt(echo) as program:
        say(program, "one\x1b\rtwo", r"← .*text 7 B(?s:.*)two")


def test_a_burst_is_shown_in_order() -> None:
    count = 5000

    def handler(ws: ServerConnection) -> None:
        for number in range(count):
            ws.send(f"message {number}.")
        ws.close()

    with serving(handler) as url, everwire("connect", url, terminal=True) as program:
        assert program.wait() == 0
        numbers = [int(each) for each in re.findall(r"message (\d+)\.", shown(program))]
    assert numbers == list(range(count))


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_a_flood_does_not_take_the_keyboard_away(key: str) -> None:
    def handler(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for number in itertools.count():
                ws.send(f"message {number}.")

    with serving(handler) as url, everwire("connect", url, terminal=True) as program:
        program.wait_for(r"message 2000\.")
        program.write(key)
        assert program.wait() == 0


def test_a_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    seen: list[str] = []

    def handler(ws: ServerConnection) -> None:
        assert ws.request is not None
        seen.append(ws.request.headers["Authorization"])
        ws.recv()

    with serving(handler) as url, everwire("connect", url, "--user", "ann", terminal=True) as program:
        program.wait_for("Password of ann: ")
        program.write("open sesame\r")
        program.wait_for("connected(?s:.*)> ")
        leave(program)
    assert seen == ["Basic YW5uOm9wZW4gc2VzYW1l"]
    assert "sesame" not in program.output
    assert not any("sesame" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_what_is_typed_early_is_sent_when_it_is_connected(unused_tcp_port: int) -> None:
    url = f"ws://127.0.0.1:{unused_tcp_port}/"
    with everwire("connect", url, "--reconnect", terminal=True) as program:
        program.wait_for("refused the connection; connecting again in")
        say(program, "early", "not connected yet")
        with everwire("echo", "--port", str(unused_tcp_port)):
            program.wait_for("← .*early")
            leave(program)


def test_reconnecting_tells_what_it_does() -> None:
    again = threading.Event()

    def handler(ws: ServerConnection) -> None:
        if not again.is_set():
            again.set()
            ws.close(1012)
        else:
            ws.send("back")
            with contextlib.suppress(ConnectionClosed):
                ws.recv()

    with serving(handler) as url, everwire("connect", url, "--reconnect", terminal=True) as program:
        program.wait_for("1012(?s:.*)connecting again in ")
        program.wait_for("← .*back")
        leave(program)


def test_it_is_readable_when_only_the_output_is_a_terminal(echo: str) -> None:
    with everwire("connect", echo, "-x", "a\x1b[2J", "-n", "1", terminal=True) as program:
        assert program.wait() == 0
    assert "← text 5 B  a\\x1b[2J" in shown(program)


def test_colours_can_be_turned_off(echo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with everwire("connect", echo, "-x", "hello", "-n", "1", terminal=True) as program:
        assert program.wait() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", program.output)
