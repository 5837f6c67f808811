"""Requests to a hub's application: what is where, who may, how much, and what a browser is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import raw
from conftest import Run
from live import HOST
from transports.clients import client
from transports.sites import Site, open_hub, site

import everwire
from everwire.errors import InvalidStatus

pytestmark = pytest.mark.loops("asyncio")

each_server = pytest.mark.parametrize("where", ["everwire", "uvicorn-starlette"])
CONNECT = '{"id":1,"connect":{}}'


def browser(**options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=10, trust_env=False, **options)


@each_server
def test_what_is_not_there_is_said(run: Run, where: str) -> None:
    async def main() -> None:
        async with site(where, open_hub()) as place, browser() as http:
            answer = await http.get(place.url("/web_socket"))
            assert answer.status_code == 404 and "/websocket" in answer.text
            answer = await http.get(place.url("/http_stream"))
            assert answer.status_code == 405 and answer.headers["allow"] == "POST"
            answer = await http.put(place.url("/sse"))
            assert answer.status_code == 405 and answer.headers["allow"] == "GET, POST"
            answer = await http.get(place.url("/websocket"))
            assert answer.status_code == 426
            answer = await http.get(place.url("/health"))
            assert (answer.status_code, answer.text) == (200, "{}")
            answer = await http.get(place.url("/health/nothing"))
            assert answer.status_code == 404
            with pytest.raises(InvalidStatus) as refused:
                await everwire.connect(place.url("/sse", "ws"), proxy=None)
            assert refused.value.response.status == 400
            with pytest.raises(InvalidStatus) as refused:
                await everwire.connect(place.url("/nothing", "ws"), proxy=None)
            assert refused.value.response.status == 404

    run(main)


@each_server
def test_a_hub_without_its_engine_lives_and_is_not_ready(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        assert not hub.health.ready
        async with site(where, hub) as place, browser() as http:
            answer = await http.get(place.url("/health/ready"))
            assert (answer.status_code, answer.json()) == (200, {"ready": True, "problems": {}})
            hub.on_available(False)
            hub.health.set("drain", "clients are being sent away")
            answer = await http.get(place.url("/health/ready"))
            assert answer.status_code == 503 and set(answer.json()["problems"]) == {"engine", "drain"}
            assert (await http.get(place.url("/health"))).status_code == 200
            hub.on_available(True)
            hub.health.clear("drain")
            assert (await http.get(place.url("/health/ready"))).status_code == 200
        assert not hub.health.ready

    run(main)


@each_server
def test_pages_of_other_origins_are_refused(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub(origins=["same", "https://friend.example"])
        async with site(where, hub) as place:
            async with browser() as http:
                await origins_over_http(place, http)
            for path in ("/websocket", "/uni_websocket", "/raw/news"):
                with pytest.raises(InvalidStatus) as refused:
                    await everwire.connect(place.url(path, "ws"), origin="https://evil.example", proxy=None)
                assert refused.value.response.status == 403
                async with everwire.connect(
                    place.url(path, "ws"), origin="https://friend.example", proxy=None
                ):
                    pass

    run(main)


async def origins_over_http(place: Site, http: httpx.AsyncClient) -> None:
    evil, friend = {"origin": "https://evil.example"}, {"origin": "https://friend.example"}
    for method, path in (
        ("GET", "/sse?cf_connect={}"),
        ("POST", "/http_stream"),
        ("POST", "/emulation"),
        ("OPTIONS", "/emulation"),
        ("GET", "/uni_sse"),
        ("GET", "/raw/news"),
    ):
        answer = await http.request(method, place.url(path), headers=evil)
        assert answer.status_code == 403, path
        assert "access-control-allow-origin" not in answer.headers
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer = await http.options(place.url("/emulation"), headers={**friend, **ask})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["vary"] == "origin"
    async with http.stream("POST", place.url("/http_stream"), content=CONNECT, headers=friend) as stream:
        assert stream.headers["access-control-allow-origin"] == "https://friend.example"
    # What cannot be done is readable for an allowed page, too.
    answer = await http.post(place.url("/emulation"), content=b"{}", headers=friend)
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"


def test_where_any_page_may_come_its_cookies_stay_at_home(run: Run) -> None:
    async def main() -> None:
        async with site("uvicorn", open_hub(origins=None)) as place, browser() as http:
            answer = await http.options(place.url("/emulation"), headers={"origin": "https://any.example"})
            assert answer.headers["access-control-allow-origin"] == "https://any.example"
            assert "access-control-allow-credentials" not in answer.headers

    run(main)


def test_without_an_origin_the_same_site_is_the_own_one(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(origins=[f"http://{HOST}:1"])
        async with site("uvicorn", hub) as place, browser() as http:
            url = place.url("/raw/")
            assert (await http.get(url)).status_code == 403
            headers = {"sec-fetch-site": "same-origin", "host": f"{HOST}:1"}
            assert (await http.get(url, headers=headers)).status_code == 404
            headers["sec-fetch-site"] = "cross-site"
            assert (await http.get(url, headers=headers)).status_code == 403

    run(main)


@each_server
def test_bodies_and_messages_have_limits(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub(max_size=1000)
        async with site(where, hub) as place, browser() as http:
            for path in ("/http_stream", "/sse", "/emulation", "/uni_sse", "/uni_http_stream"):
                answer = await http.post(place.url(path), content=b"x" * 1001)
                assert answer.status_code == 413, path
                assert "1000" in answer.text
            async with client("websocket-json", place) as one:
                await one.start()
                await one.send_frame(b" " * 1001)
                assert (await one.end()).code == 1009

    run(main)


def test_a_body_that_does_not_come_is_not_waited_for(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        hub.transports = everwire.hub.TransportOptions(body_timeout=0.05)

        async def slow() -> Any:
            yield b"{"
            await asyncio.sleep(0.3)

        async with site("uvicorn", hub) as place, browser() as http:
            answer = await http.post(place.url("/emulation"), content=slow())
            assert answer.status_code == 408

    run(main)


@each_server
def test_commands_are_for_those_who_know_the_session(run: Run, where: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site(where, hub) as place, client("http_stream-json", place) as one:
            await one.start()
            frame = b'{"id":7,"rpc":{"method":"x"}}'
            assert len(one.session) >= 32
            assert (await one.post(one.session[:-1] + "?", frame)).status_code == 404
            assert (await one.post("", frame)).status_code == 404
            assert (await one.post(one.session, frame, node="another")).status_code == 404
            (session,) = hub.sessions_of("")
            assert (await one.post(session.client, frame)).status_code == 404
            answer = await one.http.post(place.url("/emulation"), content=b"{nonsense")
            assert answer.status_code == 400
            answer = await one.http.post(
                place.url("/emulation"), content=b"\xff", headers={"content-type": "application/octet-stream"}
            )
            assert answer.status_code == 400
            body = json.dumps({"session": one.session, "data": {"id": 7}})
            assert (await one.http.post(place.url("/emulation"), content=body)).status_code == 400
            assert (await one.post(one.session, frame)).status_code == 204
            reply = await one.reply()
            assert reply.id == 7 and reply.error is not None
            async with client("websocket-json", place) as two:
                # Its session has a secret of its own, or none; no other request can speak for it.
                connected, *_ = await two.start()
                assert (await one.post(connected.connect.session, frame)).status_code == 404
            await one.cut()

    run(main)


def test_a_stream_needs_its_first_commands(run: Run) -> None:
    async def main() -> None:
        async with site("uvicorn", open_hub()) as place, browser() as http:
            assert (await http.get(place.url("/sse"))).status_code == 400
            assert (await http.post(place.url("/http_stream"))).status_code == 400
            assert (await http.post(place.url("/uni_http_stream"), content="{")).status_code == 400
            assert (await http.get(place.url("/uni_sse?cf_connect=[]"))).status_code == 400

    run(main)


@pytest.mark.parametrize("frame", [b"text where binary is agreed", "text"])
def test_messages_are_of_the_agreed_kind(run: Run, frame: bytes | str) -> None:
    async def main() -> None:
        kind = "websocket-protobuf" if isinstance(frame, str) else "websocket-json"
        for where in ("everwire", "uvicorn"):
            async with site(where, open_hub()) as place, client(kind, place) as one:
                await one.start()
                await one.ws.send(frame)
                assert (await one.end()).code == 3501

    run(main)


@each_server
def test_formats_are_chosen_as_clients_do(run: Run, where: str) -> None:
    async def main() -> None:
        async with site(where, open_hub()) as place:
            for query, protocols, binary, agreed in (
                ("", None, False, None),
                ("", ["centrifuge-json"], False, "centrifuge-json"),
                ("", ["other", "centrifuge-protobuf"], True, "centrifuge-protobuf"),
                ("?format=protobuf", None, True, None),
                ("?cf_protocol=protobuf&cf_protocol_version=v2", None, True, None),
            ):
                url = place.url("/websocket" + query, "ws")
                async with everwire.connect(url, subprotocols=protocols, proxy=None) as ws:
                    assert ws.subprotocol == agreed
                    await ws.send(b"\x04\x08\x01\x22\x00" if binary else CONNECT)
                    assert isinstance(await ws.recv(), bytes) is binary

    run(main)


def test_pings_can_be_those_of_websocket(run: Run) -> None:
    async def main() -> None:
        async with site("everwire", open_hub(ping_interval=0.1, pong_timeout=0.05)) as place:
            url = place.url("/websocket?cf_ws_frame_ping_pong=true", "ws")
            async with everwire.connect(url, proxy=None) as ws:
                await ws.send(CONNECT)
                assert "ping" not in json.loads(await ws.recv())["connect"]
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await ws.recv()
                assert ws.is_open

    run(main)


@each_server
def test_tokens_are_not_logged(run: Run, where: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        hub = open_hub()

        @hub.on_connect
        async def connect(ctx: Any) -> None:
            assert ctx.token == "s3cret" or "s3cret" in ctx.origin.query

        command = '{"id":1,"connect":{"token":"s3cret"}}'
        async with site(where, hub, access_log=True) as place, browser() as http:
            async with http.stream("GET", place.url("/sse"), params={"cf_connect": command, "a": "b"}):
                pass
            query = "?token=s3cret&subscription_token=s3cret&since=0"
            async with http.stream("GET", place.url(f"/raw/news{query}")) as response:
                assert response.status_code in (200, 403)
            async with everwire.connect(place.url(f"/raw/news{query}", "ws"), proxy=None):
                pass
            connect_request = str(httpx.QueryParams({"cf_connect": '{"token":"s3cret"}'}))
            async with everwire.connect(place.url(f"/uni_websocket?{connect_request}", "ws"), proxy=None):
                pass

    with caplog.at_level("INFO"):
        run(main)
    ours = [record for record in caplog.records if record.name.startswith(("uvicorn", "everwire"))]
    logged = "\n".join(record.getMessage() for record in ours)
    assert "/raw/news" in logged and "a=b" in logged and "since=0" in logged
    assert "s3cret" not in logged


@pytest.mark.parametrize("where", ["everwire", "everwire-fastapi"])
def test_an_empty_list_of_subprotocols_is_none(run: Run, where: str) -> None:
    async def main() -> None:
        async with site(where, open_hub()) as place:
            reader, writer = await asyncio.open_connection(HOST, place.port)
            fields = {**raw.REQUEST, "Sec-WebSocket-Protocol": ""}
            writer.write(raw.head(f"GET {place.prefix}/websocket HTTP/1.1", fields.items()))
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in answer and b"sec-websocket-protocol" not in answer.lower()
            writer.write(raw.frame(raw.TEXT, CONNECT.encode(), key=b"abcd"))
            await reader.readuntil(b'"connect"')
            writer.close()
            await writer.wait_closed()

    run(main)
