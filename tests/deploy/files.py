"""The files of deploy/, and nodes that are started as they say."""

from __future__ import annotations

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Program, everwire
from docs.pages import ROOT
from engines.servers import HOST, Server, free_port, greeting, nats_server_program

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

SECRETS = {
    "EVERWIRE_NATS_TOKEN": "token-of-nats",
    "EVERWIRE_TOKEN_HMAC_SECRET_KEY": "a-key-for-tokens-that-is-long-enough",
    "EVERWIRE_API_KEY": "a-key-for-the-server-api",
    "EVERWIRE_SITE": "localhost",
}
"""What everwire.env.example asks for."""


def documents(file: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [each for each in yaml.safe_load_all(file.read_text()) if each is not None]


def seconds(text: str | float) -> float:
    """A time as Compose and everwire's command line have it: ``90s``, or a number."""
    return float(str(text).removesuffix("s"))


def option(args: Sequence[str], name: str) -> str:
    """The value of an option, ``--name=value``."""
    found = [each.partition("=")[2] for each in args if each.startswith(f"--{name}=")]
    assert len(found) == 1, f"--{name} is there once"
    return found[0]


@contextlib.contextmanager
def nats(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server as Compose configures it, but for where it listens and keeps its data: ``HOST:PORT``."""
    monkeypatch.setenv("EVERWIRE_NATS_TOKEN", SECRETS["EVERWIRE_NATS_TOKEN"])
    port = free_port()
    text = (DEPLOY / "nats.conf").read_text()
    for old, new in (
        ("0.0.0.0:4222", f"{HOST}:{port}"),
        ("0.0.0.0:8222", f"{HOST}:{free_port()}"),
        ("/data", str(folder / "data")),
    ):
        assert old in text
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "nats.conf").write_text(text)
    command = (nats_server_program(), "--config", folder / "nats.conf")
    with Server(command, log=folder / "log", answers=lambda: greeting(port, b"INFO ")):
        yield f"{HOST}:{port}"


@dataclass
class Node:
    """A node that runs.

    Attributes:
        program: its process.
        url: where it is, without a slash at the end.
        metrics: where its metrics are.
        env: its environment.
    """

    program: Program
    url: str
    metrics: str
    env: dict[str, str]

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return self.url.removeprefix("http://")

    def metric(self, name: str) -> float:
        """One of its metrics."""
        _, text = get(self.metrics)
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])


@contextlib.contextmanager
def node(args: Sequence[str], env: Mapping[str, str], folder: Path) -> Iterator[Node]:
    """A node that is started with these arguments, but here: on free ports, with the files of the tree."""
    changes = {"--config": str(DEPLOY / "hub.toml"), "--host": "127.0.0.1", "--port": "0"}
    for name in changes:
        option(args, name.removeprefix("--"))
    here = [f"{key}={changes[key]}" if (key := each.partition("=")[0]) in changes else each for each in args]
    host, _, port = env["EVERWIRE_METRICS_ADDRESS"].rpartition(":")
    assert (host, port) == ("0.0.0.0", "9100")
    metrics = f"127.0.0.1:{free_port()}"
    runtime = folder / f"run-{metrics.rpartition(':')[2]}"
    adapted = {**env, "EVERWIRE_METRICS_ADDRESS": metrics, "EVERWIRE_RUNTIME_DIR": str(runtime)}
    with everwire(*here, env=adapted) as program:
        page = program.wait_for(r"(?s)\b(https?://[\w.:\[\]]+)/(?!\w).*Ctrl-C")
        yield Node(program, page[1], f"http://{metrics}/metrics", adapted)


def get(url: str, **headers: str) -> tuple[int, str]:
    """The status and the text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
