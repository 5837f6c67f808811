"""Several workers: all serve, the dead are replaced, signals reach them, nothing is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import everwire

from asgi.programs import APP, get, hosting, open_socket


def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pids(url: str, count: int) -> set[int]:
    """The processes that answer, when that many have."""
    found: set[int] = set()
    until(lambda: found.add(int(get(url, "/pid"))) or len(found) >= count)  # type: ignore[func-returns-value]
    return found


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_workers_serve_and_are_replaced(tmp_path: Path) -> None:
    with hosting(tmp_path, "--workers", "2") as (program, url):
        assert "2 workers" in program.output
        assert not (tmp_path / ".everwire").exists(), "nothing joins workers that have no hub"
        before = pids(url, 2)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        program.wait_for(rf"worker \[{victim}\] died: SIGKILL; starting another")
        # The dead one's socket is its successor's: what comes meanwhile waits, and is answered.
        after: set[int] = set()
        until(lambda: after.add(int(get(url, "/pid"))) or len(after - {victim}) == 2)  # type: ignore[func-returns-value]
        assert victim not in after
        assert len(after & before) == 1
        # SIGHUP replaces all of them, and no request fails meanwhile.
        program.send_signal(signal.SIGHUP)
        program.wait_for("replacing the workers")
        until(lambda: int(get(url, "/pid")) not in after)
        until(lambda: all(is_gone(pid) for pid in after))
        last = pids(url, 2)
        assert program.stop(signal.SIGTERM) == 0
        assert program.output.count("start\n") == 5
        # All but the one that was killed.
        assert program.output.count("end\n") == 4
        assert all(is_gone(pid) for pid in last)
        assert "Traceback" not in program.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_are_answered_and_websockets_told(tmp_path: Path, number: signal.Signals) -> None:
    with hosting(tmp_path, "--workers", "2") as (program, url), open_socket(url) as ws:
        ws.send("hello")
        assert ws.recv(timeout=20) == "hello"
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(get(url, "/late")))
        asking.start()
        until((tmp_path / "asked").exists)
        program.send_signal(number)
        program.wait_for("Stopping")
        with pytest.raises(Exception, match="1012"):
            ws.recv(timeout=20)
        (tmp_path / "go").touch()
        asking.join()
        assert answers == ["first"]
        assert program.wait() == 0
        assert program.output.count("end\n") == 2


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with hosting(tmp_path, "--workers", "2") as (program, url):
        workers = pids(url, 2)
        failed = threading.Event()

        def ask() -> None:
            with pytest.raises(OSError):
                get(url, "/late")
            failed.set()

        asking = threading.Thread(target=ask)
        asking.start()
        until((tmp_path / "asked").exists)
        program.send_signal(signal.SIGTERM)
        program.wait_for("Stopping")
        assert program.stop(signal.SIGTERM) == -signal.SIGTERM
        assert failed.wait(20)
        until(lambda: all(is_gone(pid) for pid in workers))


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    with hosting(tmp_path, "--workers", "2") as (program, url):
        workers = pids(url, 2)
        program.process.kill()
        program.wait()
        until(lambda: all(is_gone(pid) for pid in workers))


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with hosting(tmp_path, "--workers", "2", "--unix", path) as (program, _):
        assert path.exists()
        assert program.stop() == 0
        assert not path.exists()


def test_workers_that_cannot_start_end_it(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("raise KeyError('on purpose')")
    with everwire("serve", "main:app", "--port", "0", "--workers", "2", cwd=tmp_path) as program:
        assert program.wait() == 1
        assert "everwire: main cannot be imported: KeyError: 'on purpose'" in program.output


def test_a_port_in_use(tmp_path: Path) -> None:
    """SO_REUSEPORT does not hide that another supervisor has the port."""
    with hosting(tmp_path, "--workers", "2") as (_, url):
        port = urlsplit(url).port
        args = ("serve", "main:app", "--workers", "2", "--port", str(port))
        with everwire(*args, cwd=tmp_path) as second:
            assert second.wait() == 1
        assert f"port {port} of 127.0.0.1 is in use" in second.output
        assert "Traceback" not in second.output


def test_a_worker_that_fails_later_is_tried_again(tmp_path: Path) -> None:
    """When a file that it needs is back, it serves again."""
    needs = "open('needed').close()\n" + APP
    (tmp_path / "needed").touch()
    with hosting(tmp_path, "--workers", "2", source=needs) as (program, url):
        victim = min(pids(url, 2))
        (tmp_path / "needed").unlink()
        os.kill(victim, signal.SIGKILL)
        program.wait_for("main cannot be imported")
        program.wait_for(r"died: exit code 1; starting another")
        (tmp_path / "needed").touch()
        assert len(pids(url, 2)) == 2
