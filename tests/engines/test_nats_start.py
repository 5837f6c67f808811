"""How the NATS engine begins: options, who may come in, and what to do when it cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nkeys
import pytest
from conftest import Run

from engines.servers import HOST, NatsServer, free_port
from everwire.channels.engine import LogOptions
from everwire.engines import open_engine
from everwire.engines.contract import Bench, Check, Recorder, cluster, log, publication
from everwire.engines.nats import NatsEngine
from everwire.engines.nats.options import NatsOptions
from everwire.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from conftest import Certificates

pytestmark = pytest.mark.loops("asyncio")

LOG = LogOptions(size=10, ttl=60, meta_ttl=600)


async def try_out(url: str, **options: Any) -> None:
    """Start an engine, and publish something."""
    engine = NatsEngine(url, **options)
    await engine.start(Recorder(), node="one")
    try:
        outcome = await engine.publish("a", publication(1), log=LOG)
        assert (await engine.history("a", log=LOG)).top == outcome.position
    finally:
        await engine.close()


def test_options_are_in_the_url_or_by_name() -> None:
    url = "nats://us%40er:p%3Aw@one:4222,two?replicas=3&prefix=a.b&timeout=2.5&max_size=1000&storage=memory"
    options = NatsOptions.from_url(url, {"timeout": 7.0})
    assert options.servers == ["nats://one:4222", "nats://two"]
    assert (options.username, options.password, options.token) == ("us@er", "p:w", None)
    assert (options.replicas, options.prefix, options.max_size) == (3, "a.b", 1000)
    assert (options.timeout, options.storage) == (7.0, "memory")
    assert "p:w" not in repr(options)
    assert NatsOptions.from_url("tls://token@[::1]:4222", {}).token == "token"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nats://", "a server that is not HOST"),
        ("nats://host:x", "a port that is no number"),
        ("nats://u:secret@host/path", "a server that is not HOST"),
        ("nats://host?replicas=9", "replicas=9"),
        ("nats://host?replicas=many", "replicas='many' is no number"),
        ("nats://host?storage=tape", "neither file nor memory"),
        ("nats://host?prefix=a*", "not a beginning of NATS subjects"),
        ("nats://host?timeout=0", "above 0"),
        ("nats://host?max_waiting=0", "max_waiting"),
        ("nats://host?max_size=-1", "max_size"),
        ("nats://host?ssl_cert=x", "only of use together"),
        ("nats://host?size=3", "unexpected keyword argument 'size'"),
    ],
)
def test_options_that_cannot_be_meant_are_named(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def test_no_server_is_told_after_the_time_given(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(EngineError, match="is a server there") as caught:
            await try_out(f"nats://{HOST}:{free_port()}", timeout=0.3)
        assert not isinstance(caught.value, ConfigError)

    run(main)


def test_an_engine_that_could_not_start_can_be_started_later(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        server = NatsServer(tmp_path)
        engine = NatsEngine(server.url, timeout=0.3)
        with pytest.raises(EngineError):
            await engine.start(Recorder(), node="one")
        with server:
            await engine.start(Recorder(), node="one")
            with pytest.raises(EngineError, match="started already"):
                await engine.start(Recorder(), node="one")
            await engine.publish("a", publication(1), log=LOG)
            await engine.close()

    run(main)


def test_a_server_without_jetstream_is_told(run: Run, tmp_path: Path) -> None:
    with NatsServer(tmp_path, jetstream=False) as server:

        async def main() -> None:
            with pytest.raises(ConfigError, match=r"no JetStream.*-js"):
                await try_out(server.url)

        run(main)


def test_copies_need_a_cluster(run: Run, tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:

        async def main() -> None:
            with pytest.raises(ConfigError, match="replicas=3 needs that many servers"):
                await try_out(server.url + "?replicas=3")

        run(main)


def test_a_server_that_is_too_old_is_told(run: Run) -> None:
    """A server that greets as an old one did: there is no package of one."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.25","max_payload":1048576,"headers":true}\r\n')
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    async def main() -> None:
        old = await asyncio.start_server(greet, HOST, 0)
        port = old.sockets[0].getsockname()[1]
        async with old:
            with pytest.raises(ConfigError, match=r"is 2\.9: update it"):
                await try_out(f"nats://{HOST}:{port}")

    run(main)


