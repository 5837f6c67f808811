"""Tunnels: WebSockets of ASGI applications over plain HTTP requests, on everwire's server and on uvicorn."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from conftest import Run
from live import take_errors, until
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket
from transports.tunnels import SERVERS, Client, browsing, serving, take_apart, tunnels

from everwire.errors import ClientDisconnected
from everwire.transports.tunnel import TunnelMiddleware
from everwire.transports.tunnel.records import BINARY, CLOSE, NEXT, PING, TEXT, Record

# It is all the same to the loop: a few tests elsewhere run on both.
pytestmark = pytest.mark.loops("asyncio")
both_servers = pytest.mark.parametrize("server", SERVERS)


def text(message: str) -> Record:
    return Record(TEXT, message.encode())


def close(code: int, reason: str = "") -> Record:
    return Record(CLOSE, code.to_bytes(2, "big") + reason.encode())


class Site:
    """An application: an echo, except where the path says otherwise. It notes what it is told."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.events: list[Any] = []
        self.sent = 0
        self.left: asyncio.Queue[Any] = asyncio.Queue()
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"plain"})
            return
        self.scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        path = scope["path"]
        if path == "/refuse":
            await send({"type": "websocket.close"})
        elif path == "/deny":
            headers = [(b"x-why", b"tired"), (b"content-length", b"9")]
            await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"I am ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"tea\n"})
        elif path == "/fail":
            raise RuntimeError("broken")
        elif path == "/slow":
            await self.go.wait()
            await send({"type": "websocket.accept"})
        else:
            await self.talk(scope, receive, send)

    async def talk(self, scope: Any, receive: Any, send: Any) -> None:
        chosen = "chat" if "chat" in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": [(b"x-more", b"1")]})
        path = scope["path"]
        try:
            if path == "/flood":
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(1000)})
                    self.sent += 1
            elif path == "/bye":
                await send({"type": "websocket.send", "text": "one"})
                await send({"type": "websocket.close", "code": 3000, "reason": "done"})
            elif path == "/lazy":
                await self.go.wait()
            while (event := await receive())["type"] == "websocket.receive":
                self.events.append(event)
                if path != "/lazy":
                    await send({**event, "type": "websocket.send"})
            self.left.put_nowait(event)
        except ClientDisconnected as exc:
            self.left.put_nowait(exc)


@both_servers
def test_messages_of_both_kinds_come_back(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site()) as http:
            client = Client(http)
            answer = await client.open()
            assert answer["protocol"] == ""
            sent = [text("Grüße 👋🏽"), Record(BINARY, bytes(range(256))), text(""), Record(BINARY, b"")]
            assert await client.send(1, *sent) == 4
            received: list[Record] = []
            while len(received) < 4:
                received += await client.poll(len(received))
            assert received == sent

    run(main)


@both_servers
def test_the_application_sees_a_websocket(run: Run, server: str) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels(server, site) as http:
            client = Client(http, "/a%20b", "x=1&y=%20")
            response = await client.ask(
                "open", protocols=["other", "chat"], headers={"Cookie": "a=b"}, **{"as": "sse"}
            )
            assert response.json()["protocol"] == "chat"
            assert response.headers["x-more"] == "1"
            scope = site.scopes[0]
            assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", "ws", "/a b")
            assert scope["query_string"] == b"x=1&y=%20"
            assert scope["subprotocols"] == ["other", "chat"]
            assert scope["extensions"]["everwire.tunnel"] == {"transport": "sse"}
            assert "method" not in scope
            headers = dict(scope["headers"])
            assert headers[b"cookie"] == b"a=b"
            assert b"content-length" not in headers
            await client.send(1, close(1000))

    run(main)


@both_servers
def test_what_was_not_acknowledged_comes_again(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site()) as http:
            client = Client(http)
            await client.open()
            await client.send(1, text("1"), text("2"), text("3"))
            assert (await client.poll())[:1] == [text("1")]
            for ack in (0, 1, 1, 2):
                expected = [text(str(number)) for number in range(ack + 1, 4)]
                assert await client.poll(ack) == expected
            assert await client.send(4, text("4"), ack=3) == 4
            assert await client.poll(3) == [text("4")]

    run(main)


@both_servers
def test_what_is_sent_twice_arrives_once(run: Run, server: str) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels(server, site) as http:
            client = Client(http)
            await client.open()
            assert await client.send(1, text("1"), text("2")) == 2
            assert await client.send(1, text("1"), text("2"), text("3")) == 3
            assert await client.send(2, text("2")) == 3
            response = await client.ask("send", text("5"), seq=5)
            assert (response.status_code, response.text) == (400, "message 5 comes after 3\n")
        assert [event["text"] for event in site.events] == ["1", "2", "3"]

    run(main)


