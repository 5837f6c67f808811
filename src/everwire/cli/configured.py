"""The hubs of ``everwire serve``: that of ``--config FILE``, and without a file one for development."""

from __future__ import annotations

import os
from typing import NamedTuple

from everwire.channels.config import load_config
from everwire.channels.options import ChannelOptions
from everwire.cli.settings import Settings
from everwire.errors import ConfigError
from everwire.hub import Hub

__all__ = ["CONFIG", "Development", "development_hub", "hub"]

CONFIG = "EVERWIRE_CONFIG"
"""The environment variable that says where the configuration is."""

ALL_CHANNELS = "{channel:path}"
EVERYTHING = ChannelOptions(
    history=1000,
    ttl=3600.0,
    presence=True,
    join_leave=True,
    allow_subscribe_for_client=True,
    allow_publish_for_client=True,
    allow_presence_for_client=True,
    allow_history_for_client=True,
)
"""What the channels of a hub for development can do."""


def hub() -> Hub:
    """Make the hub of the configuration; processes that serve it find it here.

    Raises:
        ConfigError: the configuration cannot be read, or says something that it cannot mean.
    """
    return Hub.from_config(os.environ[CONFIG])


class Development(NamedTuple):
    """The hub for development.

    Attributes:
        hub: the hub.
        unasked: whether it is insecure without anybody having said that it is to be.
    """

    hub: Hub
    unasked: bool


def development_hub(settings: Settings, *, insecure: bool) -> Development:
    """Make a hub with channels of any name, which all have history and presence.

    In memory, and on this machine alone, everybody may do everything there. Where others can reach it, or it
    keeps its logs elsewhere, nobody may who has no token, unless *insecure* says so. What the environment
    configures (``EVERWIRE_ENGINE``, ``EVERWIRE_TOKEN_HMAC_SECRET_KEY`` and so on) is as it says there; with a
    key for tokens, tokens are asked for in any case.

    Raises:
        ConfigError: the environment says something that it cannot mean.
    """
    options = load_config(None).hub_options()
    asked = insecure or options["insecure"]
    by_token = any(name.startswith("token_") for name in options)
    harmless = settings.is_local and options["engine"] in (None, "", "memory:")
    options["insecure"] = asked or (harmless and not by_token)
    if options.get("allow_anonymous_connect_without_token") is None:
        options["allow_anonymous_connect_without_token"] = False
    options.setdefault("origins", settings.origins)
    try:
        made = Hub(**options)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"environment: {error}") from None
    made.add_channels(ALL_CHANNELS, EVERYTHING)
    return Development(made, made.insecure and not asked)
