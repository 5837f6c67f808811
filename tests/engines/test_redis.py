"""The Redis engine: the contract on one server, and what is its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Certificates, Run

from engines.redis_servers import RedisServer
from engines.servers import free_port
from everwire.channels.engine import LogOptions
from everwire.engines import open_engine
from everwire.engines.contract import CHECKS, CLUSTER_CHECKS, Bench, Check, Recorder, publication, values
from everwire.engines.contract.cluster import the_presence_of_a_node_that_is_gone_ends
from everwire.engines.contract.log import an_idempotency_key_is_forgotten_in_time, what_has_expired_is_told
from everwire.engines.contract.model import a_log_agrees_with_a_simple_model
from everwire.engines.contract.presence import presence_ends_unless_said_again
from everwire.engines.redis import RedisEngine, line
from everwire.errors import ConfigError, EngineError
from everwire.wire.messages import ClientInfo

LOG = LogOptions(size=1000, ttl=300.0, meta_ttl=3600.0)

SLOW: tuple[Check, ...] = (
    what_has_expired_is_told,
    an_idempotency_key_is_forgotten_in_time,
    presence_ends_unless_said_again,
    a_log_agrees_with_a_simple_model,
    the_presence_of_a_node_that_is_gone_ends,
)
QUICK = [each for each in (*CHECKS, *CLUSTER_CHECKS) if each not in SLOW]
"""The others: time passes in the slow ones, and that of a Redis server passes as it does."""

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def bench(url: str) -> Bench:
    """Engines of one prefix after the other, and those that share the last one's."""
    prefixes: list[str] = []

    def make() -> RedisEngine:
        prefixes.append(f"p{next(numbers)}")
        return peer()

    def peer() -> RedisEngine:
        return RedisEngine(url, prefix=prefixes[-1])

    return Bench(make=make, peer=peer, advance=asyncio.sleep)


@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.__name__)
def test_redis_keeps_the_contract(run: Run, check: Check, server: RedisServer) -> None:
    run(lambda: check(bench(server.url)))


