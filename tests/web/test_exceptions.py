"""The exceptions of the browser's API, and the rules for closing."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import everwire
from everwire.web.exceptions import check_closing
from everwire.web.idl import as_message, message_size, scalar_values


def test_a_dom_exception() -> None:
    error = everwire.DOMException("not now", "InvalidStateError")
    assert isinstance(error, everwire.EverwireError)
    assert (error.name, error.message, error.code) == ("InvalidStateError", "not now", 11)
    assert str(error) == "InvalidStateError: not now"
    other = everwire.DOMException()
    assert (other.name, other.message, other.code, str(other)) == ("Error", "", 0, "Error")


@pytest.mark.parametrize(
    "error",
    [
        everwire.DOMException("m", "AbortError"),
        everwire.WebSocketError("m", closeCode=3000, reason="r"),
        everwire.WebSocketError.received("m", 1006),
    ],
)
def test_exceptions_are_copied_whole(error: everwire.DOMException) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert vars(other) == vars(error)


@given(st.integers(-10, 70000))
def test_the_codes_that_a_client_may_choose(code: int) -> None:
    if code == 1000 or 3000 <= code <= 4999:
        assert check_closing(code, "") == (code, "")
    else:
        with pytest.raises(everwire.DOMException) as caught:
            check_closing(code, "")
        assert caught.value.name == "InvalidAccessError"


@given(st.text(st.characters(), max_size=200))
def test_the_reason_has_room_or_is_refused(reason: str) -> None:
    size = len(scalar_values(reason).encode())
    if size <= 123:
        code, text = check_closing(None, reason)
        assert (code, len(text.encode())) == (1000 if reason else None, size)
    else:
        with pytest.raises(everwire.DOMException) as caught:
            check_closing(None, reason)
        assert caught.value.name == "SyntaxError"


@given(st.text(st.characters()))
def test_every_text_can_be_sent(text: str) -> None:
    sent = scalar_values(text)
    sent.encode()
    assert sent == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert as_message(text) == sent
    assert message_size(sent) == message_size(sent.encode()) == len(sent.encode())
