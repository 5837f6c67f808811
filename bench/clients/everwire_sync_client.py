"""everwire.sync as a client."""

from __future__ import annotations

from harness.blocking import drive

import everwire

drive(lambda uri: everwire.sync.connect(uri, compression=None).open())
