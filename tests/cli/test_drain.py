"""``everwire drain``: a running server sends its clients elsewhere; and so does one that is told to stop."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from asgi.programs import hosting
from commands import everwire
from typer import BadParameter

from everwire.cli.drain import Failed, ask, find
from everwire.cli.drain import drain as command
from everwire.errors import ConnectionClosed, InvalidStatus
from everwire.sync import Connection, connect

HUB = """
import everwire

app = everwire.Hub(api_key="open sesame")
app.namespace("", history=10)
"""
PATH = "/connection/websocket"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the sockets of these servers: there may be others on this machine."""
    monkeypatch.setenv("EVERWIRE_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def connected(url: str, count: int, path: str = PATH) -> list[Connection]:
    """WebSockets of clients of the hub."""
    sockets = [connect("ws" + url.removeprefix("http") + path, proxy=None).open() for _ in range(count)]
    if path == PATH:
        for ws in sockets:
            ws.send('{"id":1,"connect":{}}')
            assert '"connect"' in str(ws.recv(timeout=20))
    return sockets


def end_of(ws: Connection) -> int:
    """The code with which it is closed."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=20)
    return closed.value.code


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_server_of_this_machine(tmp_path: Path, folder: Path) -> None:
    with hosting(tmp_path, source=HUB) as (program, url):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        sockets = connected(url, 3)
        with everwire("drain", "--spread", "0.3s") as drain:
            assert drain.wait() == 0
        assert f"Draining process {program.process.pid}: 3 clients.\n" in drain.output
        assert "Drained in" in drain.output
        assert [end_of(ws) for ws in sockets] == [3001] * 3
        # It goes on to run, takes no clients, and says so.
        assert status_of(f"{url}/connection/health") == 200
        assert status_of(f"{url}/connection/health/ready") == 503
        with pytest.raises(InvalidStatus) as refused:
            connected(url, 1)
        assert refused.value.response.headers["Retry-After"] == "1"
        with everwire("drain", "--pid", str(program.process.pid)) as drain:
            assert drain.wait() == 0
        assert ": 0 clients.\n" in drain.output
        assert program.stop(signal.SIGTERM) == 0
        assert list(folder.iterdir()) == []


def test_workers(tmp_path: Path) -> None:
    with hosting(tmp_path, "--workers", "2") as (program, url):
        sockets = connected(url, 8, "/ws")
        with everwire("drain", "--spread", "0.3s", "--pid", str(program.process.pid)) as drain:
            assert drain.wait() == 0
        assert [end_of(ws) for ws in sockets] == [1012] * 8
        for _ in range(8):
            with pytest.raises(InvalidStatus):
                connected(url, 1, "/ws")
        assert program.stop(signal.SIGTERM) == 0
        assert "Traceback" not in program.output


def test_over_the_server_api(tmp_path: Path) -> None:
    with hosting(tmp_path, source=HUB) as (_, url):
        sockets = connected(url, 3)
        with pytest.raises(Failed, match="401: the key of the server API is wrong"):
            next(ask(url, "wrong", {}))
        args = ("drain", "--url", url, "--spread", "0")
        with everwire(*args, env={"EVERWIRE_API_KEY": "open sesame"}) as drain:
            assert drain.wait() == 0
        assert "Drained in" in drain.output
        assert [end_of(ws) for ws in sockets] == [3001] * 3
        request = urllib.request.Request(
            f"{url}/api/drain", data=b'{"spread": -1}', headers={"X-API-Key": "open sesame"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            assert "spread is a number of seconds" in json.load(response)["error"]["message"]


def test_what_is_not_there_or_not_clear_is_said(tmp_path: Path, folder: Path) -> None:
    with everwire("drain") as drain:
        assert drain.wait() == 1
        assert f"none has a socket in {folder}" in drain.output
    with pytest.raises(Failed, match="no `everwire serve` of this user with the process id 1"):
        find(1)
    with pytest.raises(Failed, match="cannot be asked"):
        next(ask("http://127.0.0.1:1", "", {}))
    with pytest.raises(BadParameter, match="write it like http://"):
        next(ask("localhost:8000", "", {}))
    with pytest.raises(BadParameter, match="give one of them"):
        command(pid=1, url="http://localhost")
    with pytest.raises(BadParameter, match="expected a duration like 30"):
        command(spread="soon")
    (tmp_path / "other").mkdir()
    with hosting(tmp_path, source=HUB) as (one, _), hosting(tmp_path / "other", source=HUB) as (other, _):
        pids = sorted(str(program.process.pid) for program in (one, other))
        with pytest.raises(Failed, match=f"there are several; name one with --pid: {', '.join(pids)}"):
            find(None)
        # One that was killed has left its socket.
        other.process.kill()
        other.wait()
        assert find(None).stem == str(one.process.pid)
        assert len(list(folder.iterdir())) == 1


def test_a_folder_that_others_may_enter_is_not_used(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with hosting(tmp_path, source=HUB) as (program, url):
        program.wait_for("`everwire drain` cannot reach this process: .*EVERWIRE_RUNTIME_DIR")
        assert list(folder.iterdir()) == []
        connected(url, 1)[0].close()


def test_a_server_that_stops_drains_first(tmp_path: Path) -> None:
    with hosting(tmp_path, "--drain-spread", "0.5s", source=HUB) as (program, url):
        sockets = connected(url, 10)
        begin = time.monotonic()
        program.send_signal(signal.SIGTERM)
        assert [end_of(ws) for ws in sockets] == [3001] * 10
        assert time.monotonic() - begin >= 0.4
        assert program.wait() == 0


def test_a_drain_ends_with_the_server(tmp_path: Path) -> None:
    with hosting(tmp_path, "--drain-spread", "0", source=HUB) as (program, url):
        sockets = connected(url, 3)
        with everwire("drain", "--spread", "1h") as drain:
            drain.wait_for("3 clients")
            ended = [threading.Thread(target=end_of, args=(ws,)) for ws in sockets]
            for each in ended:
                each.start()
            assert program.stop(signal.SIGTERM) == 0
            for each in ended:
                each.join()
            assert drain.wait() == 1
            assert "has ended before it was drained" in drain.output
        assert not os.path.exists(tmp_path / "run" / f"{program.process.pid}.sock")
