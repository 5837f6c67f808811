"""Basic authentication of the opening handshake."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.websocket.auth import BasicAuth, basic_auth, basic_authorization
from everwire.websocket.messages import Headers, Request, Response


def request(*authorizations: str) -> Request:
    return Request(
        "GET", "/", Headers([("Host", "h"), *(("Authorization", each) for each in authorizations)])
    )


def encoded(text: bytes) -> str:
    return "Basic " + b64encode(text).decode()


def ask(auth: BasicAuth, request: Request) -> Response | None:
    """The answer of a hook that needs no event loop."""
    answer = auth(None, request)
    assert not isawaitable(answer)
    assert answer is None or isinstance(answer, Response)
    return answer


def wait(answer: Response | Awaitable[Response | None] | None) -> Response | None:
    async def main() -> Response | None:
        assert isawaitable(answer)
        result: Response | None = await answer
        return result

    return asyncio.run(main())


class TestServer:
    def test_lets_those_pass_that_know_the_password(self) -> None:
        auth = basic_auth(credentials=("ada", "lace"))
        known = request(basic_authorization("ada", "lace"))
        assert ask(auth, known) is None
        assert known.username == "ada"

    def test_asks_those_that_send_nothing(self) -> None:
        response = ask(basic_auth(realm="the lab", credentials=("ada", "lace")), request())
        assert response is not None
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="the lab", charset="UTF-8"'
        assert response.headers["Connection"] == "close"

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            ("ada", "Lace"),
            ("ada", ""),
            ("ada", "lace "),
            ("Ada", "lace"),
            ("", "lace"),
            ("ad", "alace"),
            ("lace", "ada"),
        ],
    )
    def test_refuses_those_that_do_not_know_it(self, username: str, password: str) -> None:
        unknown = request(basic_authorization(username, password))
        response = ask(basic_auth(credentials=[("ada", "lace"), ("bob", "tail")]), unknown)
        assert response is not None
        assert response.status == 401
        assert unknown.username is None

    @pytest.mark.parametrize(
        "values",
        [
            ["Bearer abc"],
            ["Basic"],
            ["Basic "],
            ["Basic a:b"],
            ["Basic " + b64encode(b"ada:lace").decode().rstrip("=") + "=" * 3],
            ["Basic !!!!"],
            ["Basic " + b64encode(b"ada").decode()],
            ["Basic " + b64encode(b"\xff:\xff").decode()],
            ["Basic " + b64encode(b"ada:lace\x00").decode()],
            ["Basic " + b64encode(b"ada:la\nce").decode()],
            [encoded(b"ada:lace") + " x"],
            [encoded(b"ada:lace"), encoded(b"ada:lace")],
        ],
    )
    def test_refuses_what_it_cannot_read(self, values: list[str]) -> None:
        called: list[tuple[str, str]] = []

        def check(username: str, password: str) -> bool:
            called.append((username, password))
            return True

        response = ask(basic_auth(check_credentials=check), request(*values))
        assert response is not None
        assert response.status == 401
        assert called == []

    def test_scheme_has_no_case(self) -> None:
        auth = basic_auth(credentials=("ada", "lace"))
        for scheme in ("basic", "BASIC", "Basic "):
            value = f"{scheme} {b64encode(b'ada:lace').decode()}"
            assert ask(auth, request(value)) is None

    def test_several_may_pass(self) -> None:
        auth = basic_auth(credentials=[("ada", "lace"), ("bob", "x:y"), ("é", "ü€")])
        for pair in [("ada", "lace"), ("bob", "x:y"), ("é", "ü€")]:
            assert ask(auth, request(basic_authorization(*pair))) is None

    def test_nobody_may_pass(self) -> None:
        assert ask(basic_auth(credentials=[]), request(basic_authorization("a", "b"))) is not None

    def test_a_function_may_decide(self) -> None:
        auth = basic_auth(check_credentials=lambda username, password: username == password)
        assert ask(auth, request(basic_authorization("a", "a"))) is None
        assert ask(auth, request(basic_authorization("a", "b"))) is not None

    def test_a_coroutine_may_decide(self) -> None:
        async def check(username: str, password: str) -> bool:
            await asyncio.sleep(0)
            return username == password

        auth = basic_auth(check_credentials=check)
        right, wrong = request(basic_authorization("a", "a")), request(basic_authorization("a", "b"))
        assert wait(auth(None, right)) is None
        assert right.username == "a"
        refused = wait(auth(None, wrong))
        assert refused is not None
        assert refused.status == 401
        assert wrong.username is None
        # Nothing is awaited for one who sends nothing.
        assert ask(auth, request()) is not None

    def test_realm_is_quoted(self) -> None:
        response = ask(basic_auth(realm='a "b" \\c', credentials=[]), request())
        assert response is not None
        assert response.headers["WWW-Authenticate"] == 'Basic realm="a \\"b\\" \\\\c", charset="UTF-8"'

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({}, TypeError),
            ({"credentials": ("a", "b"), "check_credentials": lambda u, p: True}, TypeError),
            ({"credentials": ("a",)}, TypeError),
            ({"credentials": [("a", "b", "c")]}, TypeError),
            ({"credentials": [("a", 1)]}, TypeError),
            ({"credentials": "ab"}, TypeError),
            ({"credentials": ("a:b", "c")}, ValueError),
            ({"credentials": ("a", "b"), "realm": "a\r\nb"}, ValueError),
            ({"credentials": ("a", "b"), "realm": "é"}, ValueError),
        ],
    )
    def test_options_that_cannot_work_are_refused(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            basic_auth(**options)


class TestThen:
    """A hook after the authentication: it sees only those that passed."""

    @pytest.mark.parametrize("later", [False, True])
    @pytest.mark.parametrize("slow", [False, True])
    def test_is_asked_once_the_credentials_are_right(self, later: bool, slow: bool) -> None:
        seen: list[tuple[object, str | None]] = []

        def hook(connection: object, request: Request) -> Response | None:
            seen.append((connection, request.username))
            return Response.of(204)

        async def slow_hook(connection: object, request: Request) -> Response | None:
            return hook(connection, request)

        async def check(username: str, password: str) -> bool:
            return username == password

        options: dict[str, Any] = {"check_credentials": check} if later else {"credentials": ("a", "a")}
        process_request = basic_auth(**options).then(slow_hook if slow else hook)

        def answer(request: Request) -> Response | None:
            made = process_request("connection", request)
            if isawaitable(made):
                return wait(made)
            assert made is None or isinstance(made, Response)
            return made

        refused = answer(request(basic_authorization("a", "b")))
        assert refused is not None
        assert refused.status == 401
        assert answer(request()) is not None
        assert seen == []
        passed = answer(request(basic_authorization("a", "a")))
        assert passed is not None
        assert passed.status == 204
        assert seen == [("connection", "a")]


class TestClient:
    @given(
        st.text(st.characters(exclude_characters=":", exclude_categories=["Cc", "Cs"])), st.text('aé€:\\" ')
    )
    def test_credentials_are_read_back(self, username: str, password: str) -> None:
        seen: list[tuple[str, str]] = []

        def check(username: str, password: str) -> bool:
            seen.append((username, password))
            return True

        assert (
            ask(basic_auth(check_credentials=check), request(basic_authorization(username, password))) is None
        )
        assert seen == [(username, password)]

    def test_example_of_the_rfc(self) -> None:
        assert basic_authorization("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="

    def test_user_names_have_no_colon(self) -> None:
        with pytest.raises(ValueError, match="colon"):
            basic_authorization("a:b", "c")
