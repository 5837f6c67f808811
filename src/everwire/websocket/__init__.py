"""The WebSocket library: handshake, connection, server and client."""
