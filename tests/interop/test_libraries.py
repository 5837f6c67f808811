"""everwire and other libraries, each as the client and as the server of the other."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from conftest import Certificates, Run
from live import HOST, echo

import everwire
from interop.conftest import LIBRARIES, both_ways
from interop.peers.messages import Digest, Message
from interop.peers.remote import Ended, PeerError, controlling
from interop.sides import GENEROUS, SIDES, Pair, connected

FRAGMENTING = [library for library in LIBRARIES if library != "aiohttp"]
"""The libraries that can send fragments."""

COMPRESSING = [library for library in LIBRARIES if library != "picows"]
"""The libraries that know permessage-deflate."""

CONFIGURABLE = ["websockets", "ws"]
"""Those that let one choose its parameters."""

ANSWERING_1000 = ["aiohttp"]
"""Those that answer every close frame with 1000, and may forget which code came in answer to theirs."""

OFFERS_NOT_HONOURED = ["picows.websockets"]
"""Those whose servers agree to any offer of compression, and to none of its parameters."""

every_side = pytest.mark.parametrize("side", SIDES)

# Lengths at which the header of a frame changes its form (RFC 6455, section 5.2) are among them.
LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 125, 126, 127, 128, 1000, 65_535, 65_536, 65_537, 200_001)

TEXTS = (
    "",
    "hello",
    "Grüße, 你好, 👋🏽 🎉",
    "\x00\x7f\x80\u07ff\u0800\uffff\U0010ffff",
    "ä" * 63,
    "€" * 40_000,
)

NOISE = random.Random(7).randbytes(1 << 18)


def as_received(message: Message) -> Message | Digest:
    """What a peer reports of a message: the digest if it is large."""
    size = len(message) if isinstance(message, bytes) else len(message.encode())
    return message if size <= 1 << 16 else Digest.of(message)


async def exchange(pair: Pair, messages: list[Message]) -> None:
    """Have the messages sent by the peer and sent back by us, all at once, and look at them on both ends."""
    sending = asyncio.create_task(pair.theirs.send(*messages))
    receiving = asyncio.create_task(pair.theirs.receive(len(messages)))
    for message in messages:
        [received] = await pair.ours.receive()
        assert type(received) is type(message)
        assert received == message
        await pair.ours.send(received)
    await sending
    assert await receiving == [as_received(message) for message in messages]


@pytest.mark.loops("asyncio", "uvloop")
@both_ways
@every_side
def test_messages(run: Run, port: int, library: str, side: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            assert pair.theirs.extensions == ""
            assert (pair.ours.ws.subprotocol, pair.theirs.subprotocol) == (None, None)
            await exchange(pair, [NOISE[:length] for length in LENGTHS] + list(TEXTS))

    run(main)


@pytest.mark.loops("asyncio", "uvloop")
@both_ways
@every_side
def test_many_messages_on_their_way_at_once(run: Run, port: int, library: str, side: str) -> None:
    messages: list[Message] = [f"{i}" if i % 3 else f"{i}".encode() * (i % 50) for i in range(3000)]

    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            await exchange(pair, messages)
            # And with nobody receiving before all are sent.
            await pair.ours.send(*messages)
            assert await pair.theirs.receive(len(messages)) == messages

    run(main)


@both_ways
@every_side
def test_tls(run: Run, port: int, library: str, side: str, certificates: Certificates) -> None:
    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(side, peer, certificates=certificates) as pair,
        ):
            assert pair.ours.ws.ssl_object is not None
            await exchange(pair, ["text", b"", NOISE, b"binary"] * 3)
            await pair.theirs.close(4000, "done")
            assert await pair.ours.ended() == Ended(4000, "done")

    run(main)


@both_ways
@pytest.mark.parametrize("style", ["coroutine", "listener"])
def test_the_server_speaks_at_once_and_leaves(run: Run, port: int, library: str, style: str) -> None:
    messages: list[Message] = [f"{i}" for i in range(100)]

    async def speak(ws: everwire.Connection) -> None:
        for message in messages:
            await ws.send(message)
        await ws.close(4000, "that was all")

    class Speaker(everwire.Listener):
        def on_open(self, ws: everwire.Connection) -> None:
            for message in messages:
                ws.send_nowait(message)
            ws.close(4000, "that was all")

    async def main() -> None:
        handler = speak if style == "coroutine" else Speaker()
        async with controlling(port) as peer, everwire.serve(handler, HOST, 0, **GENEROUS) as server:
            theirs = await peer.connect(f"ws://{HOST}:{server.port}/")
            assert await theirs.receive(100) == messages
            assert await theirs.ended() == Ended(4000, "that was all")

    run(main)


@both_ways
@every_side
@pytest.mark.parametrize("library", FRAGMENTING)
@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
def test_fragments_from_them(run: Run, port: int, library: str, side: str, compression: str | None) -> None:
    text = "Grüße, 你好, 👋🏽 🎉 " * 50
    fragmented: list[list[Message]] = [
        list(text),
        ["", "one", "", "two", ""],
        [b"", b"", b""],
        [NOISE[i : i + 9973] for i in range(0, len(NOISE), 9973)],
        [NOISE[:70_000], b"x", NOISE[:70_000]],
        [b"only one"],
    ]
    theirs = {"compression": {}} if compression and library in COMPRESSING else {}

    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(side, peer, compression=compression, theirs=theirs) as pair,
        ):
            for parts in fragmented:
                await pair.theirs.send_fragments(parts)
                # Nothing of it stays behind for the message after it.
                await pair.theirs.send("between")
                whole = "".join(parts) if isinstance(parts[0], str) else b"".join(parts)  # type: ignore[arg-type]
                assert await pair.ours.receive(2) == [whole, "between"]

    run(main)


@pytest.mark.parametrize("side", ["server-coroutine", "client-coroutine"])
@pytest.mark.parametrize("compression", [None, "deflate"], ids=["plain", "deflate"])
def test_fragments_from_us(run: Run, port: int, library: str, side: str, compression: str | None) -> None:
    text = "Grüße, 你好, 👋🏽 🎉 "
    theirs = {"compression": {}} if compression and library in COMPRESSING else {}

    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(side, peer, compression=compression, theirs=theirs) as pair,
        ):
            ws = pair.ours.ws
            await ws.send(list(text))
            await ws.send([""])
            await ws.send([b"", b"one", b"", b"two"])
            await ws.send(NOISE[i : i + 9973] for i in range(0, 60_000, 9973))
            await ws.send("after")
            large = as_received(NOISE[: 7 * 9973])
            assert await pair.theirs.receive(5) == [text, "", b"onetwo", large, "after"]

    run(main)


@both_ways
@every_side
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1011, "broken"), (3000, "r"), (4999, "adiós, 再见 👋")]
)
def test_we_close(run: Run, port: int, library: str, side: str, code: int, reason: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            await pair.ours.send("the last word")
            await pair.ours.ws.close(code, reason)
            assert await pair.theirs.receive() == ["the last word"]
            assert await pair.theirs.ended() == Ended(code, reason)
            # The code of a connection is the one that has come (RFC 6455, section 7.1.5).
            assert (await pair.ours.ended()).code == (1000 if library in ANSWERING_1000 else code)
            assert pair.ours.ws.closed

    run(main)


@both_ways
@every_side
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1011, "broken"), (3000, "r"), (4999, "adiós, 再见 👋")]
)
def test_they_close(run: Run, port: int, library: str, side: str, code: int, reason: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            await pair.theirs.send("the last word")
            await pair.theirs.close(code, reason)
            assert await pair.ours.receive() == ["the last word"]
            assert await pair.ours.ended() == Ended(code, reason)
            if library not in ANSWERING_1000:
                assert (await pair.theirs.ended()).code == code
            with pytest.raises(everwire.ConnectionClosed) as caught:
                await pair.ours.ws.send("too late")
            kind = everwire.ConnectionClosedOK if code == 1000 else everwire.ConnectionClosedError
            assert isinstance(caught.value, kind)

    run(main)


@every_side
def test_both_close_at_once(run: Run, port: int, library: str, side: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            async with asyncio.TaskGroup() as both:
                both.create_task(pair.theirs.close(4001, "theirs"))
                both.create_task(pair.ours.ended())
                pair.ours.ws.close(4002, "ours")
            possible = {4001, 4002, 1000} if library in ANSWERING_1000 else {4001, 4002}
            assert (await pair.theirs.ended()).code in possible
            assert (await pair.ours.ended()).code in possible

    run(main)


@both_ways
@every_side
def test_pings(run: Run, port: int, library: str, side: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            for data in ("x", "a" * 125):
                await pair.theirs.ping(data)
            for data in (b"", b"\xff\x00", b"a" * 125):
                assert 0 < await pair.ours.ws.ping(data) < 10
            # Several on their way, with messages between them.
            pings = [pair.ours.ws.ping(f"{i}".encode()) for i in range(5)]
            await pair.ours.send("between")
            await asyncio.gather(*pings, pair.theirs.ping("crossing"))
            assert await pair.theirs.receive() == ["between"]

    run(main)


@every_side
@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        (["chat.v1"], ["chat.v1", "chat.v0"], "chat.v1"),
        (["other", "chat.v0"], ["chat.v1", "chat.v0"], "chat.v0"),
        (["chat.v1"], [], None),
        ([], ["chat.v1"], None),
    ],
)
def test_subprotocols(
    run: Run,
    port: int,
    library: str,
    side: str,
    client: list[str],
    server: list[str],
    chosen: str | None,
) -> None:
    ours, theirs = (server, client) if side.startswith("server") else (client, server)

    async def main() -> None:
        async with controlling(port) as peer:
            theirs_only = {"subprotocols": theirs or None}
            async with connected(side, peer, subprotocols=ours, theirs=theirs_only) as pair:
                assert pair.ours.ws.subprotocol == chosen
                assert pair.theirs.subprotocol == chosen
                await exchange(pair, ["agreed"])

    # Without a subprotocol in common, some do not want to go on.
    if library == "ws" and side.startswith("server") and client and not chosen:
        with pytest.raises(PeerError, match="no subprotocol"):
            run(main)
    elif library == "websockets" and side.startswith("client") and not client:
        with pytest.raises(everwire.InvalidStatus, match="400"):
            run(main)
    else:
        run(main)


async def _compressed(pair: Pair) -> None:
    words = b"the quick brown fox jumps over the lazy dog "
    random_words = random.Random(3)
    long = b"".join(random_words.choices([words, NOISE[:40], b"\0" * 100, NOISE[100:5000]], k=60))
    messages: list[Message] = [
        words,
        words,
        words.decode() * 2000,
        b"",
        "",
        NOISE[:40_000],
        NOISE[:40_000],
        long,
        long,
        "x",
        b"\0" * 300_000,
        words * 5,
    ]
    await exchange(pair, messages)


@both_ways
@every_side
@pytest.mark.parametrize("takeover", [False, True], ids=["alone", "takeover"])
@pytest.mark.parametrize("library", COMPRESSING)
def test_compression(run: Run, port: int, library: str, side: str, takeover: bool) -> None:
    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(
                side,
                peer,
                compression=everwire.Deflate(context_takeover=takeover, threshold=0),
                theirs={"compression": {}},
            ) as pair,
        ):
            header = agreed(pair)
            assert header.startswith("permessage-deflate")
            # The first offer is always without it; a server may take the second.
            ignored = side.startswith("client") and library in OFFERS_NOT_HONOURED
            assert ("server_no_context_takeover" in header) == (not takeover and not ignored)
            await _compressed(pair)

    run(main)


PARAMETERS: list[dict[str, Any]] = [
    {"server_max_window_bits": 8},
    {"client_max_window_bits": 8},
    {"server_max_window_bits": 9},
    {"client_max_window_bits": 9},
    {"server_max_window_bits": 10, "client_max_window_bits": 12},
    {"server_no_context_takeover": True},
    {"client_no_context_takeover": True},
    {"server_no_context_takeover": True, "client_max_window_bits": 9},
]


def _name(parameters: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in parameters.items())


@every_side
@pytest.mark.parametrize("whose", ["ours", "theirs"])
@pytest.mark.parametrize(
    ("library", "parameters"),
    # 8 is a window that websockets does not know.
    [(each, one) for each in CONFIGURABLE for one in PARAMETERS if each == "ws" or 8 not in one.values()],
    ids=lambda value: _name(value) if isinstance(value, dict) else value,
)
def test_parameters_of_compression(
    run: Run, port: int, library: str, side: str, whose: str, parameters: dict[str, Any]
) -> None:
    mine = {"context_takeover": True, "threshold": 0, **(parameters if whose == "ours" else {})}

    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(
                side,
                peer,
                compression=everwire.Deflate(**mine),
                theirs={"compression": parameters if whose == "theirs" else {}},
            ) as pair,
        ):
            header = agreed(pair)
            for name, value in parameters.items():
                assert (name if value is True else f"{name}={value}") in header
            await _compressed(pair)

    run(main)


def agreed(pair: Pair) -> str:
    """The extensions in the response, as the client has seen them."""
    response = pair.ours.ws.response
    return (
        pair.theirs.extensions if response is None else response.headers.get("Sec-WebSocket-Extensions", "")
    )


@every_side
@pytest.mark.parametrize("who", ["we", "they"])
@pytest.mark.parametrize("library", COMPRESSING)
def test_one_end_does_not_compress(run: Run, port: int, library: str, side: str, who: str) -> None:
    async def main() -> None:
        async with (
            controlling(port) as peer,
            connected(
                side,
                peer,
                compression=None if who == "we" else everwire.Deflate(threshold=0),
                theirs={"compression": {} if who == "we" else None},
            ) as pair,
        ):
            assert agreed(pair) == ""
            await exchange(pair, ["plain " * 1000, b"plain " * 1000])

    run(main)


@pytest.mark.parametrize("side", SIDES)
def test_connections_at_once(run: Run, port: int, library: str, side: str) -> None:
    async def main() -> None:
        role, style = side.split("-")

        class Back(everwire.Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                ws.send_nowait(message)

        async with controlling(port) as peer:
            if role == "server":
                handler = echo if style == "coroutine" else Back()
                async with everwire.serve(handler, HOST, 0, **GENEROUS) as server:
                    uri = f"ws://{HOST}:{server.port}/"
                    theirs = await asyncio.gather(*(peer.connect(uri) for _ in range(40)))
                    assert len(server.connections) == 40
                    for n in range(3):
                        await asyncio.gather(*(one.send(f"{i} {n}") for i, one in enumerate(theirs)))
                    received = await asyncio.gather(*(one.receive(3) for one in theirs))
                    assert received == [[f"{i} {n}" for n in range(3)] for i in range(40)]
                    await asyncio.gather(*(one.close(1000, "") for one in theirs))
                return
            uri = f"ws://{HOST}:{await peer.listen()}/"
            clients = await asyncio.gather(
                *(everwire.connect(uri, proxy=None, compression=None, **GENEROUS) for _ in range(40))
            )
            theirs = [await peer.accept() for _ in clients]
            for n, client in enumerate(clients):
                await client.send(f"{n}")
            numbers = [int(str((await one.receive())[0])) for one in theirs]
            assert sorted(numbers) == list(range(40))
            await asyncio.gather(*(one.send(f"for {n}") for n, one in zip(numbers, theirs, strict=True)))
            assert [await client.recv() for client in clients] == [f"for {n}" for n in range(40)]
            await asyncio.gather(*(client.close() for client in clients))

    run(main)


@both_ways
@every_side
def test_a_peer_that_vanishes(run: Run, port: int, library: str, side: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, connected(side, peer) as pair:
            pair.ours.ws.abort()
            assert (await pair.theirs.ended()).code == 1006
            assert (await pair.ours.ended()).code == 1006

    run(main)


def test_a_refusal(run: Run, port: int, library: str) -> None:
    def refuse(ws: everwire.Connection, request: everwire.Request) -> everwire.Response:
        return everwire.Response.of(418, "short and stout\n")

    async def main() -> None:
        async with (
            controlling(port) as peer,
            everwire.serve(echo, HOST, 0, process_request=refuse) as server,
        ):
            with pytest.raises(PeerError, match="418"):
                await peer.connect(f"ws://{HOST}:{server.port}/")

    run(main)


def test_origins(run: Run, port: int, library: str) -> None:
    async def main() -> None:
        async with controlling(port) as peer, everwire.serve(echo, HOST, 0) as server:
            here = f"{HOST}:{server.port}"
            theirs = await peer.connect(f"ws://{here}/", origin=f"http://{here}")
            await theirs.send("same origin")
            assert await theirs.receive() == ["same origin"]
            with pytest.raises(PeerError, match="403"):
                await peer.connect(f"ws://{here}/", origin="http://elsewhere.example")

    run(main)
