"""Keys from an address, which change."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from channels.keys import SECRET, pair
from everwire.channels import jwks
from everwire.channels.jwks import KeySet
from everwire.channels.keys import Keys
from everwire.channels.signing import Signer
from everwire.channels.tokens import TokenOptions, Verifier
from everwire.errors import CommandError, TokenError

Answer = tuple[int, dict[str, str], bytes]


class Address:
    """A server of a key set: what it answers, and how often it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked = 0
        self.answer: Answer = (200, {}, b"{}")

    def serve(self, *keys: dict[str, Any]) -> None:
        self.answer = (200, {}, json.dumps({"keys": keys}).encode())


@contextmanager
def address() -> Iterator[Address]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked += 1
            status, headers, body = here.answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = Address(f"http://127.0.0.1:{server.server_port}/jwks")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed(which: int, algorithm: str = "ES256", id: str = "") -> str:
    return Signer(pair(algorithm, which).private, algorithm, id=id or f"k{which}").connection("42")


def test_keys_are_fetched_once_and_again_for_one_not_known() -> None:
    now = 0.0

    async def main(here: Address) -> None:
        nonlocal now
        verifier = Verifier(TokenOptions(token_jwks_public_endpoint=here.url))
        verifier.key_set = KeySet(here.url, cooldown=10, clock=lambda: now)
        here.serve(pair("ES256", 0).jwk("k0"))
        # Many at once wait for one fetch.
        await asyncio.gather(*(verifier.connection(signed(0)) for _ in range(5)))
        assert here.asked == 1
        here.serve(pair("ES256", 1).jwk("k1"))
        with pytest.raises(TokenError, match="names a key that is not at"):
            await verifier.connection(signed(1))
        assert here.asked == 1, "not within the cooldown"
        now = 11
        await verifier.connection(signed(1))
        assert here.asked == 2
        with pytest.raises(TokenError):
            await verifier.connection(signed(0))

    with address() as here:
        asyncio.run(main(here))


def test_keys_that_are_old_are_fetched_anew_and_kept_while_that_fails() -> None:
    now = 0.0

    async def main(here: Address) -> None:
        nonlocal now
        verifier = Verifier(TokenOptions(token_jwks_public_endpoint=here.url))
        verifier.key_set = KeySet(here.url, lifetime=3600, clock=lambda: now)
        here.serve(pair("ES256", 0).jwk("k0"))
        await verifier.connection(signed(0))
        here.answer = (500, {}, b"")
        now = 4000
        await verifier.connection(signed(0))
        assert here.asked == 2
        here.serve(pair("ES256", 1).jwk("k1"))
        now = 4020
        with pytest.raises(TokenError):
            await verifier.connection(signed(0))

    with address() as here:
        asyncio.run(main(here))


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b""),
        (200, {}, b"no json"),
        (200, {}, b"{}"),
        (200, {}, b'{"keys":7}'),
        (200, {}, b'{"keys":[7,{"kty":"oct","k":"AAAA"}]}'),
        (200, {}, b" " * (jwks.MAX_SIZE + 1)),
        (302, {"Location": "file:///etc/hostname"}, b""),
    ],
)
def test_without_keys_clients_are_to_come_back(answer: Answer) -> None:
    async def main(here: Address) -> None:
        here.answer = answer
        verifier = Verifier(TokenOptions(token_jwks_public_endpoint=here.url))
        with pytest.raises(CommandError) as caught:
            await verifier.connection(signed(0))
        assert (caught.value.code, caught.value.temporary) == (100, True)

    with address() as here:
        asyncio.run(main(here))


def test_a_set_in_a_file_and_a_secret_beside(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [pair("RS256").jwk("r"), pair("EdDSA").jwk("e", alg="EdDSA")]}))
    verifier = Verifier(TokenOptions(token_hmac_secret_key=SECRET, token_jwks_public_endpoint=path.as_uri()))

    async def main() -> None:
        for token in (
            Signer(SECRET).connection("42"),
            Signer(pair("RS256").private, "RS512", id="r").connection("42"),
            Signer(pair("RS256").private, "RS256").connection("42"),
            Signer(pair("EdDSA").private, "EdDSA", id="e").connection("42"),
        ):
            assert (await verifier.connection(token)).user == "42"
        with pytest.raises(TokenError, match="names a key that is not at"):
            await verifier.connection(Signer(pair("RS256").private, "RS256", id="x").connection("42"))

    asyncio.run(main())


def test_keys_of_a_set_that_are_not_for_signatures_are_left_out() -> None:
    jwk = pair("ES256").jwk("k")
    for broken in ({"use": "enc"}, {"alg": "ES512"}, {"kty": "oct"}, {"kty": 7}, {"x": "AA"}, {"crv": "P-1"}):
        keys = Keys()
        assert not keys.add_jwk({**jwk, **broken})
        assert not keys
