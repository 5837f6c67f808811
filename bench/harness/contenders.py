"""Who is measured: our servers and clients, and those of others, each with its best settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from .arguments import BACKLOG, MAX_SIZE
from .loads import Variant

Runtime = Literal["python", "node", "bun"]

ALL: frozenset[Variant] = frozenset({"plain", "tls", "deflate"})
NO_DEFLATE: frozenset[Variant] = frozenset({"plain", "tls"})
PLAIN: frozenset[Variant] = frozenset({"plain"})


FLAGS: Mapping[Variant, tuple[str, ...]] = {
    "tls": ("--tls", "{certificate}", "{key}"),
    "deflate": ("--deflate",),
}
"""What the scripts in servers/ and peers/ understand."""


class Server(NamedTuple):
    name: str
    runtime: Runtime
    words: tuple[str, ...]
    """The command after the interpreter; paths are relative to bench/."""
    packages: tuple[str, ...]
    """From PyPI or npm, by the runtime; none means everwire itself."""
    variants: frozenset[Variant] = ALL
    flags: Mapping[Variant, tuple[str, ...]] = FLAGS
    mine: bool = False
    """Whether it is everwire with packages of others about it."""

    @property
    def ours(self) -> bool:
        return self.mine or not self.packages

    def command(self, variant: Variant) -> tuple[str, ...]:
        """The words of the command, with {port}, {certificate} and {key} left to fill in."""
        return (*self.words, *self.flags.get(variant, ()))


def _python(
    name: str, script: str, *packages: str, variants: frozenset[Variant] = ALL, flag: str = ""
) -> Server:
    return Server(name, "python", (script, "{port}", *filter(None, [flag])), packages, variants)


def _uvicorn(name: str, protocol: str, *packages: str, mine: bool = False) -> Server:
    words = (
        *("-m", "uvicorn", "--app-dir", "peers", "asgi_app:app", "--port", "{port}", "--loop", "uvloop"),
        *("--ws", protocol, "--ws-max-size", str(MAX_SIZE), "--backlog", str(BACKLOG)),
        *("--log-level", "error"),
    )
    plain = ("--ws-per-message-deflate", "false")
    tls = (*plain, "--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}")
    flags: Mapping[Variant, tuple[str, ...]] = {
        "plain": plain,
        "tls": tls,
        "deflate": ("--ws-per-message-deflate", "true"),
    }
    return Server(name, "python", words, packages, flags=flags, mine=mine)


SERVERS = (
    _python("callbacks", "servers/callbacks.py"),
    _python("callbacks-asyncio", "servers/callbacks.py", flag="--asyncio"),
    _python("coroutines", "servers/coroutines.py"),
    _python("coroutines-asyncio", "servers/coroutines.py", flag="--asyncio"),
    _python("picows", "peers/picows_server.py", "picows", variants=NO_DEFLATE),
    _python("picows-asyncio", "peers/picows_server.py", "picows", variants=NO_DEFLATE, flag="--asyncio"),
    _python("picows.websockets", "peers/picows_websockets_server.py", "picows"),
    _python("websockets", "peers/websockets_server.py", "websockets"),
    _python("aiohttp", "peers/aiohttp_server.py", "aiohttp", "zlib-ng"),
    _python("socketify", "peers/socketify_server.py", "socketify"),
    Server(
        "asgi",
        "python",
        (
            *("-m", "everwire.cli", "serve", "asgi_app:app", "--app-dir", "peers", "--port", "{port}"),
            *("--loop", "uvloop", "--max-size", str(MAX_SIZE), "--no-access-log", "--log-level", "error"),
        ),
        ("uvicorn", "httptools", "typer", "rich"),
        flags={
            "plain": ("--no-compression",),
            "tls": ("--no-compression", "--ssl-cert", "{certificate}", "--ssl-key", "{key}"),
            "deflate": (),
        },
        mine=True,
    ),
    _uvicorn("uvicorn-everwire", "everwire.asgi:UvicornProtocol", "uvicorn", "httptools", mine=True),
    _uvicorn("uvicorn", "websockets-sansio", "uvicorn", "httptools", "websockets"),
    Server(
        "granian",
        "python",
        (
            *(
                "-m",
                "granian",
                "--working-dir",
                "peers",
                "--interface",
                "asgi",
                "asgi_app:app",
                "--port",
                "{port}",
            ),
            *("--loop", "uvloop", "--backlog", str(BACKLOG), "--log-level", "error"),
        ),
        ("granian",),
        NO_DEFLATE,
        flags={"tls": ("--ssl-certificate", "{certificate}", "--ssl-keyfile", "{key}")},
    ),
    Server("node-ws", "node", ("peers/node_ws_server.js", "{port}"), ("ws",)),
    Server("bun", "bun", ("peers/bun_server.js", "{port}"), ("bun",)),
)


class Client(NamedTuple):
    name: str
    script: str
    packages: tuple[str, ...]
    plain_asyncio: bool = False
    blocking: bool = False
    """Whether it is for threads, and measured under the loads for those."""

    @property
    def ours(self) -> bool:
        return not self.packages


CLIENTS = tuple(
    Client(name + ("-asyncio" if plain_asyncio else ""), f"clients/{script}.py", packages, plain_asyncio)
    for name, script, packages in (
        ("everwire", "everwire_client", ()),
        ("picows", "picows_client", ("picows",)),
        ("picows.websockets", "picows_websockets_client", ("picows",)),
        ("websockets", "websockets_client", ("websockets",)),
        ("aiohttp", "aiohttp_client", ("aiohttp",)),
    )
    for plain_asyncio in (False, True)
) + tuple(
    Client(name, f"clients/{script}.py", packages, blocking=True)
    for name, script, packages in (
        ("everwire.sync", "everwire_sync_client", ()),
        ("websockets.sync", "websockets_sync_client", ("websockets",)),
        ("websocket-client", "websocket_client_client", ("websocket-client",)),
    )
)

CLIENTS_SERVER = ("bun", "node-ws", "picows")
"""What the clients talk to: the first of these that is there."""
