"""websocket-client as a client."""

from __future__ import annotations

import socket

from harness.blocking import drive
from websocket import create_connection

drive(lambda uri: create_connection(uri, sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)))
