"""The browser's API in Python: ``WebSocket`` and ``WebSocketStream``, as the WHATWG standard has them."""
