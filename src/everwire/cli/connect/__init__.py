"""``everwire connect``: a WebSocket client for people at a terminal, and for scripts."""
