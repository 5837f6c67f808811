"""Parts of the NATS engine: names, what is read from the wire, limits, and what is removed when."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from engines.servers import NatsServer
from everwire.channels.engine import LogOptions
from everwire.engines.contract import Recorder, publication, values
from everwire.engines.nats import NatsEngine
from everwire.engines.nats.link import Link, MessageReader, header_block
from everwire.engines.nats.names import Names, from_token, token
from everwire.errors import ConfigError, EngineError
from everwire.wire.messages import ClientInfo, Publication

pytestmark = pytest.mark.loops("asyncio")

LOG = LogOptions(size=5000, ttl=60, meta_ttl=600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@contextlib.asynccontextmanager
async def running(server: NatsServer, **options: Any) -> AsyncIterator[tuple[NatsEngine, Recorder]]:
    """An engine that runs, with a prefix of its own unless one is given."""
    options.setdefault("prefix", f"t{secrets.token_hex(4)}")
    engine, events = NatsEngine(server.url, **options), Recorder()
    await engine.start(events, node=secrets.token_hex(4))
    try:
        yield engine, events
    finally:
        await engine.close()


NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=255)


@given(NAMES, NAMES)
def test_a_token_stands_for_one_name(one: str, two: str) -> None:
    text = token(one)
    assert text
    assert not set(text) & set(" .*>\r\n\t\0")
    assert from_token(text) == one
    assert (text == token(two)) == (one == two)


def test_names_that_are_none() -> None:
    for name in ("x" * 2000, "\ud800"):
        with pytest.raises(EngineError, match="the name"):
            token(name)
    with pytest.raises(ConfigError, match="prefix"):
        Names("a b")
    assert Names("a.b").stream("c.d/ü") == "a=2Eb_log_c=2Ed=2F=C3=BC"


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=8),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_messages_are_read_however_they_are_cut(
    run: Run, messages: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    async def main() -> None:
        link = Link(lambda: None, lambda: None)
        got: list[tuple[bytes, bytes, bytes]] = []
        number = link.subscribe_to("a.*", lambda *message: got.append(message))
        headers = header_block({"A": "b"})
        wire = b""
        for data, with_headers in messages:
            if with_headers:
                head = b"HMSG a.b %d r %d %d" % (number, len(headers), len(headers) + len(data))
                wire += head + b"\r\n" + headers + data + b"\r\n"
            else:
                wire += b"MSG a.b %d %d\r\n%b\r\n+OK\r\n" % (number, len(data), data)
        reader = MessageReader(link)
        start = 0
        for cut in (*sorted(cut for cut in cuts if cut < len(wire)), len(wire)):
            await reader.parse(wire[start:cut])
            start = cut
        assert got == [(b"a.b", headers if flag else b"", data) for data, flag in messages]

    run(main)


@pytest.mark.parametrize(
    "wire",
    [
        b"MSG a\r\n",
        b"MSG a x 1\r\nb\r\n",
        b"MSG a 1 -5\r\n",
        b"MSG a 1 99999999999\r\n",
        b"HMSG a 1 9 3\r\n",
        b"x" * ((1 << 20) + 1),
        b"\xff\xfe\r\n",
    ],
    ids=lambda wire: repr(wire[:16]),
)
def test_what_no_server_says_ends_the_connection(run: Run, wire: bytes) -> None:
    async def main() -> None:
        link = Link(lambda: None, lambda: None)
        with pytest.raises(ProtocolError):
            await MessageReader(link).parse(wire)

    run(main)


def test_long_histories_are_read_in_pages(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server) as (engine, _):
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(n), log=LOG) for n in range(2500))
            )
            offsets = sorted(each.position.offset for each in outcomes)
            page = await engine.history("a", log=LOG)
            assert [each.offset for each in page.publications] == offsets
            page = await engine.history("a", log=LOG, reverse=True, limit=1500)
            assert [each.offset for each in page.publications] == offsets[:-1501:-1]
            since = outcomes[0].position._replace(offset=offsets[99])
            page = await engine.history("a", log=LOG, since=since, limit=2000)
            assert (page.complete, [each.offset for each in page.publications]) == (True, offsets[100:2100])

    run(main)


async def stored(engine: NatsEngine, prefix: str) -> list[str]:
    """The subjects of a hub's stream, one for each message."""
    assert engine._parts is not None
    info = await engine._parts.requests.api(f"STREAM.INFO.{prefix}_log", {"subjects_filter": ">"})
    return [name for name, count in (info["state"].get("subjects") or {}).items() for _ in range(count)]


