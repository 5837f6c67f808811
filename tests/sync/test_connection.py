"""Connections among threads: who receives, who sends, who closes, and peers that are slow or gone."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
from blocking import HOST, PATIENCE, Silent, connect, in_thread, pair, serve, silent_server, until
from conftest import Certificates
from hypothesis import given, settings
from hypothesis import strategies as st

from everwire import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from everwire.sync import Connection
from everwire.websocket.protocol import Closed, Message, Ping, Pong

BIG = b"x" * (1 << 20)


@pytest.fixture(params=["tcp", "tls"])
def secured(request: pytest.FixtureRequest, certificates: Certificates) -> dict[str, Any]:
    """Options of ``pair`` for a connection with and without TLS."""
    if request.param == "tcp":
        return {}
    return {"ssl": certificates.server, "client": {"ssl": certificates.client}}


def test_many_threads_send(secured: dict[str, Any]) -> None:
    threads, each = 8, 100
    with pair(**secured) as (ws, peer):

        def send(name: int) -> None:
            for i in range(each):
                ws.send(f"{name} {i} " + "x" * (i * 37 % 5000))

        sending = [in_thread(send, name) for name in range(threads)]
        got: dict[int, list[int]] = {name: [] for name in range(threads)}
        for _ in range(threads * each):
            name, i, padding = str(peer.recv(timeout=PATIENCE)).split(" ")
            assert len(padding) == int(i) * 37 % 5000
            got[int(name)].append(int(i))
        assert got == {name: list(range(each)) for name in range(threads)}
        for done in sending:
            done()


def test_both_ways_at_once(secured: dict[str, Any]) -> None:
    """Each side sends more than the system buffers, and receives meanwhile."""
    count = 30

    def send(ws: Connection) -> None:
        for _ in range(count):
            ws.send(BIG)

    def receive(ws: Connection) -> int:
        return sum(len(ws.recv(timeout=PATIENCE)) for _ in range(count))

    with pair(**secured) as ends:
        sending = [in_thread(send, ws) for ws in ends]
        receiving = [in_thread(receive, ws) for ws in ends]
        for done in sending:
            done()
        assert [done() for done in receiving] == [count * len(BIG)] * 2


def test_several_threads_receive() -> None:
    with pair() as (ws, peer):
        waiting = [in_thread(ws.recv, PATIENCE) for _ in range(4)]
        for number in "1234":
            peer.send(number)
        assert sorted(str(done()) for done in waiting) == ["1", "2", "3", "4"]


def test_closing_wakes_who_receives(secured: dict[str, Any]) -> None:
    with pair(**secured) as (ws, peer):
        waiting = in_thread(ws.recv)
        answering = in_thread(lambda: list(peer))
        until(lambda: ws.is_open)
        ws.close(4000, "enough")
        with pytest.raises(ConnectionClosedError) as caught:
            waiting()
        assert caught.value.sent == (4000, "enough")
        with pytest.raises(ConnectionClosedError):
            answering()
        assert peer.close_code == 4000


def test_closing_wakes_who_receives_from_one_that_is_gone() -> None:
    with silent_server(close_timeout=0.2) as (ws, _):
        waiting = in_thread(ws.recv)
        iterating = in_thread(lambda: list(ws))
        ws.close()
        for each in (waiting, iterating):
            with pytest.raises(ConnectionClosedError, match="no close frame received"):
                each()
        assert ws.closed or ws.ended


def test_closing_wakes_who_sends_to_one_that_is_gone() -> None:
    with silent_server(close_timeout=0.2) as (ws, _):

        def send() -> None:
            while True:
                ws.send(BIG)

        sending = in_thread(send)
        until(lambda: ws.buffered_amount)
        ws.close()
        with pytest.raises(ConnectionClosedError):
            sending()


def test_a_slow_reader_slows_down_who_sends() -> None:
    with silent_server() as (ws, peer):
        sent = 0

        def send() -> None:
            nonlocal sent
            for _ in range(64):
                ws.send(BIG)
                sent += 1

        sending = in_thread(send)
        until(lambda: ws.buffered_amount)
        taken = sent
        assert taken < 32, "more than the system buffers was taken"
        received = 0
        while received < 64:
            received += sum(isinstance(event, Message) for event in peer.read())
        sending()
        assert sent == 64


def test_who_sends_to_a_slow_reader_reads_meanwhile() -> None:
    """A blocked send does not keep pings from being answered, nor a few messages from being taken."""
    with silent_server() as (ws, peer):
        sending = in_thread(lambda: [ws.send(BIG) for _ in range(16)])
        until(lambda: ws.buffered_amount)
        peer.protocol.send("meanwhile")
        peer.protocol.ping(b"there?")
        peer.flush()
        received = 0
        pongs: list[bytes] = []
        while received < 16 or not pongs:
            for event in peer.read():
                received += isinstance(event, Message)
                if isinstance(event, Pong):
                    pongs.append(event.payload)
        assert pongs == [b"there?"]
        sending()
        assert ws.recv(timeout=PATIENCE) == "meanwhile"


def test_messages_wait_within_bounds() -> None:
    """With nobody in recv, max_queue messages are taken, and the peer then has to wait."""
    with silent_server(max_queue=4) as (ws, peer):
        for number in range(100):
            peer.protocol.send(f"{number}")
        peer.protocol.ping(b"behind them")
        peer.flush()
        until(lambda: ws.paused)
        assert [ws.recv(timeout=PATIENCE) for _ in range(100)] == [f"{number}" for number in range(100)]
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0)
        assert peer.read_until(Pong).payload == b"behind them"


def test_fragments_are_not_mixed_with_other_messages() -> None:
    with pair() as (ws, peer):
        begun, go = threading.Event(), threading.Event()

        def fragments() -> Any:
            yield "one "
            begun.set()
            go.wait(PATIENCE)
            yield "two"

        sending = in_thread(lambda: ws.send(fragments()))
        assert begun.wait(PATIENCE)
        other = in_thread(ws.send, "other")
        ws.pong(b"control frames may come between")
        go.set()
        sending()
        other()
        assert [peer.recv(timeout=PATIENCE), peer.recv(timeout=PATIENCE)] == ["one two", "other"]


# Pings


def test_a_ping_is_answered_although_nobody_receives() -> None:
    with silent_server() as (_, peer):
        peer.protocol.ping(b"hello")
        peer.flush()
        assert peer.read_until(Pong).payload == b"hello"


def test_who_waits_for_a_pong_reads() -> None:
    with pair() as (ws, peer):
        peer.send("kept")
        answering = in_thread(peer.recv)
        assert 0 < ws.ping().result(timeout=PATIENCE) < 1
        assert ws.latency > 0
        assert ws.recv() == "kept"
        ws.send("done")
        assert answering() == "done"


def test_a_pong_while_another_thread_receives() -> None:
    with pair() as (ws, peer):
        waiting, answering = in_thread(ws.recv), in_thread(peer.recv)
        pings = [ws.ping() for _ in range(3)]
        assert all(0 < ping.result(timeout=PATIENCE) < PATIENCE for ping in pings)
        ws.send("done")
        peer.send("done")
        assert waiting() == answering() == "done"


def test_pings_that_get_no_answer() -> None:
    with silent_server(close_timeout=0.1) as (ws, peer):
        ping = ws.ping(b"mine")
        assert peer.read_until(Ping).payload == b"mine"
        with pytest.raises(TimeoutError):
            ping.result(timeout=0.05)
        with pytest.raises(ValueError, match="same payload"):
            ws.ping("mine")
        ws.close()
        with pytest.raises(ConnectionClosed):
            ping.result(timeout=PATIENCE)
        with pytest.raises(ConnectionClosed):
            ws.ping()


# Silence


@pytest.mark.parametrize("receives", [True, False], ids=["receiving", "idle"])
def test_a_peer_that_has_vanished(receives: bool) -> None:
    with silent_server(ping_interval=0.1, ping_timeout=0.1) as (ws, peer):
        waiting = in_thread(ws.recv) if receives else None
        assert peer.read_until(Ping)
        until(lambda: not ws.is_open)
        if waiting is not None:
            with pytest.raises(ConnectionClosedError, match="1011"):
                waiting()
        assert ws.close_error is not None
        assert ws.close_error.sent == (1011, "keepalive ping timeout")
        until(lambda: ws.closed)


def test_keepalive_measures_the_latency() -> None:
    with pair(client={"ping_interval": 0.05}) as (_, peer):
        until(lambda: peer.latency > 0)
        assert peer.is_open


def test_idle_timeout() -> None:
    with silent_server(idle_timeout=0.2) as (ws, peer):
        closed = peer.read_until(Closed)
        assert (closed.code, closed.reason) == (1001, "idle timeout")
        peer.flush()
        peer.sock.close()
        until(lambda: ws.closed)


def test_a_connection_that_breaks() -> None:
    with silent_server() as (ws, peer):
        peer.protocol.send("last words")
        peer.flush()
        waiting = in_thread(lambda: [ws.recv(), ws.recv()])
        peer.sock.close()
        with pytest.raises(ConnectionClosedError, match="the connection was lost"):
            waiting()
        with pytest.raises(ConnectionClosedError):
            ws.send("hello?")
        assert ws.close_code == 1006


def test_what_the_peer_said_before_it_left_is_known_to_who_sends() -> None:
    with silent_server() as (ws, peer):
        peer.protocol.close(1012, "restart")
        peer.flush()
        peer.sock.close()
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                ws.send(BIG)
        assert caught.value.received == (1012, "restart")


# Any interleaving

messages = st.one_of(st.text(max_size=200), st.binary(max_size=200), st.integers(60_000, 70_000).map(bytes))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), messages), max_size=30), st.sampled_from([None, "deflate"]))
def test_any_interleaving_of_sends_round_trips(plan: list[tuple[int, str | bytes]], compression: Any) -> None:
    with serve(compression=compression) as server, connect(server, compression=compression) as ws:

        def send(name: int) -> None:
            for who, message in plan:
                if who == name:
                    ws.send(message)

        sending = [in_thread(send, name) for name in range(3)]
        got = [ws.recv(timeout=PATIENCE) for _ in plan]
        for done in sending:
            done()
        # Those of a thread come in its order.
        left = {name: [message for who, message in plan if who == name] for name in range(3)}
        assert sorted(map(repr, got)) == sorted(repr(message) for _, message in plan)
        assert mergeable(got, list(left.values()))


def mergeable(whole: list[str | bytes], parts: list[list[str | bytes]]) -> bool:
    """Whether a list can be made of others without changing the order of any of them."""
    states = {(0,) * len(parts)}
    for item in whole:
        states = {
            (*state[:i], state[i] + 1, *state[i + 1 :])
            for state in states
            for i, part in enumerate(parts)
            if state[i] < len(part) and part[state[i]] == item
        }
    return bool(states)


def test_everything_ends_well() -> None:
    with pair() as (ws, peer):
        ends = in_thread(lambda: list(ws))
        peer.close(1000, "bye")
        assert ends() == []
        with pytest.raises(ConnectionClosedOK, match=r"received 1000 \(normal closure\) bye"):
            ws.recv()


def test_what_came_before_a_violation_is_good() -> None:
    """It is received, and can be answered; only then the connection fails."""
    with silent_server() as (ws, peer):
        peer.protocol.send("good")
        peer.protocol.send("good, too")
        peer.sock.sendall(peer.protocol.data_to_send() + b"\xff\x00")
        assert ws.recv(timeout=PATIENCE) == "good"
        ws.send("an answer")
        assert peer.read_until(Message).data == "an answer"
        assert ws.recv(timeout=PATIENCE) == "good, too"
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(timeout=PATIENCE)
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1002
        assert peer.read_until(Closed).code == 1002


# Failures, and calls within calls


def reset(peer: Silent) -> None:
    """Have the peer's system say that the connection is no more."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()


