"""Centrifugo as a peer: its configurations for the scenes, and its process."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from commands import Program, serving

from sdk.stage import API_KEY, SECRET

__all__ = ["NAMESPACES", "PROFILES", "centrifugo", "configuration", "everwire"]

TESTS = Path(__file__).parents[1]

LOG: dict[str, Any] = {
    "history_size": 5,
    "history_ttl": "300s",
    "allow_subscribe_for_client": True,
    "allow_publish_for_subscriber": True,
    "allow_history_for_subscriber": True,
}

NAMESPACES: dict[str, dict[str, Any]] = {
    "free": {"allow_subscribe_for_client": True},
    "closed": {},
    "anyone": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True},
    "loud": {"allow_subscribe_for_client": True, "allow_publish_for_subscriber": True},
    "pub": {"allow_subscribe_for_client": True, "allow_publish_for_client": True},
    "log": {**LOG, "force_recovery": True, "presence": True, "allow_presence_for_subscriber": True},
    "mute": {
        **LOG,
        "force_recovery": True,
        "presence": True,
        "allow_history_for_subscriber": False,
    },
    "quiet": LOG,
    "big": {**LOG, "history_size": 1000, "force_recovery": True},
    "pos": {**LOG, "force_positioning": True},
    "ask": {**LOG, "allow_recovery": True, "allow_positioning": True},
    "cache": {**LOG, "history_size": 1, "force_recovery": True, "force_recovery_mode": "cache"},
    "auto": {
        **LOG,
        "history_size": 1,
        "force_recovery": True,
        "force_recovery_mode": "cache",
        "auto_cache_recover": True,
    },
    "jl": {
        "allow_subscribe_for_client": True,
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
    },
    "jlask": {
        "allow_subscribe_for_client": True,
        "presence": True,
        "join_leave": True,
        "allow_presence_for_subscriber": True,
    },
    "delta": {**LOG, "force_recovery": True, "allowed_delta_types": ["fossil"], "delta_publish": True},
    "deltaask": {**LOG, "force_recovery": True, "allowed_delta_types": ["fossil"]},
    "tags": {**LOG, "force_recovery": True, "allow_tags_filter": True},
    "both": {
        **LOG,
        "force_recovery": True,
        "allow_tags_filter": True,
        "allowed_delta_types": ["fossil"],
    },
    "limited": {"allow_user_limited_channels": True},
}
"""The options of each namespace, by Centrifugo's names. What is not named is off."""

PROFILES: dict[str, dict[str, Any]] = {
    "main": {},
    "open": {"allow_anonymous_connect_without_token": True},
    "insecure": {"insecure": True},
    "personal": {"subscribe_to_user_personal_channel": {"enabled": True}},
    "hasty": {"expired_close_delay": "1s", "expired_sub_close_delay": "1s", "presence_update_interval": "1s"},
    "few": {"channel_limit": 3, "history_max_publication_limit": 3, "recovery_max_publication_limit": 3},
}
"""What differs for the connections of each configuration."""


def configuration(profile: str, port: int) -> dict[str, Any]:
    """A configuration file of Centrifugo."""
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "none"},
        "client": {"token": {"hmac_secret_key": SECRET}, **PROFILES[profile]},
        "http_api": {"key": API_KEY},
        "channel": {"namespaces": [{"name": name, **options} for name, options in NAMESPACES.items()]},
    }


@contextlib.contextmanager
def centrifugo(program: Path, profile: str, directory: Path) -> Iterator[str]:
    """Run Centrifugo with a profile; its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = directory / f"{profile}.json"
    path.write_text(json.dumps(configuration(profile, port)))
    base = f"http://127.0.0.1:{port}"
    with Program([program, f"--config={path}"]) as running:
        deadline = time.monotonic() + 10
        while not answers(base):
            assert running.process.poll() is None, running.output
            assert time.monotonic() < deadline, f"{program} does not listen on {base}"
            time.sleep(0.05)
        yield base


@contextlib.contextmanager
def everwire(profile: str) -> Iterator[str]:
    """Run ``everwire serve`` with a profile; its base URL."""
    with serving(f"sdk.hubs:{profile}", "--app-dir", str(TESTS)) as (_, base):
        yield base


def answers(base: str) -> bool:
    """Whether there is a server."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(base, trust_env=False).status_code > 0
    return False
