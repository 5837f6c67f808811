"""What ``everwire serve`` has of channels: its own hub, and the page before hubs of others."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cli.test_serve import open_socket, request
from commands import everwire, serving
from websockets.exceptions import InvalidStatus

HUB = """
import everwire

hub = everwire.Hub()
hub.namespace("", history=10)


async def plain(scope, receive, send):
    raise RuntimeError
"""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of one server for the tests that leave no trace in it."""
    with serving() as (_, url):
        yield url


def call(
    url: str, method: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Ask the server API."""
    given = {"Content-Type": "application/json", **(headers or {})}
    response, answer = request(url, "POST", f"/api/{method}", given, json.dumps(body))
    return response.status, json.loads(answer) if response.status == 200 else answer.decode()


def talk(url: str, *commands: dict[str, Any]) -> list[dict[str, Any]]:
    """Send commands in one frame, and return as many answers."""
    with open_socket(url, "/connection/websocket") as ws:
        ws.send("\n".join(json.dumps({"id": i, **command}) for i, command in enumerate(commands, 1)))
        found: list[dict[str, Any]] = []
        while len(found) < len(commands):
            found += [json.loads(line) for line in str(ws.recv(timeout=20)).split("\n")]
        return found


def state(url: str, path: str = "/") -> str:
    """How the page of channels says that the hub is; empty: it is not there."""
    _, body = request(url, "GET", path)
    return body.decode().partition('data-hub="')[2].partition('"')[0]


def test_the_hub_has_channels_of_any_name_with_history_and_presence(site: str) -> None:
    for channel in ("any", "room:1", "deep/er:and:deeper"):
        sub = {"channel": channel}
        talked = talk(
            site,
            {"connect": {}},
            {"subscribe": {**sub, "join_leave": True}},
            {"publish": {**sub, "data": {"n": 1}}},
        )
        assert talked[1]["subscribe"]["recoverable"] is True
        history = talk(site, {"connect": {}}, {"history": {**sub, "limit": 5}}, {"presence": sub})
        assert [each["data"] for each in history[1]["history"]["publications"]] == [{"n": 1}]
        assert "presence" in history[2]
    assert call(site, "publish", {"channel": "any", "data": 2})[1]["result"]["offset"] == 2
    assert state(site, "/channels") == "insecure"


def test_the_paths_of_the_hub_and_its_script(site: str) -> None:
    assert request(site, "GET", "/health")[1] == b"{}"
    assert b"FallbackWebSocket" in request(site, "GET", "/everwire.js")[1]
    assert request(site, "POST", "/emulation")[0].status == 400
    assert request(site, "GET", "/connection/nothing")[0].status == 404


@pytest.mark.parametrize("path", ["/api/info", "/emulation", "/connection/http_stream"])
def test_pages_of_other_origins_are_refused(site: str, path: str) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "application/json"}
    assert request(site, "POST", path, headers, "{}")[0].status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(host, 200) for host in ("localhost:80", "a.localhost", "127.0.0.1:8080", "[::1]:1", "192.0.2.1")],
        *[(host, 403) for host in ("evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example")],
    ],
)
def test_an_insecure_hub_answers_at_names_of_this_machine_only(site: str, host: str, status: int) -> None:
    """A page from elsewhere may have its name lead here, and is of the same origin then (DNS rebinding)."""
    found, said = call(site, "info", {}, {"Host": host, "Origin": f"http://{host}"})
    assert (found, "With --insecure it answers" in said) == (status, status == 403)


def test_its_websockets_do_so_too() -> None:
    for args, status in ((), 403), (("--insecure",), 101):
        with serving(*args) as (_, url):
            port = urlsplit(url).port
            for path in ("/connection/websocket", "/connection/raw/news", "/connection/uni_websocket"):
                sock = socket.create_connection(("127.0.0.1", port))
                try:
                    with open_socket(f"http://evil.example:{port}", path, sock=sock) as ws:
                        assert ws.response is not None
                        assert ws.response.status_code == status
                except InvalidStatus as refused:
                    assert refused.response.status_code == status


def test_where_others_can_reach_it_nobody_comes_without_a_token() -> None:
    with serving("--host", "0.0.0.0") as (program, url):
        url = url.replace("localhost", "127.0.0.1")
        assert "channels are for clients with a token" in program.output
        with pytest.raises(Exception, match="3501"):
            talk(url, {"connect": {}})
        assert call(url, "info", {})[0] == 403
        assert state(url, "/channels") == "closed"


def test_a_hub_that_keeps_its_logs_is_insecure_only_if_told_so(tmp_path: Path) -> None:
    args = ("--engine", f"sqlite:{tmp_path / 'log.db'}")
    with serving(*args) as (program, url):
        assert "channels are for clients with a token" in program.output
        assert state(url, "/channels") == "closed"
    for offset in (1, 2):
        with serving(*args, "--insecure") as (program, url):
            assert call(url, "publish", {"channel": "news", "data": 1})[1]["result"]["offset"] == offset
            assert program.stop() == 0


def test_a_hub_of_ones_own_has_the_page_if_asked(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(HUB)
    args = ("own:hub", "--app-dir", tmp_path)
    with serving(*args, "--page") as (program, url):
        assert "a page that shows its channels" in program.output
        assert state(url) == state(url, "/channels") == "open"
        assert b'<nav aria-label="Pages" hidden>' in request(url, "GET", "/")[1]
        assert request(url, "GET", "/page/channels.js")[0].status == 200
        assert "connect" in talk(url, {"connect": {}})[0]
        assert call(url, "info", {})[0] == 403
    with serving(*args) as (_, url):
        assert request(url, "GET", "/")[0].status == request(url, "GET", "/page/style.css")[0].status == 404


def test_a_configuration_has_the_page_if_it_is_insecure(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("[channel.without_namespace]\nhistory = 10\n")
    for args, there in [((), ""), (("--insecure",), "insecure"), (("--insecure", "--no-page"), "")]:
        with serving("--config", file, *args) as (_, url):
            assert state(url) == there


@pytest.mark.parametrize(
    ("args", "code", "problem"),
    [
        (["own:plain", "--page"], 1, "own:plain: --page is for an everwire.Hub, not for function"),
        (["own:hub", "--insecure"], 2, "Hub(insecure=True)"),
        (["--page"], 2, "--page is for an application"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, args: list[str], code: int, problem: str) -> None:
    (tmp_path / "own.py").write_text(HUB)
    where = ["--app-dir", str(tmp_path)] if args[0].startswith("own") else []
    with everwire("serve", *args, *where, "--port", "0", env={"COLUMNS": "200"}) as program:
        assert program.wait() == code
    assert problem in program.output
    assert "Traceback" not in program.output