@both_servers
def test_of_a_cut_request_the_whole_messages_count(run: Run, server: str) -> None:
    async def main() -> None:
        async with serving(server, Site()) as (_, port), browsing(port) as http:
            client = Client(http)
            await client.open()
            body = client.body("send", text("1"), text("2"), seq=1)
            head = f"POST {client.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head + body[:-1])
            assert await client.poll() == [text("1")]
            writer.transport.abort()
            assert await client.send(1, text("1"), text("2")) == 2
            assert await client.poll(1) == [text("2")]

    run(main)


@both_servers
def test_a_poll_is_held_until_there_is_something(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site()) as http:
            client = Client(http)
            await client.open()
            held = asyncio.create_task(client.poll())
            done, _ = await asyncio.wait((held,), timeout=0.05)
            assert not done
            await client.send(1, text("at last"))
            assert await held == [text("at last")]

    run(main)


@both_servers
def test_a_poll_that_takes_long_is_answered_with_nothing(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site(), poll_timeout=0.05) as http:
            client = Client(http)
            await client.open()
            assert await client.poll() == []

    run(main)


@both_servers
@pytest.mark.parametrize("kind", ["long_poll", "http_stream"])
def test_a_second_poll_ends_the_first(run: Run, server: str, kind: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site()) as http:
            client = Client(http)
            await client.open()

            async def follow() -> bytes:
                async with client.stream(kind) as response:
                    return await response.aread()

            first = asyncio.create_task(follow())
            await until(lambda: client.polls == 1)
            if kind == "http_stream":
                await asyncio.sleep(0.05)
            second = asyncio.create_task(client.poll())
            body = await first
            assert take_apart(body) == [Record(NEXT, b"1")]
            await client.send(1, text("x"))
            assert await second == [text("x")]
            stale = await client.ask("poll", poll=1, ack=1)
            assert stale.status_code == 409

    run(main)


@both_servers
def test_a_stream(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site(), poll_timeout=0.1) as http:
            client = Client(http, "/bye")
            await client.open()
            async with client.stream("http_stream") as response:
                assert response.headers["content-type"] == "application/octet-stream"
                assert response.headers["x-accel-buffering"] == "no"
                assert take_apart(await response.aread()) == [
                    Record(NEXT, b"1"),
                    text("one"),
                    close(3000, "done"),
                ]
            quiet = Client(http)
            await quiet.open()
            async with quiet.stream("http_stream") as response:
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if take_apart(body)[-1] == Record(PING, b""):
                        break

    run(main)


@both_servers
def test_server_sent_events(run: Run, server: str) -> None:
    async def main() -> None:
        async with tunnels(server, Site(), poll_timeout=0.1) as http:
            client = Client(http)
            await client.open()
            await client.send(1, text('a\n"b"\u2028'), Record(BINARY, b"\xff\n"), text("\n\n"))
            body = ""
            async with client.stream("sse") as response:
                assert response.headers["content-type"].startswith("text/event-stream")
                async for piece in response.aiter_text():
                    body += piece
                    if "event: p" in body:
                        break
            events = [event.split("\n") for event in body.split("\n\n")[:-1]]
            assert events[0] == ["event: n", "data: 1"]
            kinds = [lines[0].removeprefix("event: ") for lines in events[1:4]]
            values = [lines[1].removeprefix("data: ") for lines in events[1:4]]
            assert kinds == ["t", "b", "t"]
            assert json.loads(values[0]) == 'a\n"b"\u2028'
            assert base64.b64decode(values[1]) == b"\xff\n"
            assert json.loads(values[2]) == "\n\n"

    run(main)


@both_servers
def test_the_client_closes(run: Run, server: str) -> None:
    async def main() -> None:
        site = Site()
        async with serving(server, site) as (middleware, port), browsing(port) as http:
            for record, code, reason in (
                (close(3999, "früh"), 3999, "früh"),
                (Record(CLOSE, b""), 1005, ""),
            ):
                client = Client(http, "/lazy")
                await client.open()
                assert await client.send(1, text("x"), record) == 2
                assert await client.send(1, text("x"), record) == 2  # the answer got lost
                site.go.set()
                event = {"type": "websocket.disconnect", "code": code, "reason": reason}
                assert await site.left.get() == event
                assert len(middleware) == 0
                assert (await client.ask("poll", poll=1)).status_code == 404

    run(main)


