"""The SQLite engine, beyond the contract: what outlives a process, full disks, locks, and files of others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from conftest import Run

from everwire.channels.engine import LogOptions, Position
from everwire.engines import open_engine
from everwire.engines.contract import ManualClock, Recorder, publication, values
from everwire.engines.memory import MemoryEngine
from everwire.engines.sqlite import SqliteEngine
from everwire.errors import ConfigError, EngineError
from everwire.wire.messages import ClientInfo, Publication

LOG = LogOptions(size=100, ttl=300.0, meta_ttl=3600.0)


@contextlib.asynccontextmanager
async def started(path: Path, **options: object):  # type: ignore[no-untyped-def]
    engine = SqliteEngine(path, **options)  # type: ignore[arg-type]
    events = Recorder()
    await engine.start(events, node="n")
    try:
        yield engine, events
    finally:
        await engine.close()


def test_everything_but_presence_outlives_a_restart(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        info = ClientInfo(user="u", client="c", conn_info=msgspec.Raw(b"\xff"), chan_info=msgspec.Raw(b"1"))
        sent = Publication(data=msgspec.Raw(b"\x00\xff"), info=info, tags={"a": "b"}, channel="other")
        async with started(path) as (engine, _):
            empty = (await engine.history("empty", log=LOG)).top
            first = await engine.publish(
                "a", sent, log=LOG, idempotency_key="k", version=7, version_epoch="v"
            )
            await engine.publish("a", publication(2), log=LOG)
            await engine.add_presence("a", info, ttl=60)
            before = await engine.history("a", log=LOG)
        assert not list(tmp_path.glob("*-wal"))
        async with started(path) as (engine, events):
            assert await engine.history("a", log=LOG) == before
            found = before.publications[0]
            assert (bytes(found.data), found.info, found.tags) == (b"\x00\xff", info, {"a": "b"})
            assert found.channel == "other"
            assert (await engine.history("empty", log=LOG)).top == empty
            again = await engine.publish("a", publication(3), log=LOG, idempotency_key="k")
            assert again.duplicate
            assert again.position == first.position
            assert (await engine.publish("a", publication(4), log=LOG, version=7, version_epoch="v")).stale
            await engine.subscribe("a")
            outcome = await engine.publish("a", publication(5), log=LOG)
            assert outcome.position == Position(3, first.position.epoch)
            assert [each.previous for each in events.publications] == [2]
            assert await engine.presence("a") == {}
            assert await engine.channels() == ["a", "empty"]

    run(main)


WRITER = """
import asyncio, sys
from everwire.channels.engine import LogOptions
from everwire.engines.contract import Recorder, publication
from everwire.engines.sqlite import SqliteEngine

async def main():
    engine = SqliteEngine(sys.argv[1], synchronous=sys.argv[2])
    await engine.start(Recorder(), node="n")

    async def publish(name):
        number = 0
        while True:
            number += 1
            outcome = await engine.publish(name, publication(number), log=LogOptions(size=10**6, ttl=300))
            print(name, number, *outcome.position, flush=True)

    await asyncio.gather(*(publish(f"c{each}") for each in range(8)))

