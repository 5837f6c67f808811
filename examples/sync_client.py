"""A client without an event loop.

Run examples/echo_server.py first.
"""

import everwire

with everwire.sync.connect("ws://127.0.0.1:8765") as ws:
    ws.send("Hello, wire!")
    print(ws.recv(timeout=5))
    ws.send(bytes([0, 1, 2]))
    print(ws.recv(timeout=5))
    print(f"A ping takes {ws.ping().result(timeout=5) * 1000:.3f} ms.")