@pytest.mark.loops("asyncio")
def test_redis_keeps_the_contract_as_time_passes(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for check in SLOW:
                tasks.create_task(check(bench(server.url)))

    run(main, timeout=60)


@contextlib.asynccontextmanager
async def started(url: str, **options: object) -> AsyncGenerator[tuple[RedisEngine, Recorder]]:
    options = {"prefix": f"p{next(numbers)}", **options}
    engine, events = open_engine(url, **options), Recorder()
    assert isinstance(engine, RedisEngine)
    await engine.start(events, node="n")
    try:
        yield engine, events
    finally:
        await engine.close()


def test_a_node_has_two_connections_whatever_it_does(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with started(server.url) as (engine, events):
            names = [f"c{number}" for number in range(300)]
            await asyncio.gather(*(engine.subscribe(name) for name in names))
            await asyncio.gather(*(engine.publish(name, publication(1), log=LOG) for name in names * 3))
            await asyncio.gather(*(engine.history(name, log=LOG) for name in names))
            await events.until(lambda: len(events.publications) == 900)
            clients = await asyncio.to_thread(server.ask, "CLIENT", "LIST")
            assert clients.count("name=everwire-n") == 2
            assert "name=everwire-n-pubsub" in clients
            assert "resp=3" in clients

    run(main)


def test_nothing_is_left_of_a_channel_when_its_time_is_over(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with started(server.url, prefix="left") as (engine, _):
            short = LogOptions(size=10, ttl=0.2, meta_ttl=0.2)
            await engine.publish("a", publication(1), log=short, idempotency_key="k", idempotency_ttl=0.2)
            await engine.add_presence("a", ClientInfo(user="u", client="c"), ttl=0.2)
            assert await asyncio.to_thread(server.ask, "KEYS", "left:*") != "[]"
            async with asyncio.timeout(10):
                while await asyncio.to_thread(server.ask, "KEYS", "left:*") != "[]":
                    await asyncio.sleep(0.05)

    run(main)


def test_a_log_that_becomes_shorter_is_cut(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with started(server.url) as (engine, _):
            for number in range(10):
                await engine.publish("a", publication(number), log=LOG)
            await engine.publish("a", publication(10), log=LogOptions(size=2, ttl=300))
            assert values((await engine.history("a", log=LOG)).publications) == [9, 10]

    run(main)


def test_versions_are_compared_as_whole_numbers(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with started(server.url) as (engine, _):
            large = 2**63 - 2
            for version, stale in ((9, False), (10, False), (9, True), (large, False), (large + 1, False)):
                outcome = await engine.publish("a", publication(version), log=LOG, version=version)
                assert outcome.stale == stale
            assert (await engine.publish("a", publication(0), log=LOG, version=large)).stale

    run(main)


def test_what_others_publish_there_is_not_taken_for_ours(
    run: Run, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with started(server.url, prefix="others") as (engine, events):
            await engine.subscribe("a")
            for payload in ("", "x", "p", "p- 1 2 3", "p- x 0 e 1 0 {}", "p- 1 0 e 1 99 {}", "jx", "l\x91"):
                await asyncio.to_thread(server.ask, "PUBLISH", "others:tail:{a}", payload)
            await engine.publish("a", publication(1), log=LOG)
            await events.until(lambda: bool(events.publications))
            assert values([each.publication for each in events.publications]) == [1]
            assert not events.joins
            assert not events.leaves

    run(main)
    assert "somebody has published in 'a' what is not ours" in caplog.text


def test_it_warns_of_a_server_that_removes_keys(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path, "maxmemory 100mb", "maxmemory-policy allkeys-lru") as server:

        async def main() -> None:
            async with started(server.url):
                pass

        run(main)
    assert "Set maxmemory-policy to noeviction" in caplog.text


def test_a_password_and_tls(run: Run, tmp_path: Path, certificates: Certificates) -> None:
    port = free_port()
    options = (
        f"tls-port {port}",
        f"tls-cert-file {certificates.cert_file}",
        f"tls-key-file {certificates.key_file}",
        f"tls-ca-cert-file {certificates.ca_file}",
        "tls-auth-clients no",
        "user someone on >s3cr@t ~* &* +@all",
        f"unixsocket {tmp_path / 'socket'}",
    )
    with RedisServer(tmp_path, *options) as server:

        async def works(url: str, **more: object) -> None:
            async with started(url, **more) as (engine, _):
                await engine.publish("a", publication(1), log=LOG)
                assert values((await engine.history("a", log=LOG)).publications) == [1]
                assert (await engine.health()).available

        async def main() -> None:
            await works(f"rediss://someone:s3cr%40t@localhost:{port}/3", ssl=certificates.new_client())
            await works(f"rediss://localhost:{port}?ssl_ca_certs={certificates.ca_file}", password="")
            await works(f"unix://{tmp_path / 'socket'}", username="someone", password="s3cr@t", db=2)
            with pytest.raises(EngineError, match="does not take this user name and password") as caught:
                await works(f"redis://someone:wrong-one@127.0.0.1:{server.port}")
            assert "wrong-one" not in str(caught.value)
            with pytest.raises(EngineError, match="certificate verify failed"):
                await works(f"rediss://localhost:{port}")
            await asyncio.to_thread(server.ask, "CONFIG", "SET", "requirepass", "locked")
            with pytest.raises(EngineError, match="it needs a password"):
                await works(server.url)

        run(main)


def test_who_may_not_do_something_is_told_what_is_needed(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "user weak on >x ~* &* +@all -evalsha") as server:

        async def main() -> None:
            async with started(server.url, username="weak", password="x") as (engine, _):
                with pytest.raises(EngineError, match="this user may not do that: it needs"):
                    await engine.publish("a", publication(1), log=LOG)

        run(main)


def test_a_server_that_refuses_what_it_did_before_is_an_error_like_others(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path, "user weak on >x ~* &* +@all") as server:

        async def main() -> None:
            async with started(server.url, username="weak", password="x") as (engine, _):
                await engine.publish("a", publication(1), log=LOG)
                assert await engine.channels() == ["a"]
                await asyncio.to_thread(server.ask, "ACL", "SETUSER", "weak", "-script", "-ping", "-pubsub")
                await asyncio.to_thread(server.ask, "SCRIPT", "FLUSH")
                with pytest.raises(EngineError, match="this user may not do that"):
                    await engine.publish("a", publication(2), log=LOG)
                with pytest.raises(EngineError, match="this user may not do that"):
                    await engine.channels()
                await asyncio.to_thread(server.ask, "ACL", "SETUSER", "weak", "-scan")
                with pytest.raises(EngineError, match="this user may not do that"):
                    await engine.channels()
                health = await engine.health()
                assert not health.available
                assert "this user may not do that" in health.detail

        run(main)


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    async def main() -> None:
        port = free_port()
        for url, where in (
            (f"redis://:secret@127.0.0.1:{port}", f"Redis at 127.0.0.1:{port}: "),
            (f"redis+sentinel://127.0.0.1:{port}/main", f"127.0.0.1:{port} \\(sentinel\\)"),
            (f"redis+cluster://127.0.0.1:{port}", f"Redis at 127.0.0.1:{port}"),
        ):
            with pytest.raises(EngineError, match=where) as caught:
                async with started(url):
                    pass
            assert "secret" not in str(caught.value)

    run(main)


@pytest.mark.parametrize(
    "url", ["redis://bad..host:1", "redis+sentinel://bad..host/m", "redis+cluster://bad..host"]
)
def test_a_name_that_no_server_can_have_is_an_error_like_others(run: Run, url: str) -> None:
    async def main() -> None:
        with pytest.raises(EngineError, match=r"Redis at bad\.\.host"):
            async with started(url, timeout=1):
                pass

    run(main)


def test_what_nobody_has_foreseen_is_tried_again(
    run: Run, server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    greet, calls = line.greet, itertools.count()

    async def greet_badly(*arguments: Any) -> dict[str, str]:
        if next(calls) in (0, 3):
            raise ArithmeticError("nobody has foreseen this")
        return await greet(*arguments)

    monkeypatch.setattr(line, "greet", greet_badly)

    async def main() -> None:
        with pytest.raises(EngineError, match="nobody has foreseen this"):
            async with started(server.url):
                pass
        async with started(server.url) as (engine, events):
            await asyncio.to_thread(server.ask, "CLIENT", "KILL", "TYPE", "pubsub")
            await events.until(lambda: events.available == [False, True])
            assert (await engine.health()).available

    run(main)
    assert "could not be made ready" in caplog.text


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis+sentinel://localhost", "the name of the master is missing"),
        ("redis://a,b", "for several it is redis\\+sentinel:// or redis\\+cluster://"),
        ("redis://localhost/x", "the path of a Redis URL is the number of a database"),
        ("redis+cluster://localhost/1", "a Redis cluster has database 0 only"),
        ("redis://localhost:port", "is not the address of a Redis server"),
        ("redis:localhost", "a Redis engine is at redis://"),
        ("unix://socket", "begins with a slash"),
        ("redis://localhost?prefix={a}", "prefix is a text without braces"),
        ("redis://localhost?timeout=0", "timeout is a number of seconds above 0"),
        ("redis://localhost?timeout=soon", "timeout='soon' is no number"),
        ("redis://localhost?max_waiting=1e3", "max_waiting='1e3' is no number"),
        ("redis://localhost?db=x", "db='x' is no number"),
        ("redis://localhost?ssl_ca_certs=/a", "TLS needs a URL that begins with rediss"),
        ("redis://localhost?colour=red", "colour"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_engine(url)


def test_a_text_that_is_not_unicode_is_refused(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        bad = "\ud800"
        async with started(server.url) as (engine, _):
            tagged = publication(1)
            tagged.tags = {"a": bad}
            for attempt in (
                engine.publish(bad, publication(1), log=LOG),
                engine.publish("a", tagged, log=LOG),
                engine.publish("a", publication(1), log=LOG, idempotency_key=bad),
                engine.publish("a", publication(1), log=LOG, version=1, version_epoch=bad),
                engine.subscribe(bad),
                engine.add_presence("a", ClientInfo(user=bad, client="c"), ttl=1),
                engine.add_presence("a", ClientInfo(user="u", client=bad), ttl=1),
            ):
                with pytest.raises(EngineError, match="not valid Unicode"):
                    await attempt
            assert (await engine.history("a", log=LOG)).top.offset == 0

    run(main)


def test_times_without_end_and_more_than_may_wait(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        forever = LogOptions(size=5, ttl=float("inf"), meta_ttl=0)
        async with started(server.url, max_waiting=10) as (engine, _):
            await engine.publish("a", publication(1), log=forever)
            assert values((await engine.history("a", log=forever)).publications) == [1]
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(n), log=LOG) for n in range(50)), return_exceptions=True
            )
            refused = [each for each in outcomes if isinstance(each, EngineError)]
            assert len(refused) == 40
            assert "10 commands wait for Redis already" in str(refused[0])
            assert len((await engine.history("a", log=LOG)).publications) == 11

    run(main)
