"""The backoff policy, under a clock and a die of the test's own."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import (
    ConnectionClosedError,
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    RedirectError,
)
from everwire.websocket.backoff import Backoff
from everwire.websocket.messages import Headers, Response


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def status(code: int, *headers: tuple[str, str]) -> InvalidStatus:
    return InvalidStatus(Response(code, "", Headers(headers)))


def proxy_error(cause: Exception) -> ProxyError:
    error = ProxyError("refused")
    error.__cause__ = cause
    return error


def steady(**options: object) -> Backoff:
    """A policy that draws nothing."""
    return Backoff(**{"jitter": 0.0, **options})  # type: ignore[arg-type]


def test_delays_grow_to_the_maximum() -> None:
    attempts = steady(initial=1, factor=2, maximum=10).attempts()
    assert [attempts.failed(OSError()) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize(("drawn", "expected"), [(0.0, [1, 2, 4]), (0.5, [0.5, 1, 2]), (1.0, [0, 0, 0])])
def test_full_jitter(drawn: float, expected: list[float]) -> None:
    attempts = Backoff(random=lambda: drawn).attempts()
    assert [attempts.failed(OSError()) for _ in range(3)] == expected


def test_half_jitter() -> None:
    attempts = Backoff(jitter=0.5, random=lambda: 1.0).attempts()
    assert [attempts.failed(OSError()) for _ in range(3)] == [0.5, 1, 2]


@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(1, 1e6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 10**6),
)
def test_no_delay_is_over_the_maximum(
    initial: float, maximum: float, factor: float, jitter: float, drawn: float, attempts: int
) -> None:
    policy = Backoff(initial=initial, maximum=maximum, factor=factor, jitter=jitter, random=lambda: drawn)
    assert 0 <= policy.delay(attempts) <= maximum
    assert policy.delay(attempts) >= (1 - jitter) * min(initial, maximum) * (1 - 1e-9)


@pytest.mark.parametrize(
    "exc",
    [
        OSError("no route"),
        ConnectionRefusedError(),
        TimeoutError(),
        ssl.SSLError("handshake failure"),
        *map(status, (408, 425, 429, 500, 502, 503, 504)),
        proxy_error(ConnectionRefusedError()),
        proxy_error(status(503)),
    ],
    ids=repr,
)
def test_transient(exc: Exception) -> None:
    assert steady().attempts().failed(exc) == 1


@pytest.mark.parametrize(
    "exc",
    [
        *map(status, (200, 301, 400, 401, 403, 404, 407, 426, 501, 505)),
        ssl.SSLCertVerificationError("self-signed"),
        InvalidMessage("no HTTP"),
        InvalidHeader("Upgrade"),
        HandshakeError("?"),
        RedirectError("too many"),
        InvalidURI("x", "y"),
        ProxyError("no URI"),
        proxy_error(status(407)),
        proxy_error(ImportError("python_socks")),
        ValueError("programming error"),
    ],
    ids=repr,
)
def test_fatal(exc: Exception) -> None:
    attempts = steady().attempts()
    with pytest.raises(type(exc)) as info:
        attempts.failed(exc)
    assert info.value is exc


def test_retry_decides() -> None:
    asked: list[Exception] = []

    def retry(exc: Exception) -> bool:
        asked.append(exc)
        return isinstance(exc, InvalidStatus)

    attempts = steady(retry=retry).attempts()
    forbidden, refused = status(403), ConnectionRefusedError()
    assert attempts.failed(forbidden) == 1
    with pytest.raises(ConnectionRefusedError):
        attempts.failed(refused)
    assert asked == [forbidden, refused]


def test_retry_can_extend_the_default() -> None:
    policy = steady(retry=lambda exc: isinstance(exc, InvalidMessage) or Backoff.is_transient(exc))
    attempts = policy.attempts()
    attempts.failed(InvalidMessage("cut off"))
    attempts.failed(OSError())
    with pytest.raises(RedirectError):
        attempts.failed(RedirectError("?"))


def test_max_attempts() -> None:
    attempts = steady(max_attempts=3).attempts()
    errors = [OSError(n) for n in range(3)]
    attempts.failed(errors[0])
    attempts.failed(errors[1])
    with pytest.raises(OSError) as info:
        attempts.failed(errors[2])
    assert info.value is errors[2]


def test_give_up_after() -> None:
    clock = Clock()
    attempts = steady(initial=4, factor=1, give_up_after=10, clock=clock).attempts()
    assert attempts.failed(OSError()) == 4  # at 0: the next one at 4
    clock.now += 4
    assert attempts.failed(OSError()) == 4  # at 4: the next one at 8
    clock.now += 4
    with pytest.raises(OSError):  # at 8: the next one would be at 12
        attempts.failed(OSError())


def test_a_connection_that_lasts_resets() -> None:
    clock = Clock()
    attempts = steady(reset_after=10, max_attempts=4, give_up_after=100, clock=clock).attempts()
    assert [attempts.failed(OSError()) for _ in range(3)] == [1, 2, 4]
    attempts.opened()
    clock.now += 1000
    # Neither the count nor the time goes on.
    assert attempts.closed(ConnectionClosedError(None, None)) == 1
    assert attempts.failed(OSError()) == 2


def test_a_connection_that_does_not_last_counts_as_an_attempt() -> None:
    clock = Clock()
    attempts = steady(reset_after=10, max_attempts=3, clock=clock).attempts()
    closed = ConnectionClosedError(None, None)
    delays = []
    for _ in range(2):
        attempts.opened()
        clock.now += 9.5
        delays.append(attempts.closed(closed))
    assert delays == [1, 2]
    attempts.opened()
    with pytest.raises(ConnectionClosedError) as info:
        attempts.closed(closed)
    assert info.value is closed


def test_flapping_gives_up_in_time() -> None:
    clock = Clock()
    attempts = steady(factor=1, reset_after=10, give_up_after=20, clock=clock).attempts()
    closed = ConnectionClosedError(None, None)
    with pytest.raises(ConnectionClosedError):
        for _ in range(10):
            attempts.opened()
            clock.now += 5
            clock.now += attempts.closed(closed)
    assert clock.now < 1030


def test_reset() -> None:
    attempts = steady().attempts()
    attempts.failed(OSError())
    attempts.failed(OSError())
    attempts.reset()
    assert attempts.failed(OSError()) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("99999999999", 600),
        ("-7", 0),
        ("7.5", 0),
        ("²", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after_seconds(header: str, seconds: float) -> None:
    head = f"HTTP/1.1 503 Busy\r\nRetry-After: {header}\r\n\r\n".encode("latin-1")
    assert steady().attempts().failed(InvalidStatus(Response.parse(head))) == 1 + seconds


def test_retry_after_is_added_to_the_jitter() -> None:
    drawn = itertools.cycle([0.25, 0.75])
    policy = Backoff(random=lambda: next(drawn))
    delays = {policy.attempts().failed(status(429, ("Retry-After", "30"))) for _ in range(2)}
    assert delays == {30.75, 30.25}


def test_retry_after_twice_is_no_retry_after() -> None:
    assert steady().attempts().failed(status(503, ("Retry-After", "7"), ("Retry-After", "8"))) == 1


@pytest.mark.parametrize(
    ("offset", "low", "high"),
    [(timedelta(seconds=120), 100, 122), (timedelta(days=-1), 1, 1), (timedelta(days=1), 601, 601)],
)
@pytest.mark.parametrize(
    "shape", [lambda when: format_datetime(when, usegmt=True), lambda when: when.ctime()]
)
def test_retry_after_date(
    offset: timedelta, low: float, high: float, shape: Callable[[datetime], str]
) -> None:
    header = shape(datetime.now(UTC) + offset)
    assert low <= steady().attempts().failed(status(503, ("Retry-After", header))) <= high


def test_retry_after_can_end_it() -> None:
    attempts = steady(give_up_after=60, clock=Clock()).attempts()
    with pytest.raises(InvalidStatus):
        attempts.failed(status(503, ("Retry-After", "120")))


@pytest.mark.parametrize(
    "options",
    [
        {"initial": -1},
        {"maximum": -1},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"max_attempts": 0},
        {"give_up_after": -1},
        {"reset_after": -1},
        {"max_retry_after": -1},
    ],
    ids=str,
)
def test_refuses_options(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Backoff(**options)  # type: ignore[arg-type]


def test_is_a_value() -> None:
    assert Backoff(initial=2) == Backoff(initial=2)
    assert "initial=2" in repr(Backoff(initial=2))
    with pytest.raises(AttributeError):
        Backoff().initial = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Backoff(1)  # type: ignore[misc]
