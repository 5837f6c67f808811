"""The header with which a client sends a user name and a password."""

from everwire.websocket.auth import basic_authorization as build_authorization_basic

__all__ = ["build_authorization_basic"]