def test_what_has_expired_is_removed_and_its_position_stays(run: Run, server: NatsServer) -> None:
    log = LogOptions(size=10, ttl=1, meta_ttl=600)

    async def by_its_publisher() -> None:
        async with running(server, prefix="p1") as (engine, events):
            await engine.subscribe("a")
            for number in (1, 2, 3):
                last = await engine.publish("a", publication(number), log=log)
            assert len(await stored(engine, "p1")) == 3
            async with asyncio.timeout(10):
                while len(await stored(engine, "p1")) > 1:
                    await asyncio.sleep(0.1)
            assert (await engine.history("a", log=log)).top == last.position
            await engine.publish("a", publication(4), log=log)
            await events.until(lambda: len(events.publications) == 4)
            assert events.publications[-1].previous == last.position.offset

    async def by_a_reader() -> None:
        async with running(server, prefix="p2") as (engine, _):
            for number in (1, 2, 3):
                last = await engine.publish("a", publication(number), log=log)
        async with running(server, prefix="p2") as (engine, _):
            async with asyncio.timeout(10):
                while len(await stored(engine, "p2")) > 1:
                    await asyncio.sleep(0.1)
                    page = await engine.history("a", log=log)
                    assert page.top == last.position
            assert (await engine.history("a", log=log, since=last.position)).complete

    async def while_more_comes() -> None:
        async with running(server, prefix="p3") as (engine, _):
            first = await engine.publish("a", publication(0), log=log)
            async with asyncio.timeout(10):
                while any(each.offset == first.position.offset for each in await raw(engine)):
                    await engine.publish("a", publication(1), log=log)
                    await asyncio.sleep(0.3)
            assert len(await stored(engine, "p3")) > 1
            assert not (await engine.history("a", log=log, since=first.position)).complete

    async def raw(engine: NatsEngine) -> list[Publication]:
        """What is stored, expired or not."""
        return (await engine.history("a", log=LogOptions(size=10, ttl=1000, meta_ttl=600))).publications

    async def main() -> None:
        await asyncio.gather(by_its_publisher(), by_a_reader(), while_more_comes())

    run(main, timeout=30)


def test_limits_follow_the_options(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server) as (engine, _):
            for number in range(6):
                await engine.publish("a", publication(number), log=LogOptions(size=10, ttl=60, meta_ttl=600))
            small = LogOptions(size=2, ttl=60, meta_ttl=600)
            assert values((await engine.history("a", log=small)).publications) == [4, 5]
            await engine.publish("a", publication(6), log=small)
            large = LogOptions(size=10, ttl=60, meta_ttl=600)
            page = await engine.history("a", log=large, since=None)
            assert values(page.publications)[-2:] == [5, 6]
            assert len(page.publications) <= 3

    run(main)


def test_what_is_too_much_is_refused_by_name(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server, max_waiting=10) as (engine, _):
            await engine.publish("a", publication(0), log=LOG)
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(n), log=LOG) for n in range(30)), return_exceptions=True
            )
            failed = [each for each in outcomes if isinstance(each, BaseException)]
            assert len(failed) == 20
            assert all(isinstance(each, EngineError) and "max_waiting" in str(each) for each in failed)
            with pytest.raises(EngineError, match="takes 1048576 bytes a message"):
                await engine.publish("a", publication("x" * (1 << 20)), log=LOG)
            assert len((await engine.history("a", log=LOG)).publications) == 11
        async with running(server, max_size=10_000) as (engine, _):
            with pytest.raises(EngineError, match="max_size larger"):
                for _ in range(20):
                    await engine.publish("a", publication("x" * 1000), log=LOG)
            assert (await engine.history("a", log=LOG, limit=3)).complete

    run(main)


def test_leases_are_gone_from_the_server_too(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server, prefix="leases") as (engine, _):
            await engine.add_presence("a", ClientInfo(client="1"), ttl=1)
            await engine.add_presence("a", ClientInfo(client="2"), ttl=60)
            await engine.remove_presence("a", "2")
            assert engine._parts is not None
            async with asyncio.timeout(10):
                while True:
                    info = await engine._parts.requests.api("STREAM.INFO.KV_leases_presence")
                    if not info["state"]["messages"]:
                        break
                    await asyncio.sleep(0.1)

    run(main)