def test_a_connection_that_breaks_while_messages_wait() -> None:
    """Nobody reads it, so a write is what finds out."""
    with silent_server(max_queue=1, close_timeout=0.2) as (ws, peer):
        peer.protocol.send("kept")
        peer.flush()
        until(lambda: ws.paused)
        reset(peer)
        with pytest.raises(ConnectionClosedError, match="the connection was lost") as caught:
            while True:
                ws.send("hello?")
        assert isinstance(caught.value.__cause__, OSError)
        for call in (ws.ping, ws.pong, lambda: ws.send(["in", "parts"])):
            with pytest.raises(ConnectionClosedError):
                call()
        assert isinstance(ws.close_error, ConnectionClosedError)
        until(lambda: ws.closed)  # without a call of ours
        assert ws.recv() == "kept"
        with pytest.raises(ConnectionClosedError):
            ws.recv()


@pytest.mark.parametrize("engine", ["direct", "objects"])
def test_a_garbled_tls_record(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if engine == "objects":
        monkeypatch.setenv("EVERWIRE_OPENSSL", "off")
    failed: list[ConnectionClosed] = []

    def handler(ws: Connection) -> None:
        for call in (ws.recv, lambda: ws.send("hello?")):
            with pytest.raises(ConnectionClosedError) as caught:
                call()
            failed.append(caught.value)

    with serve(handler, ssl=certificates.server) as server:
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        layer = certificates.client.wrap_bio(arrived, leaving, server_hostname=HOST)
        with socket.create_connection((HOST, server.port)) as sock:
            sock.settimeout(PATIENCE)

            def wait_for(step: Callable[[], Any]) -> Any:
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        sock.sendall(leaving.read())
                        if not (data := sock.recv(65536)):
                            arrived.write_eof()
                        arrived.write(data)

            wait_for(layer.do_handshake)
            layer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            sock.sendall(leaving.read())
            assert wait_for(lambda: layer.read(65536)).startswith(b"HTTP/1.1 101 ")
            layer.write(b"\x82\x83\x00\x00\x00\x00abc")
            record = bytearray(leaving.read())
            record[-1] ^= 0x55
            sock.sendall(record)
            with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
                wait_for(lambda: layer.read(65536))
    assert [error.code for error in failed] == [1006, 1006]
    assert all(isinstance(error.__cause__, ssl.SSLError) for error in failed)


def test_the_end_comes_while_pongs_are_told_of() -> None:
    with silent_server() as (ws, peer):
        first, second = ws.ping(b"1"), ws.ping(b"2")
        first.add_done_callback(lambda _: ws.drop())
        peer.protocol.pong(b"2")
        peer.flush()
        with pytest.raises(ConnectionClosedError):
            ws.recv(timeout=PATIENCE)
        assert first.result(timeout=PATIENCE) > 0
        with pytest.raises(ConnectionClosedError):
            second.result(timeout=PATIENCE)


def test_closing_when_a_pong_has_come() -> None:
    """A callback runs in a thread that reads: it does not wait for itself."""
    with pair(client={"close_timeout": None}) as (ws, peer):
        busy: list[str] = []

        def callback(ping: object) -> None:
            try:
                peer.recv()
            except ConcurrencyError as exc:
                busy.append(str(exc))
            peer.close(1000, "seen")

        peer.ping().add_done_callback(callback)
        answering = in_thread(lambda: list(ws))  # the pong comes from here on
        waiting = in_thread(lambda: list(peer))
        assert waiting() == answering() == []
        assert ws.close_reason == "seen"
        assert len(busy) == 1


def test_fragments_that_send_on_their_connection() -> None:
    with pair() as (ws, peer):

        def fragments() -> Any:
            ws.send("within")
            yield "never"

        sending = in_thread(lambda: ws.send(fragments()))
        with pytest.raises(ConcurrencyError, match="sending a message on the same connection already"):
            sending()
        ws.send("after it")
        assert peer.recv(timeout=PATIENCE) == "after it"


def test_a_message_that_is_not_utf_8_is_not_lost() -> None:
    with pair() as (ws, peer):
        ws.send(b"\xff")
        ws.send("after")
        with pytest.raises(UnicodeDecodeError) as caught:
            peer.recv(timeout=PATIENCE, decode=True)
        assert caught.value.object == b"\xff"
        assert peer.recv(timeout=PATIENCE, decode=False) == b"after"
