"""URLs of engines: what may be shown of them."""

from __future__ import annotations

import re

__all__ = ["without_secrets"]

BEGINNING = re.compile(r"[a-z+]*:(?://)?")


def without_secrets(url: str) -> str:
    """A URL as it may be in a message: without who we are, which ends with the last @, and without options.

    It need not be right: a password may have characters in it that it should not.
    """
    place, _, query = url.partition("?")
    beginning = BEGINNING.match(place)
    shown = beginning.group() if beginning else ""
    if "@" in query:
        # Nobody knows whether that is an option, or the end of a password with a question mark.
        return f"{shown}..."
    _, at, host = place.rpartition("@")
    return f"{shown}{host}" if at else place