asyncio.run(main())
"""


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_what_was_acknowledged_outlives_a_killed_process(run: Run, tmp_path: Path, synchronous: str) -> None:
    path = tmp_path / "log.db"
    command = [sys.executable, "-c", WRITER, str(path), synchronous]
    acknowledged: dict[str, tuple[int, str]] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(400):
            name, number, offset, epoch = process.stdout.readline().decode().split()
            assert number == offset
            acknowledged[name] = int(offset), epoch
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().decode().split("\n")[:-1]:
            name, number, offset, epoch = line.split()
            acknowledged[name] = int(offset), epoch

    async def main() -> None:
        async with started(path, synchronous=synchronous) as (engine, _):
            log = LogOptions(size=10**6, ttl=300)
            for name, (offset, epoch) in acknowledged.items():
                page = await engine.history(name, log=log, since=Position(0, epoch))
                assert page.complete
                assert values(page.publications) == list(range(1, page.top.offset + 1))
                assert page.top.offset >= offset, "an acknowledged publication is gone"

    assert len(acknowledged) == 8
    run(main)


def test_after_a_power_cut_normal_has_other_epochs_and_full_has_not(run: Run, tmp_path: Path) -> None:
    """As far as a test can have one: the database was not closed, and the machine has started again."""

    def cut(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE engine SET boot = 'before' WHERE boot <> 'full'")
            connection.commit()

    async def main() -> None:
        for synchronous in ("normal", "full"):
            path = tmp_path / f"{synchronous}.db"
            engine = SqliteEngine(path, synchronous=synchronous)  # type: ignore[arg-type]
            await engine.start(Recorder(), node="n")
            at = (await engine.publish("a", publication(1), log=LOG)).position
            unused = (await engine.history("b", log=LOG)).top
            cut(path)
            # As if the process had been killed: nothing is noted.
            engine._connections[0].execute("PRAGMA query_only=ON")
            await engine.close()
            async with started(path, synchronous=synchronous) as (engine, _):
                for name, position in (("a", at), ("b", unused)):
                    page = await engine.history(name, log=LOG, since=position)
                    assert page.complete == (synchronous == "full")
                at = (await engine.history("a", log=LOG)).top
            async with started(path, synchronous=synchronous) as (engine, _):
                assert (await engine.history("a", log=LOG, since=at)).complete, "it was closed"

    run(main)


def test_a_full_disk_is_told_and_passes(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with started(tmp_path / "log.db", max_size=200_000, clock=clock) as (engine, events):
            await engine.subscribe("a")
            log = LogOptions(size=1000, ttl=60, meta_ttl=3600)
            with pytest.raises(EngineError, match="no room left: the disk is full, or max_size is reached"):
                while True:
                    await engine.publish("a", publication("x" * 10_000), log=log)
            page = await engine.history("a", log=log)
            count = page.top.offset
            assert len(page.publications) == count == len(events.publications) > 5
            # Of a batch, what has room is published, the rest is not, and nothing by half.
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(size * "y"), log=log) for size in (50_000, 10, 90_000, 10)),
                return_exceptions=True,
            )
            assert [isinstance(each, EngineError) for each in outcomes] == [True, False, True, False]
            page = await engine.history("a", log=log)
            assert page.top.offset == count + 2 == len(events.publications)
            assert values(page.publications)[-2:] == ["y" * 10] * 2
            # What has expired makes room.
            await clock.advance(61)
            assert (
                await engine.publish("a", publication("z" * 50_000), log=log)
            ).position.offset == count + 3
            assert [each.position.offset for each in events.publications] == list(range(1, count + 4))

    run(main)


def test_a_batch_is_told_in_order_and_each_by_itself(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path / "log.db") as (engine, events):
            for name in ("a", "b"):
                await engine.subscribe(name)
            outcomes = await asyncio.gather(
                engine.publish("a", publication(1), log=LOG, idempotency_key="k"),
                engine.publish("\ud800", publication(0), log=LOG),
                engine.publish("b", publication(2), log=LOG),
                engine.publish("a", publication(3), log=LOG, idempotency_key="k"),
                engine.publish("a", publication(4), log=LOG),
                return_exceptions=True,
            )
            assert isinstance(outcomes[1], EngineError)
            assert "not valid Unicode" in str(outcomes[1])
            assert outcomes[3].duplicate  # type: ignore[union-attr]
            assert values([each.publication for each in events.publications]) == [1, 2, 4]
            with pytest.raises(EngineError, match="a version is at most"):
                await engine.publish("a", publication(5), log=LOG, version=2**63)

    run(main)


def test_who_goes_away_does_not_take_a_publication_along(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path / "log.db") as (engine, events):
            await engine.subscribe("a")
            gone = asyncio.ensure_future(engine.publish("a", publication(1), log=LOG))
            await asyncio.sleep(0)
            gone.cancel()
            await engine.publish("a", publication(2), log=LOG)
            assert values([each.publication for each in events.publications]) == [1, 2]

    run(main)


def test_one_process_has_it(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        async with started(path):
            second = SqliteEngine(path)
            message = f"in use by process {os.getpid()}: an sqlite: engine belongs to one process"
            with pytest.raises(EngineError, match=message):
                await second.start(Recorder(), node="m")
            with pytest.raises(EngineError, match="not started"):
                await second.publish("a", publication(1), log=LOG)
        await second.start(Recorder(), node="m")
        await second.close()

    run(main)


def test_a_lock_of_another_program_is_told(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        async with started(path, patience=0.05) as (engine, _):
            await engine.publish("a", publication(1), log=LOG)
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(EngineError, match="locked by another program"):
                    await engine.publish("a", publication(2), log=LOG)
                assert values((await engine.history("a", log=LOG)).publications) == [1], "reading goes on"
            await engine.publish("a", publication(3), log=LOG)
            assert values((await engine.history("a", log=LOG)).publications) == [1, 3]

    run(main)


def test_files_that_are_not_ours_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("these are notes of somebody, and should stay so\n" * 100)
    for name, statement in (("foreign.db", "CREATE TABLE t (a)"), ("newer.db", "PRAGMA user_version=99")):
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute(statement)
            if name == "newer.db":
                connection.execute("PRAGMA application_id=0x65767264")
                connection.execute("CREATE TABLE t (a)")

    async def main() -> None:
        for name, message in [
            ("text.db", "is not an SQLite database"),
            ("foreign.db", "is the database of another program"),
            ("newer.db", "has tables of version 99, .* use the newer everwire"),
            ("missing/log.db", "cannot be opened: .* is there such a directory"),
        ]:
            content = (tmp_path / name).read_bytes() if "missing" not in name else b""
            engine = SqliteEngine(tmp_path / name)
            with pytest.raises(EngineError, match=message):
                await engine.start(Recorder(), node="n")
            if content:
                assert (tmp_path / name).read_bytes() == content

    run(main)


def test_what_has_expired_is_removed_from_the_file(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        clock, path = ManualClock(), tmp_path / "log.db"
        log = LogOptions(size=10, ttl=5, meta_ttl=100)

        def count(table: str) -> int:
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

        async with started(path, clock=clock, synchronous="normal") as (engine, _):
            names = [f"c{number}" for number in range(1200)]
            await asyncio.gather(
                *(engine.publish(each, publication(1), log=log, idempotency_key="k") for each in names)
            )
            positions = [(await engine.history(each, log=log)).top for each in ("c1", "c2")]
            await engine.subscribe("c1")
            await clock.advance(6)
            await engine._sweep_database()
            assert [count(each) for each in ("logs", "publications", "keys")] == [1200, 0, 1200]
            await clock.advance(100)
            await engine._sweep_database()
            assert [count(each) for each in ("logs", "publications", "keys")] == [1, 0, 1200]
            await clock.advance(300)
            await engine._sweep_database()
            assert count("keys") == 0
            assert (await engine.history("c1", log=log, since=positions[0])).complete, "it was followed"
            page = await engine.history("c2", log=log, since=positions[1])
            assert not page.complete
            assert page.top.offset == 0

    run(main)


def test_the_timer_removes_by_itself(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("everwire.engines.sqlite.engine.SWEEP", 0.01)
    monkeypatch.setattr("everwire.engines.deadlines.Sweeper.PAUSE", 0.01)

    async def main() -> None:
        async with started(tmp_path / "log.db", synchronous="normal") as (engine, _):
            await engine.publish("a", publication(1), log=LogOptions(size=1, ttl=0.01, meta_ttl=0.02))
            while await engine.channels():
                await asyncio.sleep(0.01)

    run(main)


def test_keys_have_a_bound(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path / "log.db", max_idempotency_keys=2) as (engine, _):
            for key in ("k", "l"):
                await engine.publish("a", publication(1), log=LOG, idempotency_key=key)
            with pytest.raises(EngineError, match="2 idempotency keys are kept already"):
                await engine.publish("a", publication(2), log=LOG, idempotency_key="m")
            assert (await engine.publish("a", publication(2), log=LOG, idempotency_key="k")).duplicate
            assert (await engine.publish("a", publication(2), log=LOG)).position.offset == 3

    run(main)


def test_what_waits_has_a_bound(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path / "log.db", max_waiting=10, synchronous="normal") as (engine, _):
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(1), log=LOG) for _ in range(15)), return_exceptions=True
            )
            refused = [each for each in outcomes if isinstance(each, EngineError)]
            assert len(refused) == 5
            assert "too slow" in str(refused[0])
            assert (await engine.history("a", log=LOG)).top.offset == 10

    run(main)


def test_engines_are_opened_by_url(tmp_path: Path) -> None:
    assert isinstance(open_engine(), MemoryEngine)
    assert isinstance(open_engine("memory:?max_logs=5"), MemoryEngine)
    engine = open_engine(f"sqlite:{tmp_path}/a%20b.db?synchronous=normal&max_size=1000000")
    assert isinstance(engine, SqliteEngine)
    assert engine._path == f"{tmp_path}/a b.db"
    for url, message in [
        ("kafka:x", r"there is no engine 'kafka': it is memory:, sqlite:PATH, nats:"),
        ("sqlite:", "needs the path of a file"),
        ("sqlite::memory:", "for none there is memory:"),
        ("sqlite:///log.db", "two slashes too many"),
        ("sqlite:log.db?synchronous=off", "synchronous is full or normal, not 'off'"),
        ("memory:?size=3", "memory: got an unexpected keyword argument 'size'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            open_engine(url)
