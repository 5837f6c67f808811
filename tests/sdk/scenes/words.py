"""What scenes are made of: commands, and steps that many of them have."""

from __future__ import annotations

from typing import Any

from sdk.stage import Step

__all__ = ["back", "comes", "commands", "follows", "history", "join", "publish", "recovering", "user"]


def user(name: str, **claims: Any) -> dict[str, Any]:
    """A connect command with a token."""
    return {"connect": {"token": {"jwt": {"sub": f"{name}@", **claims}}}}


def join(*channels: str, **fields: Any) -> list[dict[str, Any]]:
    """Subscribe commands."""
    return [{"subscribe": {"channel": channel, **fields}} for channel in channels]


def publish(channel: str, *payloads: Any) -> list[dict[str, Any]]:
    """Publish commands."""
    return [{"publish": {"channel": channel, "data": payload}} for payload in payloads]


def history(channel: str, **fields: Any) -> dict[str, Any]:
    """A history command."""
    return {"history": {"channel": channel, **fields}}


def comes(client: str, *, as_user: str = "", **claims: Any) -> list[Step]:
    """A client opens a connection and connects as a user of the same name, or another."""
    return [("open", client), ("send", client, user(as_user or client, **claims))]


def commands(*sent: dict[str, Any]) -> list[Step]:
    """A client connects and sends commands, each in a frame."""
    return [*comes("a"), *(("send", "a", command) for command in sent)]


def recovering(channel: str, **fields: Any) -> dict[str, Any]:
    """A subscribe command that recovers."""
    return {"subscribe": {"channel": channel, "recover": True, **fields}}


def back(channel: str, *attempts: dict[str, Any], payloads: int = 3) -> list[Step]:
    """A log with publications, and attempts to recover it by one client after another."""
    steps = [*comes("w"), ("send", "w", *join(channel), *publish(channel, *range(1, payloads + 1)))]
    for number, attempt in enumerate(attempts):
        steps += [*comes(f"r{number}"), ("send", f"r{number}", recovering(channel, **attempt))]
    return steps


def follows(client: str, channel: str, **fields: Any) -> list[Step]:
    """A client connects and subscribes."""
    return [*comes(client), ("send", client, *join(channel, **fields))]
