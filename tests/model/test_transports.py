"""Sessions beside a model, over every transport of a hub that is served."""

from __future__ import annotations

from hypothesis import settings

from model.machine import Sessions
from model.remote import RemoteWorld


class Transports(Sessions):
    """The same over real connections."""

    world_type = RemoteWorld


TestTransports = Transports.TestCase
TestTransports.settings = settings(max_examples=8, stateful_step_count=10)