def test_a_user_with_a_password(run: Run, tmp_path: Path) -> None:
    with NatsServer(tmp_path, "--user", "u", "--pass", "right") as server:
        host = server.url.removeprefix("nats://")

        async def main() -> None:
            await try_out(f"nats://u:right@{host}")
            await try_out(server.url, username="u", password="right")
            for url in (f"nats://u:wrong@{host}", server.url):
                with pytest.raises(ConfigError, match="does not let us in") as caught:
                    await try_out(url)
                assert "wrong" not in str(caught.value)

        run(main)


@contextlib.contextmanager
def configured(folder: Path, config: str) -> Iterator[NatsServer]:
    """A server with a file of its own."""
    (folder / "nats.conf").write_text(config)
    with NatsServer(folder, "-c", str(folder / "nats.conf")) as server:
        yield server


def test_an_nkey(run: Run, tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "seed").write_bytes(seed)
    user = nkeys.from_seed(seed).public_key.decode()

    async def main(url: str) -> None:
        await try_out(f"{url}?nkey={tmp_path / 'seed'}")
        with pytest.raises(ConfigError, match="cannot be read"):
            await try_out(url, nkey=str(tmp_path / "nowhere"))

    with configured(tmp_path, f"authorization {{ users = [ {{ nkey: {user} }} ] }}") as server:
        run(lambda: main(server.url))


def test_what_a_user_may_not_do_is_told(run: Run, tmp_path: Path) -> None:
    config = """authorization { users = [
        { user: u, password: p, permissions: { publish: "everwire.>", subscribe: ">" } }
    ] }"""

    async def main(url: str) -> None:
        with pytest.raises(ConfigError, match=r"(?s)permissions violation.*allow it to publish to \$JS\.API"):
            await try_out(url, username="u", password="p")

    with configured(tmp_path, config) as server:
        run(lambda: main(server.url))


def test_what_a_user_has_to_be_allowed_is_as_documented(run: Run, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "engine.md").read_text()
    found = re.search(r"needs to publish to (.*?), and to subscribe to\s(.*?)\.\n", text, re.DOTALL)
    assert found is not None
    publish, subscribe = (
        ", ".join(f'"{each}"' for each in re.findall("`(.*?)`", part)) for part in found.groups()
    )
    config = f"""authorization {{ users = [
        {{ user: u, password: p, permissions: {{ publish: [ {publish} ], subscribe: [ {subscribe} ] }} }}
    ] }}"""

    async def main(url: str) -> None:
        async def check(promise: Check) -> None:
            make = functools.partial(NatsEngine, url, username="u", password="p")
            await promise(Bench(make=make, peer=make, advance=asyncio.sleep))

        await check(cluster.what_one_node_publishes_reaches_the_other)
        await check(cluster.a_control_message_reaches_the_other_nodes_or_the_one_it_is_for)
        await check(cluster.presence_is_seen_by_all_nodes)
        await check(log.a_retry_after_a_newer_version_is_a_duplicate)

    with configured(tmp_path, config) as server:
        run(lambda: main(server.url))
        assert "Permissions Violation" not in server.log.read_text()


def test_tls(run: Run, tmp_path: Path, certificates: Certificates) -> None:
    files = ("--tlscert", str(certificates.cert_file), "--tlskey", str(certificates.key_file))
    with NatsServer(tmp_path, "--tls", *files) as server:
        host = server.url.removeprefix("nats://")

        async def main() -> None:
            await try_out(f"tls://{host}", ssl=certificates.client)
            with pytest.raises(EngineError, match=r"(?i)certificate"):
                await try_out(f"tls://{host}", timeout=0.5)
            with pytest.raises(ConfigError, match="cannot be read"):
                await try_out(f"tls://{host}?ssl_ca_certs=/nowhere")

        run(main)


def test_a_stream_of_somebody_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:

        async def main() -> None:
            other = NatsEngine(server.url, prefix="other")
            await other.start(Recorder(), node="one")
            assert other._parts is not None
            api = other._parts.requests.api
            await api("STREAM.CREATE.everwire_log", {"name": "everwire_log", "subjects": ["mine"]})
            with pytest.raises(ConfigError, match="is not everwire's"):
                await try_out(server.url)
            info = await api("STREAM.INFO.everwire_log")
            assert info["config"]["subjects"] == ["mine"]
            assert info["config"]["max_msgs_per_subject"] == -1
            await other.close()

        run(main)
