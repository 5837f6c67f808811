"""The hubs that suites and scenes run against: ``everwire serve sdk.hubs:js``, ``python``, ``main`` ..."""

from __future__ import annotations

from typing import Any

from everwire.hub import Hub
from sdk.peer import NAMESPACES, PROFILES
from sdk.stage import API_KEY, SECRET

__all__ = ["make"]

OFF: dict[str, Any] = {
    "force_recovery": False,
    "force_positioning": False,
    "allow_tags_filter": False,
    "allow_presence_for_subscriber": False,
    "allow_presence_for_anonymous": False,
    "allow_history_for_subscriber": False,
    "allow_history_for_anonymous": False,
}
"""What is on in everwire unless it is said otherwise, and off in Centrifugo."""


def _js() -> Hub:
    """A hub as the tests of centrifuge-js need it."""
    log: dict[str, Any] = {"history": 100, "ttl": 300, "force_recovery": True}
    open_log = {**log, "allow_subscribe_for_client": True, "allow_publish_for_subscriber": True}
    delta: dict[str, Any] = {"allowed_delta_types": ["fossil"], "delta_publish": True}
    hub = Hub(insecure=True, token_hmac_secret_key="secret", api_key=API_KEY)
    hub.namespace("", presence=True, **delta, **log)
    hub.namespace("recovery", **open_log)
    hub.namespace("smallhistory", **{**open_log, "history": 2})
    hub.namespace("delta", **delta, **open_log)
    return hub


def _python() -> Hub:
    """A hub as the tests of centrifuge-python need it."""
    hub = Hub(token_hmac_secret_key="secret", user_personal_channel="")
    log: dict[str, Any] = {"ttl": 300, "allow_publish_for_subscriber": True}
    presence: dict[str, Any] = {"presence": True, "join_leave": True, "force_push_join_leave": True}
    hub.namespace("", history=100, allowed_delta_types=["fossil"], delta_publish=True, **presence, **log)
    hub.namespace("smallhistory", history=2, **log)
    return hub


def scenes(profile: str) -> Hub:
    """A hub as the scenes of a profile need it, configured as Centrifugo is for them."""
    options = dict(PROFILES[profile])
    options.pop("presence_update_interval", None)
    options.pop("expired_sub_close_delay", None)
    if "expired_close_delay" in options:
        options["expired_close_delay"] = seconds(options["expired_close_delay"])
    if options.pop("subscribe_to_user_personal_channel", None):
        options["user_personal_channel"] = ""
    options.setdefault("allow_anonymous_connect_without_token", False)
    hub = Hub(token_hmac_secret_key=SECRET, api_key=API_KEY, **options)
    hub.namespace("", **OFF)
    for name, theirs in NAMESPACES.items():
        known = {**OFF, **theirs}
        known["history"] = known.pop("history_size", 0)
        known["ttl"] = seconds(known.pop("history_ttl", "0s"))
        hub.namespace(name, **known)
    return hub


def seconds(duration: str) -> float:
    """A duration as Centrifugo writes it."""
    return float(duration.removesuffix("s"))


def make(profile: str) -> Hub:
    """The hub of a profile."""
    suites = {"js": _js, "python": _python}
    return suites[profile]() if profile in suites else scenes(profile)


def __getattr__(name: str) -> Hub:
    if name in PROFILES or name in ("js", "python"):
        return make(name)
    raise AttributeError(name)