@both_servers
def test_the_application_closes(run: Run, server: str) -> None:
    async def main() -> None:
        async with serving(server, Site()) as (middleware, port), browsing(port) as http:
            client = Client(http, "/bye")
            await client.open()
            expected = [text("one"), close(3000, "done")]
            assert await client.poll() == expected
            assert await client.poll() == expected  # the answer got lost
            assert await client.send(1, text("nobody is there")) == 1
            assert len(middleware) == 1
            await client.send(2, ack=2)
            assert len(middleware) == 0

    run(main)


@both_servers
def test_refusals(run: Run, server: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels(server, site, open_timeout=0.1) as http:
            assert (await Client(http, "/refuse").ask("open")).status_code == 403
            denied = await Client(http, "/deny").ask("open")
            assert (denied.status_code, denied.text, denied.headers["x-why"]) == (418, "I am tea\n", "tired")
            assert (await Client(http, "/fail").ask("open")).status_code == 500
            assert (await Client(http, "/slow").ask("open")).status_code == 504
            site.go.set()
        assert ("Exception in ASGI application\n", RuntimeError) in take_errors(caplog)

    run(main)


@both_servers
def test_an_opening_may_be_repeated_by_who_has_the_key(run: Run, server: str) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels(server, site) as http:
            client = Client(http, "/slow")
            first = asyncio.create_task(client.ask("open"))
            await until(lambda: site.scopes)
            again = asyncio.create_task(client.ask("open"))
            site.go.set()
            assert (await first).status_code == (await again).status_code == 200
            assert len(site.scopes) == 1
            thief = Client(http)
            thief.path = client.path
            for op, status in (("open", 409), ("poll", 404), ("send", 404)):
                assert (await thief.ask(op, poll=9)).status_code == status

    run(main)


def test_requests_that_make_no_sense(run: Run) -> None:
    async def main() -> None:
        async with tunnels("everwire", Site()) as http:
            client = Client(http)
            await client.open()

            async def refused(*, path: str = client.path, body: bytes) -> tuple[int, str]:
                response = await http.post(path, content=body)
                return response.status_code, response.text

            for body in (
                b"",
                b"{}\n",
                b"[1]\n",
                b"\xff\n",
                b'{"op":"dance","key":"%b"}\n' % client.key.encode(),
            ):
                status, said = await refused(body=body)
                assert status == 400
                assert said
            assert (await refused(body=bytes(5000)))[0] == 400
            assert (await refused(path="/?tunnel=short", body=client.body("open")))[0] == 400
            short = b'{"op":"open","key":"short"}\n'
            assert (await refused(path=f"/?tunnel={'x' * 16}", body=short))[0] == 400
            assert (await client.ask("open", protocols=["a b"])).status_code == 200  # it is open already
            assert (await Client(http).ask("open", protocols=["a b"])).status_code == 400
            assert (await client.ask("poll", poll=1, ack=7)).status_code == 400
            assert (await client.ask("poll", poll=1, **{"as": "carrier pigeon"})).status_code == 400
            assert (await http.get(client.path)).status_code == 405
            assert (await http.get("/?tunnels=1")).text == "plain"

    run(main)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Record(TEXT, b"\xff"), 1007),
        (Record(BINARY, bytes(101)), 1009),
        (Record(b"x", b""), 1002),
        (close(1005), 1002),
        (Record(CLOSE, b"\x03"), 1002),
    ],
)
def test_messages_that_make_no_sense_close_the_tunnel(run: Run, record: Record, code: int) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels("everwire", site, max_size=100) as http:
            client = Client(http, "/lazy")
            await client.open()
            assert (await client.ask("send", text("good"), record)).status_code == 400
            site.go.set()
            left = await site.left.get()
            assert left["code"] == code
            *_, last = await client.poll()
            assert last.kind == CLOSE
            assert int.from_bytes(last.payload[:2], "big") == code
            assert [event["text"] for event in site.events] == ["good"]

    run(main)


def test_the_application_waits_for_acknowledgements(run: Run) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels("everwire", site, max_backlog=10_000) as http:
            client = Client(http, "/flood")
            await client.open()
            await until(lambda: site.sent == 10)
            received = len(await client.poll())
            assert received == 10
            await asyncio.sleep(0.02)
            assert site.sent == 10
            assert len(await client.poll(received)) >= 1
            await client.send(1, close(1000))
            assert isinstance(await site.left.get(), ClientDisconnected)

    run(main)


