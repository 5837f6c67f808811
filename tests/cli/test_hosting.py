"""``everwire serve main:app``: what it prints and takes, how it fails and ends."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asgi.programs import APP, get, hosting, open_socket
from commands import Program, everwire, open_mute
from websockets.exceptions import InvalidStatus

if TYPE_CHECKING:
    from conftest import Certificates


def test_an_application_from_its_start_to_its_end(tmp_path: Path) -> None:
    with hosting(tmp_path) as (program, url), open_socket(url) as ws:
        assert f"serves main:app\n  {url}/  main:app\n  ws{url[4:]}/  its WebSockets\n" in program.output
        ws.send("hello")
        assert ws.recv(timeout=20) == "hello"
        assert get(url) == "first"
        program.wait_for(r'INFO: +127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK')
        with pytest.raises(InvalidStatus) as caught, open_socket(url, origin="https://evil.example"):
            pass
        assert caught.value.response.status_code == 403
        program.wait_for("WARNING: .*https://evil.example.*")
        program.send_signal(signal.SIGTERM)
        with pytest.raises(Exception, match="1012"):
            ws.recv(timeout=20)
        assert program.wait() == 0
        assert program.output.endswith("Stopping.\nend\n")


def test_a_request_in_flight_is_answered(tmp_path: Path) -> None:
    with hosting(tmp_path, "--no-access-log", "--loop", "asyncio") as (program, url):
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(get(url, "/late")))
        asking.start()
        while not (tmp_path / "asked").exists():
            threading.Event().wait(0.01)
        program.send_signal(signal.SIGINT)
        program.wait_for("Stopping")
        (tmp_path / "go").touch()
        asking.join()
        assert answers == ["first"]
        assert program.wait() == 0
        assert '"GET' not in program.output


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with hosting(tmp_path) as (program, url), open_mute(url):
        program.send_signal(signal.SIGTERM)
        program.wait_for("Stopping")
        assert program.stop(signal.SIGTERM) == -signal.SIGTERM
        assert "Traceback" not in program.output


def test_the_end_has_a_deadline(tmp_path: Path) -> None:
    with hosting(tmp_path, "--timeout-graceful-shutdown", "0.2") as (program, url), open_mute(url):
        assert program.stop(signal.SIGTERM) == 0
        assert "end\n" in program.output


def test_hubs_that_name_no_engine_have_the_one_of_the_command(tmp_path: Path) -> None:
    source = "import everwire\n\napp = everwire.Hub(insecure=True)\n"
    with hosting(tmp_path, "--engine", "sqlite:log.db", source=source) as (program, _):
        assert (tmp_path / "log.db").exists()
        assert program.stop(signal.SIGTERM) == 0
    with everwire("serve", "main:app", "--engine", "nowhere:", cwd=tmp_path) as program:
        program.wait_for("there is no engine")
        assert program.wait() == 2


def test_tls_origins_and_a_proxy(tmp_path: Path, certificates: Certificates) -> None:
    files = ("--ssl-cert", certificates.cert_file, "--ssl-key", certificates.key_file)
    args = ("--origins", "https://good.example", "--forwarded-allow-ips", "127.0.0.1", "--root-path", "/api")
    with hosting(tmp_path, *files, *args) as (program, url):
        assert get(url, "/scheme", context=certificates.client) == "first", "the root path comes first"
        with open_socket(url, ssl=certificates.client, origin="https://good.example") as ws:
            ws.send("secret")
            assert ws.recv(timeout=20) == "secret"
        program.wait_for('"GET /api/scheme HTTP/1.1" 200')


def test_an_inherited_socket(tmp_path: Path) -> None:
    """As from systemd."""
    (tmp_path / "main.py").write_text(APP)
    program = (
        "import os, socket, sys\n"
        "sock = socket.create_server(('127.0.0.1', 0))\n"
        "os.set_inheritable(sock.fileno(), True)\n"
        "args = [sys.executable, '-m', 'everwire.cli', 'serve', 'main:app', '--fd', str(sock.fileno())]\n"
        "os.execv(sys.executable, args)\n"
    )
    with Program([sys.executable, "-c", program], cwd=tmp_path) as running:
        url = running.wait_for(r"(http://127\.0\.0\.1:\d+)/ ")[1]
        assert get(url) == "first"
        assert running.stop() == 0


def test_a_factory_in_another_directory(tmp_path: Path) -> None:
    (tmp_path / "made.py").write_text(APP + "\nclass Site:\n    def make():\n        return app\n")
    args = ("serve", "made:Site.make", "--factory", "--app-dir", tmp_path, "--port", "0")
    with everwire(*args, "--lifespan", "off") as program:
        url = program.wait_for(r"(http://127\.0\.0\.1:\d+)/ ")[1]
        assert get(url) == "first"
        assert program.stop() == 0
        assert "start\n" not in program.output


def test_a_terminal_gets_a_panel(tmp_path: Path) -> None:
    with hosting(tmp_path, terminal=True) as (program, url):
        program.wait_for("Press")
        assert "serves main:app" in program.output
        assert f";{url}/\x1b\\" in program.output, "the address is no link"
        assert program.stop() == 0


SOURCES = {
    "plain": "application = 5\n",
    "broken": "import json\n\ndef fail():\n    raise KeyError('on purpose')\n\nfail()\n",
    "lonely": "import no_such_package\n",
    "failing": "async def app(scope, receive, send):\n    await receive()\n"
    "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n",
}


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        ("plian:app", "there is no module 'plian', in {} or installed; did you mean 'plain'?"),
        ("plain.sub:app", "there is no module 'plain.sub': 'plain' is no package"),
        ("plain.py:app", "is no package; write plain"),
        ("plain:aplication", "module 'plain' has no attribute 'aplication'; did you mean 'application'?"),
        ("plain:application", "plain:application is not an ASGI application: it is of type int"),
        ("broken:app", "broken cannot be imported: KeyError: 'on purpose'"),
        ("lonely:app", "lonely cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("failing:app", "the application's startup failed: no database"),
    ],
)
def test_what_cannot_be_served_is_named(tmp_path: Path, app: str, problem: str) -> None:
    for name, source in SOURCES.items():
        (tmp_path / f"{name}.py").write_text(source)
    with everwire("serve", app, "--port", "0", cwd=tmp_path) as program:
        assert program.wait() == 1
    *trace, last = program.output.splitlines()
    assert last.startswith("everwire: ")
    assert problem.format(tmp_path) in last
    if app in ("broken:app", "lonely:app"):
        # The traceback is that of the application, without what is ours.
        assert trace[0] == "Traceback (most recent call last):"
        assert trace[1].startswith(f'  File "{tmp_path}')
    else:
        assert trace == []


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--workers", "2"], "--workers is for an application: everwire serve main:app --workers"),
        (["8080", "--reload"], "--reload is for an application"),
        (["main:app", "--reload", "--workers", "2"], "--reload runs one process"),
        (["main:app", "--reload-dir", "."], "--reload-dir is for --reload"),
        (["main:app", "--fd", "3", "--port", "1"], "--fd takes the place"),
        (["main:app", "--fd", "99"], "file descriptor 99 is no socket"),
        (["main:app", "--lifespan", "maybe"], "maybe"),
        (["main:app", "--unix", "x.sock", "--port", "1"], "takes the place"),
    ],
)
def test_wrong_arguments_are_named(args: list[str], problem: str) -> None:
    with everwire("serve", *args, env={"COLUMNS": "200"}) as program:
        assert program.wait() == 2
    assert problem in program.output
    assert "Traceback" not in program.output


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    for module, args, extra in (("uvicorn", (), "asgi"), ("watchfiles", ("--reload",), "reload")):
        program = (
            "import importlib.util as util, sys\n"
            "found = util.find_spec\n"
            f"util.find_spec = lambda name, *rest: None if name == {module!r} else found(name, *rest)\n"
            "from everwire.cli import main\n"
            f"sys.argv = ['everwire', 'serve', 'main:app', *{args!r}]\n"
            "main()\n"
        )
        with Program([sys.executable, "-c", program], cwd=tmp_path) as running:
            assert running.wait() == 1
        assert (
            running.output == f'everwire: this needs {module}; install it: pip install "everwire[{extra}]"\n'
        )


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with everwire("serve", "main:app", "--port", str(port), cwd=tmp_path) as program:
            assert program.wait() == 1
    assert program.output.startswith(f"everwire: port {port} of 127.0.0.1 is in use")
    assert len(program.output.splitlines()) == 1, "the application did not start"
