"""websockets.sync as a client."""

from __future__ import annotations

from harness.blocking import drive
from websockets.sync.client import connect

drive(lambda uri: connect(uri, compression=None))