def test_the_client_waits_for_the_application(run: Run) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels("everwire", site, max_queue=3, poll_timeout=0.1) as http:
            client = Client(http, "/lazy")
            await client.open()
            messages = [text(str(number)) for number in range(5)]
            assert await client.send(1, *messages) == 3
            site.go.set()
            assert await client.send(4, *messages[3:]) == 5
            await until(lambda: len(site.events) == 5)
            assert [event["text"] for event in site.events] == ["0", "1", "2", "3", "4"]

    run(main)


def test_a_client_that_stays_away_is_gone(run: Run) -> None:
    async def main() -> None:
        site = Site()
        async with tunnels("everwire", site, poll_timeout=0.05, timeout=0.2) as http:
            client = Client(http)
            await client.open()
            for _ in range(6):
                await client.poll()  # each is a sign of life
            assert site.left.empty()
            assert (await site.left.get())["code"] == 1006
            assert (await client.ask("poll", poll=99)).status_code == 404

    run(main)


def test_no_more_tunnels_than_allowed(run: Run) -> None:
    async def main() -> None:
        async with tunnels("everwire", Site(), max_tunnels=2) as http:
            for _ in range(2):
                await Client(http).open()
            response = await Client(http).ask("open")
            assert (response.status_code, response.text) == (503, "Too many tunnels.\n")

    run(main)


def test_pages_of_other_origins(run: Run) -> None:
    async def main() -> None:
        mine = {"Origin": "https://mine.example"}
        async with tunnels("everwire", Site(), origins=["https://mine.example"]) as http:
            client = Client(http)
            refused = await client.ask("open", headers={"Origin": "https://other.example"})
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
            asked = await http.options(client.path, headers=mine)
            assert asked.status_code == 204
            opened = await client.ask("open", headers=mine)
            for response in (asked, opened):
                assert response.headers["access-control-allow-origin"] == "https://mine.example"
                assert response.headers["access-control-allow-credentials"] == "true"
                assert response.headers["vary"] == "Origin"
        async with tunnels("everwire", Site()) as http:
            same = {"Origin": f"http://{http.base_url.netloc.decode()}"}
            assert (await Client(http).ask("open", headers=same)).status_code == 200
            assert (await Client(http).ask("open", headers=mine)).status_code == 403

    run(main)


def test_the_end_of_the_server_is_told_to_both_sides(run: Run) -> None:
    async def main() -> None:
        site = Site()
        async with serving("everwire", site) as (middleware, port), browsing(port) as http:
            client = Client(http)
            await client.open()
            held = asyncio.create_task(client.poll())
            await until(lambda: client.polls)
            await asyncio.sleep(0.02)
            closing = asyncio.create_task(middleware.close())
            assert await held == [close(1012)]
            await closing
            assert (await site.left.get())["code"] == 1012
            assert (await Client(http).ask("open")).status_code == 503

    run(main)


@both_servers
def test_below_the_mount_of_a_framework(run: Run, server: str) -> None:
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(f"{ws.url.path} {ws.path_params['room']}")
        async for message in ws.iter_text():
            await ws.send_text(message)

    inner = Starlette(routes=[WebSocketRoute("/room/{room}", echo)])
    outer = Starlette(
        routes=[Mount("/deep", TunnelMiddleware(inner))], middleware=[Middleware(TunnelMiddleware)]
    )

    async def main() -> None:
        async with tunnels(server, outer, script=None) as http:
            client = Client(http, "/deep/room/7")
            await client.open()
            assert await client.poll() == [text("/deep/room/7 7")]
            await client.send(1, close(1000), ack=1)
            module = await http.get("/deep/everwire.js")
            assert module.status_code == 200

    run(main)


def test_the_module_is_served(run: Run) -> None:
    async def main() -> None:
        async with tunnels("everwire", Site()) as http:
            found = await http.get("/everwire.js")
            assert found.headers["content-type"] == "text/javascript; charset=utf-8"
            assert "export class FallbackWebSocket" in found.text
            again = await http.get("/everwire.js", headers={"If-None-Match": found.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert (await http.head("/everwire.js")).headers["content-length"] == str(len(found.content))
            assert (await http.post("/everwire.js")).status_code == 405

    run(main)


@pytest.mark.parametrize(
    "options",
    [{"max_size": 0}, {"max_tunnels": -1}, {"poll_timeout": 0}, {"poll_timeout": 30, "timeout": 30}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TunnelMiddleware(Site(), **options)
