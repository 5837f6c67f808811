"""``everwire serve`` as a command: what it prints, what it serves, how it fails and how it ends."""

from __future__ import annotations

import http.client
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from commands import everwire, open_mute, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

if TYPE_CHECKING:
    from conftest import Certificates


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of one server for the tests that leave no trace in it."""
    with serving() as (_, url):
        yield url


def request(
    url: str, method: str, path: str, headers: dict[str, str] | None = None, body: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    netloc = urlsplit(url).netloc
    connection = http.client.HTTPConnection(netloc, timeout=20)
    try:
        connection.request(method, path, body, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def open_socket(url: str, path: str, **options: Any) -> ClientConnection:
    address = "ws" + url.removeprefix("http") + path
    opened: ClientConnection = connect(address, proxy=None, **options)
    return opened


def test_the_page_is_served(page: str) -> None:
    response, body = request(page, "GET", "/")
    assert (response.status, response.reason) == (200, "OK")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert int(response.headers["Content-Length"]) == len(body)
    assert body.startswith(b"<!doctype html>")


def test_the_page_asks_for_nothing_else(page: str) -> None:
    _, body = request(page, "GET", "/")
    # No address outside of this server: only of XML's namespaces and of the icon within.
    parts = re.findall(r'(?:src|href|action)="(?!data:)([^"]*)"', body.decode())
    assert parts == ["page/theme.js", "page/style.css", "page/main.js", "./", "channels"]
    parts = parts[:3]
    texts = {part: request(page, "GET", f"/{part}")[1].decode() for part in parts}
    imports = set(re.findall(r'from "\./(\w+\.js)"', texts["page/main.js"]))
    texts |= {name: request(page, "GET", f"/page/{name}")[1].decode() for name in imports}
    assert len(imports) > 5
    assert [name for name, text in texts.items() if re.search(r"@import|url\(|https?://\w", text)] == []


def test_a_query_does_not_change_the_page(page: str) -> None:
    assert request(page, "GET", "/?a=1")[1] == request(page, "GET", "/")[1]


def test_head_has_the_headers_of_get_and_no_body(page: str) -> None:
    got, _ = request(page, "GET", "/")
    head, body = request(page, "HEAD", "/")
    assert (head.status, body) == (200, b"")

    def lasting(response: http.client.HTTPResponse) -> list[tuple[str, str]]:
        return [(name, value) for name, value in response.getheaders() if name != "Date"]

    assert lasting(head) == lasting(got)


@pytest.mark.parametrize(
    "path",
    [
        *("/favicon.ico", "/index.html", "/echo/", "/page/", "/page/index.html", "/page/nothing.js"),
        *("/%2e%2e/etc/passwd", "/../etc/passwd", "/page/../site.py", "/page/%2e%2e/site.py"),
    ],
)
def test_nothing_else_is_there(page: str, path: str) -> None:
    response, body = request(page, "GET", path)
    assert response.status == 404
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"/echo" in body
    assert path.encode() not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(page: str, method: str) -> None:
    response, _ = request(page, method, "/")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/nothing"])
def test_security_headers(page: str, path: str) -> None:
    headers = request(page, "GET", path)[0].headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_only_scripts_and_styles_of_this_server_may_run(page: str) -> None:
    response, body = request(page, "GET", "/")
    directives = dict(
        directive.split(" ", 1) for directive in response.headers["Content-Security-Policy"].split("; ")
    )
    assert directives["script-src"] == directives["style-src"] == "'self'"
    assert directives["trusted-types"] == "'none'"
    assert not re.search(rb"<style|\s(?:style|on[a-z]+)=\"", body), "inline handlers and styles are blocked"
    assert re.findall(rb"<script(?![^>]*\ssrc=)", body) == [], "inline scripts are blocked"


@pytest.mark.parametrize(
    ("path", "kind"), [("/page/main.js", "text/javascript"), ("/page/style.css", "text/css")]
)
def test_the_parts_of_the_page_have_their_types(page: str, path: str, kind: str) -> None:
    response, body = request(page, "GET", path)
    assert response.status == 200
    assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert body
    assert request(page, "POST", path)[0].status == 405


def test_a_websocket_path_tells_a_browser_to_upgrade(page: str) -> None:
    response, _ = request(page, "GET", "/echo")
    assert response.status == 426
    assert response.headers["Upgrade"].lower() == "websocket"


@pytest.mark.parametrize("path", ["/echo", "/"])
def test_the_echo_returns_what_it_gets(page: str, path: str) -> None:
    with open_socket(page, path) as ws:
        for message in ("", "Grüße 👋", b"", b"\x00\xff" * 1000, "x" * 100_000):
            ws.send(message)
            assert ws.recv(timeout=20) == message


def test_the_echo_takes_the_first_subprotocol_offered(page: str) -> None:
    with open_socket(page, "/echo", subprotocols=["chat.v2", "chat.v1"]) as ws:
        assert ws.subprotocol == "chat.v2"


def test_everyone_in_the_room_sees_every_message(page: str) -> None:
    with open_socket(page, "/room") as one, open_socket(page, "/room") as two:
        # A message comes back only once its sender is in the room, so after these both are.
        one.send("one is here")
        assert one.recv(timeout=20) == "one is here"
        two.send("two is here")
        assert one.recv(timeout=20) == "two is here"
        heard = [two.recv(timeout=20)]
        if heard == ["one is here"]:
            heard = [two.recv(timeout=20)]
        assert heard == ["two is here"]
        one.send(b"\x01\x02")
        assert one.recv(timeout=20) == two.recv(timeout=20) == b"\x01\x02"


def test_a_websocket_elsewhere_is_refused(page: str) -> None:
    with pytest.raises(InvalidStatus) as caught, open_socket(page, "/elsewhere"):
        pass
    assert caught.value.response.status_code == 404


def test_pages_of_other_origins_are_refused_by_default(page: str) -> None:
    with pytest.raises(InvalidStatus) as caught, open_socket(page, "/echo", origin="https://evil.example"):
        pass
    assert caught.value.response.status_code == 403
    with open_socket(page, "/echo", origin=page) as ws:
        ws.send("mine")
        assert ws.recv(timeout=20) == "mine"


def test_origins_can_be_allowed() -> None:
    with serving("--origins", "https://good.example", "--origins", "https://fine.example") as (_, url):
        for origin in ("https://good.example", "https://fine.example", url):
            with open_socket(url, "/echo", origin=origin) as ws:
                ws.send("mine")
                assert ws.recv(timeout=20) == "mine"
        with pytest.raises(InvalidStatus) as caught, open_socket(url, "/echo", origin="https://evil.example"):
            pass
        assert caught.value.response.status_code == 403


def test_any_origin_can_be_allowed() -> None:
    origin = "https://evil.example"
    with serving("--origins", "*") as (_, url), open_socket(url, "/echo", origin=origin) as ws:
        ws.send("any")
        assert ws.recv(timeout=20) == "any"


def test_compression_is_negotiated_unless_turned_off(page: str) -> None:
    with open_socket(page, "/echo") as ws:
        assert ws.response is not None
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
    with serving("--no-compression") as (program, url):
        assert "no compression" in program.output
        with open_socket(url, "/echo") as ws:
            assert ws.response is not None
            assert "Sec-WebSocket-Extensions" not in ws.response.headers


def test_messages_over_the_limit_close_the_connection() -> None:
    with serving("--max-size", "1KiB") as (_, url), open_socket(url, "/echo", max_size=None) as ws:
        ws.send(b"x" * 1024)
        assert ws.recv(timeout=20) == b"x" * 1024
        ws.send(b"x" * 1025)
        with pytest.raises(Exception, match="1009"):
            ws.recv(timeout=20)


def test_no_limit_takes_large_messages() -> None:
    with serving("--max-size", "none") as (_, url), open_socket(url, "/echo", max_size=None) as ws:
        message = bytes(range(256)) * 4096 * 20
        ws.send(message)
        assert ws.recv(timeout=60) == message


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_loop_can_be_chosen(loop: str) -> None:
    with serving("--loop", loop) as (program, url):
        assert f"{loop}, compression" in program.output
        with open_socket(url, "/echo") as ws:
            ws.send("hello")
            assert ws.recv(timeout=20) == "hello"
        assert program.stop(signal.SIGTERM) == 0


def test_tls(certificates: Certificates) -> None:
    with serving("--ssl-cert", certificates.cert_file, "--ssl-key", certificates.key_file) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        connection = http.client.HTTPSConnection(
            urlsplit(url).netloc, timeout=20, context=certificates.client
        )
        connection.request("GET", "/")
        assert connection.getresponse().read().startswith(b"<!doctype html>")
        connection.close()
        with open_socket(url, "/echo", ssl=certificates.client, origin=url) as ws:
            ws.send("secret")
            assert ws.recv(timeout=20) == "secret"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "everwire.sock"
    with serving("--unix", path) as (program, _):
        assert f"Unix socket {path}" in program.output
        with unix_connect(str(path), "ws://localhost/echo") as ws:
            ws.send("near")
            assert ws.recv(timeout=20) == "near"
        assert program.stop() == 0


def test_the_address_is_printed_and_on_loopback() -> None:
    with serving() as (program, url):
        port = urlsplit(url).port
        assert urlsplit(url).hostname == "127.0.0.1"
        assert f"http://127.0.0.1:{port}/" in program.output
        assert f"ws://127.0.0.1:{port}/echo" in program.output
        assert f"ws://127.0.0.1:{port}/room" in program.output


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "{}", ":{}"])
def test_the_address_can_be_one_argument(form: str, unused_tcp_port: int) -> None:
    with everwire("serve", form.format(unused_tcp_port)) as program:
        program.wait_for(rf"http://127\.0\.0\.1:{unused_tcp_port}/\s")


def test_ipv6() -> None:
    with serving("--host", "::1") as (program, url):
        assert url.startswith("http://[::1]:")
        assert request(url, "GET", "/")[0].status == 200
        assert program.stop() == 0


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with everwire("serve", f"127.0.0.1:{port}") as program:
            assert program.wait() == 1
        assert program.output.startswith(f"everwire: port {port} of 127.0.0.1 is in use")
        assert "choose another port" in program.output
        assert len(program.output.splitlines()) == 1


def test_a_host_that_is_not_ours_is_named() -> None:
    # TEST-NET-1 (RFC 5737) is no address of any machine.
    with everwire("serve", "--host", "192.0.2.1", "--port", "0") as program:
        assert program.wait() == 1
    assert "192.0.2.1 is not an address of this machine" in program.output
    assert len(program.output.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_a_signal(number: signal.Signals) -> None:
    with serving() as (program, _):
        assert program.stop(number) == 0
        assert "Stopping." in program.output
        assert "Traceback" not in program.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_everyone_is_told_when_it_ends(number: signal.Signals) -> None:
    with serving() as (program, url), open_socket(url, "/echo") as echo, open_socket(url, "/room") as room:
        for ws in (echo, room):
            ws.send("here")
            assert ws.recv(timeout=20) == "here"
        program.send_signal(number)
        for ws in (echo, room):
            with pytest.raises(Exception, match="1001"):
                ws.recv(timeout=20)
            assert ws.close_code == 1001
        assert program.wait() == 0
        assert "closing 2 connections" in program.output
        assert "Traceback" not in program.output


def test_a_peer_that_does_not_answer_cannot_hold_it_up() -> None:
    with serving() as (program, url), open_mute(url):
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=15) == 0


def test_a_second_interrupt_ends_it_at_once() -> None:
    with serving() as (program, url), open_mute(url):
        program.send_signal(signal.SIGINT)
        program.wait_for("Stopping: closing 1 connection\\.")
        assert program.stop(signal.SIGINT) == -signal.SIGINT
        assert "Traceback" not in program.output


def test_a_unix_socket_in_use_is_named(tmp_path: Path) -> None:
    path = tmp_path / "everwire.sock"
    with serving("--unix", path), everwire("serve", "--unix", path) as second:
        assert second.wait() == 1
        assert second.output.startswith(f"everwire: {path} is in use")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--port", "70000"], "'--port'"),
        (["127.0.0.1:70000"], "70000 is not a port"),
        (["::1"], "write it like [::1]:8080"),
        (["127.0.0.1:http"], "not an address"),
        (["127.0.0.1:80", "--port", "81"], "give the address once"),
        (["--unix", "x.sock", "--port", "81"], "takes the place"),
        (["--max-size", "big"], "'big' is not a size"),
        (["--max-size", "0"], "'0' is not a size"),
        (["--origins", "example.com"], "'example.com' is not an origin"),
        (["--origins", "https://example.com/x"], "not an origin"),
        (["--ssl-key", "key.pem"], "--ssl-key needs --ssl-cert"),
        (["--ssl-cert", "nowhere.pem"], "there is no file nowhere.pem"),
        (["--ssl-cert", __file__], "cannot be used as a certificate"),
        (["--loop", "trio"], "trio"),
    ],
)
def test_wrong_arguments_are_named(args: list[str], problem: str) -> None:
    with everwire("serve", *args, env={"COLUMNS": "200"}) as program:
        assert program.wait() == 2
    assert problem in program.output
    assert "Traceback" not in program.output


def test_a_terminal_gets_a_panel_with_a_link() -> None:
    with serving(terminal=True) as (program, url):
        program.wait_for("Ctrl-C")
        assert "╭" in program.output
        assert f";{url}/\x1b\\" in program.output, "the address is no link"
        assert request(url, "GET", "/")[0].status == 200
        assert program.stop() == 0
