"""WebSockets for programs with threads: ``connect`` and ``serve``, whose connections need no event loop.

::

    with everwire.sync.connect("ws://127.0.0.1:8080") as ws:
        ws.send("hello")
        print(ws.recv(timeout=5))
"""

from everwire.sync.client import connect
from everwire.sync.connection import Connection, PingFuture
from everwire.sync.server import Server, serve

__all__ = ["Connection", "PingFuture", "Server", "connect", "serve"]
