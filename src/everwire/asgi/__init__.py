"""ASGI: WebSockets of Starlette, FastAPI, Django and others on everwire's connections."""

from everwire.asgi.gate import Gate
from everwire.asgi.host import Host, serve
from everwire.asgi.scope import connection
from everwire.asgi.uvicorn_protocol import UvicornProtocol
from everwire.errors import ApplicationError, ClientDisconnected, LifespanError

__all__ = [
    "ApplicationError",
    "ClientDisconnected",
    "Gate",
    "Host",
    "LifespanError",
    "UvicornProtocol",
    "connection",
    "serve",
]
