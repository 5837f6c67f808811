"""Compose, Caddy and the image: what they say, and that clients move from node to node through Caddy."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from docs.pages import ROOT
from interop.programs import daemon, find, free_port

import everwire
from deploy.files import DEPLOY, SECRETS, Node, documents, get, nats, node, option, seconds
from everwire.channels.signing import Signer

COMPOSE: dict[str, Any] = documents(DEPLOY / "compose.yaml")[0]
SERVICES: dict[str, Any] = COMPOSE["services"]
NODES = ("node1", "node2")
EXAMPLE = (DEPLOY / "everwire.env.example").read_text()


def interpolated(text: str) -> str:
    """What Compose makes of variables; all of those must be given."""
    assert not re.search(r"\$\{\w+(:?-|\})", text), "no defaults"
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: SECRETS[found[1]], text)


def environment(service: str) -> dict[str, str]:
    return {name: interpolated(str(value)) for name, value in SERVICES[service]["environment"].items()}


def test_secrets_come_from_a_file_and_have_no_defaults() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert asked == set(SECRETS) == set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE))
    for service in SERVICES:
        environment(service)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/everwire.env" in ignored


def test_what_is_published_is_caddy_alone() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["caddy"]
    assert COMPOSE["networks"]["back"]["internal"] is True
    assert SERVICES["nats"]["networks"] == ["back"]
    assert SERVICES["caddy"]["networks"] == ["front"]


def test_each_service_is_waited_for() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]


@pytest.mark.parametrize("name", NODES)
def test_there_is_time_for_the_end(name: str) -> None:
    service = SERVICES[name]
    graceful = seconds(option(service["command"], "timeout-graceful-shutdown"))
    assert seconds(option(service["command"], "drain-spread")) < graceful
    assert graceful < seconds(service["stop_grace_period"])
    assert service["stop_signal"] == "SIGTERM"


def test_ports_and_paths_agree() -> None:
    port = option(SERVICES["node1"]["command"], "port")
    assert environment("caddy")["EVERWIRE_UPSTREAMS"].split() == [f"{name}:{port}" for name in NODES]
    assert f":{port}/health" in " ".join(SERVICES["node1"]["healthcheck"]["test"])
    mounts = [each.split(":") for service in SERVICES.values() for each in service["volumes"]]
    files = {source: target for source, target, *_ in mounts if source.startswith("./")}
    assert all((DEPLOY / source).is_file() for source in files)
    assert files["./hub.toml"] == option(SERVICES["node1"]["command"], "config")
    volumes = {source for source, *_ in mounts if not source.startswith("./")}
    assert volumes == set(COMPOSE["volumes"])


def test_the_image() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r"\[([a-z,]+)\]\"", text)
    assert len(extras) == 2 and extras[0] == extras[1]
    for extra in extras[0].split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
    entry, command = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.M))
    assert entry == ["everwire"]
    assert command[command.index("--config") + 1] in text.partition("COPY deploy/hub.toml ")[2].split()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    build = SERVICES["node1"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    needed = {each[1:] for each in sent if each.startswith("!")}
    assert {"pyproject.toml", "setup.py", "src", "README.md", "LICENSE", "deploy/hub.toml"} <= needed
    assert all((ROOT / each).exists() for each in needed)
    for copied in re.findall(r"^COPY (?!\.)(\S+) ", text, re.MULTILINE):
        assert copied in needed


# All of it, as processes


@contextlib.contextmanager
def deployed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Node]]]:
    """NATS, two nodes and Caddy; where Caddy is, and the nodes."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(nats(folder / "nats", monkeypatch))
        nodes: dict[str, Node] = {}
        for name in NODES:
            env = environment(name)
            engine = env["EVERWIRE_ENGINE"].replace("nats:4222", server)
            nodes[name] = stack.enter_context(
                node(SERVICES[name]["command"], {**env, "EVERWIRE_ENGINE": engine}, folder)
            )
        port = free_port()
        caddy = {
            "EVERWIRE_SITE": f"http://127.0.0.1:{port}",
            "EVERWIRE_UPSTREAMS": " ".join(each.address for each in nodes.values()),
            **dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HOME"), str(folder)),
        }
        assert caddy.keys() > environment("caddy").keys()
        command = [find("caddy"), "run", "--config", DEPLOY / "Caddyfile", "--adapter", "caddyfile"]
        stack.enter_context(daemon(command, folder / "caddy.log", port=port, env={**os.environ, **caddy}))
        yield f"127.0.0.1:{port}", nodes


def publish(on: Node, number: int) -> None:
    """Publish by the server API of a node."""
    body = json.dumps({"channel": "room:1", "data": number}).encode()
    headers = {"X-API-Key": SECRETS["EVERWIRE_API_KEY"]}
    with urllib.request.urlopen(
        urllib.request.Request(f"{on.url}/api/publish", body, headers), timeout=10
    ) as answer:
        assert "result" in json.load(answer)


def holder(nodes: dict[str, Node]) -> tuple[Node, Node]:
    """The node that has the client, and the other one."""
    first, second = sorted(nodes.values(), key=lambda each: -each.metric("everwire_connections"))
    assert first.metric("everwire_connections") == 1
    return first, second


@pytest.mark.loops("asyncio")
def test_a_client_moves_through_caddy_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    async def main() -> None:
        token = Signer(SECRETS["EVERWIRE_TOKEN_HMAC_SECRET_KEY"]).connection("ann")
        with deployed(tmp_path, monkeypatch) as (site, nodes):
            for path in ("metrics", "health", "health/ready", "api/info", "api"):
                assert get(f"http://{site}/connection/{path}")[0] == 404, path
            assert get(f"http://{site}/metrics")[0] == 404
            url = f"ws://{site}/connection/websocket"
            options: dict[str, Any] = {"min_reconnect_delay": 0.05, "max_reconnect_delay": 0.2, "proxy": None}
            async with (
                everwire.Client(url, token=token, **options) as client,
                client.subscribe("room:1") as room,
            ):
                first, second = holder(nodes)
                for number in range(5):
                    publish(second, number)
                assert [(await anext(room)).data for _ in range(5)] == list(range(5))
                first.program.send_signal(signal.SIGTERM)
                for number in range(5, 15):
                    publish(second, number)
                assert [(await anext(room)).data for _ in range(10)] == list(range(5, 15))
                assert first.program.wait() == 0
                publish(second, 15)
                assert (await anext(room)).data == 15
                for number in range(16, 20):
                    await client.publish("room:1", number)
                assert [(await anext(room)).data for _ in range(4)] == list(range(16, 20))
                assert second.metric("everwire_connections") == 1

    run(main, timeout=60)


@pytest.mark.loops("asyncio")
def test_who_has_no_token_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    async def main() -> None:
        with nats(tmp_path / "nats", monkeypatch) as server:
            env = environment("node1")
            env["EVERWIRE_ENGINE"] = env["EVERWIRE_ENGINE"].replace("nats:4222", server)
            with node(SERVICES["node1"]["command"], env, tmp_path) as one:
                async with everwire.connect(f"ws://{one.address}/connection/websocket", proxy=None) as ws:
                    await ws.send('{"id":1,"connect":{}}')
                    with pytest.raises(everwire.ConnectionClosed) as caught:
                        await ws.recv()
                    assert caught.value.code in (3501, 3507)

    run(main)
