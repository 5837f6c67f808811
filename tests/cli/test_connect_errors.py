"""What ``everwire connect`` says when it cannot connect: the problem, and what to do about it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import everwire
from conftest import Run
from proxies import HTTPProxy
from raw import Listener
from typer.testing import CliRunner

from everwire.cli.app import app
from everwire.cli.explain import Problem, explain
from everwire.websocket.uri import parse_uri

if TYPE_CHECKING:
    from conftest import Certificates


def attempt(url: str, *args: str | Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code of an attempt that is expected to fail, and what it said."""
    with everwire("connect", url, "-x", "hello", *args, env={"COLUMNS": "250", **(env or {})}) as program:
        code = program.wait()
    assert "Traceback" not in program.output
    return code, program.output


@contextlib.contextmanager
def answering(answer: bytes, *, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that says this to the first request, or to the first bytes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(20)
                    if context is not None:
                        connection = context.wrap_socket(connection, server_side=True)
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def response(status: str, body: str = "", content_type: str = "text/plain", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}{extra}Connection: close\r\n\r\n{body}".encode()


def test_a_name_that_does_not_exist() -> None:
    code, said = attempt("ws://nowhere.invalid/")
    assert code == 1
    assert "the name nowhere.invalid was not found" in said
    assert "check the spelling" in said


def test_nobody_listens(unused_tcp_port: int) -> None:
    code, said = attempt(f":{unused_tcp_port}")
    assert code == 1
    assert f"localhost port {unused_tcp_port} refused the connection" in said
    assert "is the server running" in said


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("401 Unauthorized", "try --user NAME"),
        ("403 Forbidden", "check --origin"),
        ("404 Not Found", "check the URL"),
        ("426 Upgrade Required", "another protocol"),
        ("503 Service Unavailable", "busy or restarting"),
    ],
)
def test_a_refusal_is_shown_with_its_body(status: str, remedy: str) -> None:
    answer = response(status, "because\x1b[2J\nof this", extra='WWW-Authenticate: Basic realm="x"\r\n')
    with answering(answer) as port:
        code, said = attempt(f":{port}")
    assert code == 1
    assert f"the server refused: {status}\n" in said
    assert remedy in said
    assert "| because\\x1b[2J\neverwire: | of this\n" in said
    assert ('(it asks for Basic realm="x")' in said) == status.startswith("401")


def test_of_a_page_the_text_is_shown_and_not_much() -> None:
    page = "<html><head><title>t</title></head><style>p{}</style><p>Sorry,\n<b>no</b></p>" + "x" * 5000
    with answering(response("500 Oops", page, "text/html; charset=utf-8")) as port:
        _, said = attempt(f":{port}")
    assert "| Sorry,\neverwire: | noxxx" in said
    assert "<" not in said
    assert "p{}" not in said
    assert len(said) < 1200


def test_a_body_that_is_no_text_is_left_out() -> None:
    with answering(response("500 Oops", "\x00\x01\x02", "image/png")) as port:
        _, said = attempt(f":{port}")
    assert "|" not in said


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code, said = attempt(f":{listener.getsockname()[1]}", "--timeout", "0.1")
    assert code == 1
    assert "did not answer within 0.1 seconds" in said
    assert "--timeout" in said


def test_no_websocket_server() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        _, said = attempt(f":{port}")
    assert "closed the connection before it answered" in said
    assert "may not be a WebSocket server" in said
    with answering(b"hello\r\n\r\n") as port:
        _, said = attempt(f":{port}")
    assert "the answer opens no WebSocket" in said
    assert "Something else may listen" in said
    with answering(response("200 OK", "hello")) as port:
        _, said = attempt(f":{port}")
    assert "it answered like a web page" in said


def test_a_wrong_accept() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    with answering(answer + b"Sec-WebSocket-Accept: x\r\n\r\n") as port:
        _, said = attempt(f":{port}")
    assert "the answer opens no WebSocket" in said
    assert "Sec-WebSocket-Accept" in said


def test_tls_where_there_is_none() -> None:
    with answering(response("400 Bad Request")) as port:
        _, said = attempt(f"wss://127.0.0.1:{port}/a")
    assert f"127.0.0.1 port {port} does not answer in TLS" in said
    assert f"connect to ws://127.0.0.1:{port}/a" in said


def test_no_tls_where_there_is(certificates: Certificates) -> None:
    with answering(b"", context=certificates.server) as port:
        _, said = attempt(f"ws://127.0.0.1:{port}/a")
    assert f"if it speaks TLS, connect to wss://127.0.0.1:{port}/a" in said


def test_a_certificate_of_an_unknown_authority(certificates: Certificates) -> None:
    with answering(b"", context=certificates.server) as port:
        code, said = attempt(f"wss://localhost:{port}/")
    assert code == 1
    assert "the certificate of localhost is not valid" in said
    assert "--cacert FILE" in said
    assert "--insecure" in said


def test_trust_by_option(certificates: Certificates) -> None:
    with answering(response("404 Not Found"), context=certificates.server) as port:
        assert "404" in attempt(f"wss://localhost:{port}/", "--cacert", certificates.ca_file)[1]
    with answering(response("404 Not Found"), context=certificates.server) as port:
        assert "404" in attempt(f"wss://localhost:{port}/", "--insecure")[1]


