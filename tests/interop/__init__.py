"""everwire and other WebSocket implementations, proxies and clients: real programs, no mocks."""
