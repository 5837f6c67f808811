"""WebSockets carried by plain HTTP requests: long polling, server-sent events, HTTP streaming."""

from everwire.transports.tunnel.middleware import TunnelMiddleware

__all__ = ["TunnelMiddleware"]