def test_a_certificate_that_has_expired(certificates: Certificates) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificates.authority.issue_cert("localhost", not_after=past).configure_cert(context)
    with answering(b"", context=context) as port:
        _, said = attempt(f"wss://localhost:{port}/", "--cacert", certificates.ca_file)
    assert "certificate has expired" in said
    assert "has to be renewed" in said


def test_a_certificate_of_another_name(certificates: Certificates) -> None:
    with answering(b"", context=certificates.new_server("other.example")) as port:
        _, said = attempt(f"wss://localhost:{port}/", "--cacert", certificates.ca_file)
    assert "Hostname mismatch" in said
    assert "connect to a name that the certificate has" in said


def test_a_server_that_wants_a_certificate(certificates: Certificates, tmp_path: Path) -> None:
    context = certificates.new_server()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    mine = tmp_path / "mine.pem"
    certificates.authority.issue_cert("me").private_key_and_cert_chain_pem.write_to_path(str(mine))
    trust = ("--cacert", certificates.ca_file)
    with answering(b"", context=context) as port:
        _, said = attempt(f"wss://localhost:{port}/", *trust)
    assert "--cert FILE --key FILE" in said
    with answering(response("404 Not Found"), context=context) as port:
        assert "404" in attempt(f"wss://localhost:{port}/", *trust, "--cert", mine)[1]


def test_a_redirect_out_of_tls(certificates: Certificates) -> None:
    answer = response("302 Found", extra="Location: ws://localhost/\r\n")
    with answering(answer, context=certificates.server) as port:
        _, said = attempt(f"wss://localhost:{port}/", "--cacert", certificates.ca_file)
    assert "would send in the clear" in said


@pytest.mark.loops("asyncio")
def test_a_subprotocol_that_was_not_offered(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener:
            failed = asyncio.create_task(asyncio.to_thread(attempt, listener.uri, "-s", "chat.v2"))
            peer = await listener.accept()
            await peer.answer(Sec_WebSocket_Protocol="chat.v1")
            code, said = await failed
            assert code == 1
            assert "chat.v1" in said
            assert "--subprotocol" in said

    run(main)


@pytest.mark.loops("asyncio")
def test_proxies(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        async with HTTPProxy(auth="ann:secret") as proxy:
            args = ("--proxy", f"http://ann:wrong@127.0.0.1:{proxy.port}")
            code, said = await asyncio.to_thread(attempt, "ws://example.com/", *args)
            assert code == 1
            assert "407" in said
            assert "USER:PASSWORD" in said
            assert "wrong" not in said
        refused = f"http://ann:secret@127.0.0.1:{unused_tcp_port}"
        _, said = await asyncio.to_thread(attempt, "ws://example.com/", "--proxy", refused)
        assert "cannot connect to the proxy" in said
        assert "--no-proxy" in said
        assert "secret" not in said

    run(main)


def test_the_kind_of_an_error_is_in_its_json(unused_tcp_port: int) -> None:
    _, said = attempt(f":{unused_tcp_port}", "--json")
    assert '"event": "error"' in said
    assert '"kind": "refused"' in said


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["ftp://x"], "it must begin with ws://"),
        (["ws://x/#y"], "fragment"),
        ([":99999"], "port"),
        (["x", "-H", "nothing"], "'nothing' begins no header"),
        (["x", "-H", "A B: c"], "begins no header"),
        (["x", "-H", "Upgrade: x"], "Upgrade"),
        (["x", "-s", "a b"], "a b"),
        (["x", "-b", "nothing"], "begins no cookie"),
        (["x", "-u", "a:b"], "EVERWIRE_PASSWORD"),
        (["x", "--proxy", "ftp://p"], "is not the URI of a proxy"),
        (["x", "--proxy", "http://p", "--no-proxy"], "exclude each other"),
        (["ws://x", "--insecure"], "connect to wss://"),
        (["wss://x", "--key", "k.pem"], "--key needs --cert"),
        (["wss://x", "--cacert", "none.pem"], "there is no file none.pem"),
        (["wss://x", "--cacert", __file__], "has no certificates"),
        (["wss://x", "--cert", __file__], "are no certificate"),
        (["x", "--max-size", "big"], "'big' is not a size"),
        (["x", "--timeout", "0"], "--timeout"),
        (["x", "--count", "0"], "--count"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage(args: list[str], problem: str) -> None:
    result = CliRunner().invoke(app, ["connect", *args], env={"COLUMNS": "250"})
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize(
    "args",
    [["x", "-H", "Authorization:\x01 secret"], ["ws://ann:secret@x:99999/"], ["x", "-b", "a=secret;"]],
)
def test_a_secret_is_not_shown(args: list[str]) -> None:
    result = CliRunner().invoke(app, ["connect", *args])
    assert result.exit_code == 2
    assert "secret" not in result.output


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(101, "Network is unreachable"), "unreachable"),
        (OSError(113, "No route to host"), "unreachable"),
        (OSError(104, "Connection reset by peer"), "lost"),
        (OSError(24, "Too many open files"), "network"),
        (RuntimeError("a\x1b"), "error"),
    ],
)
def test_what_a_test_cannot_bring_about(error: Exception, kind: str) -> None:
    problem = explain(error, parse_uri("ws://example.com/"))
    assert isinstance(problem, Problem)
    assert problem.kind == kind
    assert "\x1b" not in problem.message
