"""The hub of ``everwire serve --config FILE``: processes that serve it find it here."""

from __future__ import annotations

import os

from everwire.hub import Hub

__all__ = ["CONFIG", "hub"]

CONFIG = "EVERWIRE_CONFIG"
"""The environment variable that says where the configuration is."""


def hub() -> Hub:
    """Make the hub.

    Raises:
        ConfigError: the configuration cannot be read, or says something that it cannot mean.
    """
    return Hub.from_config(os.environ[CONFIG])
