"""Differences between publications."""

from __future__ import annotations

from everwire.errors import WireError
from everwire.wire.codec import Codec
from everwire.wire.messages import Publication

__all__ = ["difference", "full_as_string"]


def full_as_string(codec: Codec, publication: Publication) -> Publication:
    """A publication as those get it who know differences, when it is sent whole."""
    raise WireError("differences are not known yet")


def difference(codec: Codec, previous: Publication, publication: Publication) -> Publication:
    """A publication as its difference from the one before it."""
    raise WireError("differences are not known yet")
