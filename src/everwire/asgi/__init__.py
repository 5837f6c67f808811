"""ASGI: WebSockets of Starlette, FastAPI, Django and others on everwire's connections."""

from everwire.asgi.gate import Gate
from everwire.asgi.scope import connection
from everwire.asgi.uvicorn_protocol import UvicornProtocol
from everwire.errors import ClientDisconnected

__all__ = ["ClientDisconnected", "Gate", "UvicornProtocol", "connection"]
