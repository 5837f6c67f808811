"""The command line of every Python server of the benchmark: PORT [--asyncio] [--tls CERT KEY] [--deflate]."""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any, NamedTuple

MAX_SIZE = 2**26
BACKLOG = 4096


class Arguments(NamedTuple):
    port: int
    plain_asyncio: bool
    certificate: tuple[str, str] | None
    deflate: bool

    @property
    def ssl(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.certificate)
        return context

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        if self.plain_asyncio:
            asyncio.run(main)
        else:
            import uvloop

            uvloop.run(main)


def parse() -> Arguments:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--asyncio", action="store_true", dest="plain_asyncio")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), dest="certificate")
    parser.add_argument("--deflate", action="store_true")
    return Arguments(**vars(parser.parse_args()))
