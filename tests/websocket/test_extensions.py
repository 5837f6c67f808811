"""The negotiation of permessage-deflate: the grammar, offers, answers, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import InvalidHeader, NegotiationError
from everwire.websocket.extensions import (
    Deflate,
    DeflateParams,
    Extension,
    accept,
    negotiate,
    offer,
    parse_extensions,
    parse_tokens,
)

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
tokens = st.text(TOKEN, min_size=1, max_size=8)
space = st.text(" \t", max_size=2)

TAKEOVER = Deflate(context_takeover=True)
ALONE = Deflate()


def answer(header: str, deflate: Deflate) -> tuple[str, DeflateParams] | None:
    return negotiate(parse_extensions([header]), deflate)


def understood(header: str, deflate: Deflate) -> DeflateParams | None:
    return accept(parse_extensions([header]), deflate)


class TestGrammar:
    @pytest.mark.parametrize(
        ("values", "extensions"),
        [
            ([], []),
            ([""], []),
            ([" , ,\t"], []),
            (["a"], [("a", [])]),
            (["a;b"], [("a", [("b", None)])]),
            (["a;b=1 ; c = 2"], [("a", [("b", "1"), ("c", "2")])]),
            (['a;b="1"'], [("a", [("b", "1")])]),
            (['a;b="\\1\\0"'], [("a", [("b", "10")])]),
            (["a,b"], [("a", []), ("b", [])]),
            (["a , b;c", "d"], [("a", []), ("b", [("c", None)]), ("d", [])]),
            (["a;b;b=1"], [("a", [("b", None), ("b", "1")])]),
        ],
    )
    def test_is_of_the_rfc(self, values: list[str], extensions: list[Extension]) -> None:
        assert parse_extensions(values) == extensions

    @pytest.mark.parametrize(
        "value",
        [
            "a b",
            "a;",
            "a;;b",
            "a;b=",
            "a;=1",
            "=1",
            ";a",
            'a;b="',
            'a;b=""',
            'a;b="1',
            'a;b="1 2"',
            'a;b="1"2',
            "a;b=1 2",
            "a/b",
            "a;b=(",
            'a;b="\\',
            'a;b="1,',
            "a\x00",
            "é",
        ],
    )
    def test_that_is_broken_is_refused(self, value: str) -> None:
        with pytest.raises(InvalidHeader) as caught:
            parse_extensions([value])
        assert (caught.value.name, caught.value.value) == ("Sec-WebSocket-Extensions", value)

    @given(
        st.lists(
            st.tuples(tokens, st.lists(st.tuples(tokens, st.one_of(st.none(), tokens)), max_size=3)),
            max_size=4,
        ),
        st.booleans(),
        space,
    )
    def test_reads_back_what_was_written(self, given: list[Extension], quoted: bool, s: str) -> None:
        def parameter(name: str, value: str | None) -> str:
            if value is None:
                return f"{s};{s}{name}"
            return f"{s};{s}{name}{s}={s}" + (f'"{value}"' if quoted else value)

        header = f"{s},{s}".join(
            name + "".join(parameter(*each) for each in params) for name, params in given
        )
        assert parse_extensions([header]) == given

    @given(st.text('ab;=,"\\ \t', max_size=30))
    def test_reads_or_refuses_anything(self, value: str) -> None:
        try:
            parse_extensions([value])
        except InvalidHeader as error:
            assert error.status == 400

    @pytest.mark.parametrize(
        "value", ["a;b=" * 8000, "a;b" * 8000 + "=", "," * 30000, 'a;b="' + "\\\\" * 15000]
    )
    def test_takes_a_time_in_proportion_to_the_length(self, value: str) -> None:
        # Reading that went back and forth would take minutes here.
        try:
            parse_extensions([value])
        except InvalidHeader:
            assert value[0] == "a"
        else:
            assert value[0] == ","

    def test_of_lists_of_tokens(self) -> None:
        assert parse_tokens("X", ["a, b", "", ",c ,a"]) == ["a", "b", "c"]
        with pytest.raises(InvalidHeader, match="X"):
            parse_tokens("X", ["a b"])


class TestServer:
    @pytest.mark.parametrize(
        ("offered", "value", "params"),
        [
            ("", "", (False, False, 15, 15)),
            ("; client_max_window_bits", "", (False, False, 15, 15)),
            ("; client_max_window_bits=15", "", (False, False, 15, 15)),
            ("; client_max_window_bits=9", "; client_max_window_bits=9", (False, False, 15, 9)),
            ("; client_max_window_bits=8", "; client_max_window_bits=8", (False, False, 15, 8)),
            ('; client_max_window_bits="10"', "; client_max_window_bits=10", (False, False, 15, 10)),
            ("; server_max_window_bits=15", "; server_max_window_bits=15", (False, False, 15, 15)),
            ("; server_max_window_bits=8", "; server_max_window_bits=8", (False, False, 8, 15)),
            ("; server_no_context_takeover", "; server_no_context_takeover", (True, False, 15, 15)),
            ("; client_no_context_takeover", "; client_no_context_takeover", (False, True, 15, 15)),
        ],
    )
    def test_grants_what_is_asked_for(
        self, offered: str, value: str, params: tuple[bool, bool, int, int]
    ) -> None:
        assert answer("permessage-deflate" + offered, TAKEOVER) == (
            "permessage-deflate" + value,
            DeflateParams(*params),
        )

    @pytest.mark.parametrize(
        ("options", "offered", "value", "params"),
        [
            ({}, "", "; server_no_context_takeover; client_no_context_takeover", (True, True, 15, 15)),
            (
                {"context_takeover": True, "server_no_context_takeover": True},
                "",
                "; server_no_context_takeover",
                None,
            ),
            (
                {"context_takeover": True, "client_no_context_takeover": True},
                "",
                "; client_no_context_takeover",
                None,
            ),
            ({"server_no_context_takeover": False}, "", "; client_no_context_takeover", None),
            ({"client_no_context_takeover": False}, "", "; server_no_context_takeover", None),
            (
                {"context_takeover": True, "server_max_window_bits": 10},
                "; server_max_window_bits=12",
                "; server_max_window_bits=10",
                (False, False, 10, 15),
            ),
            (
                {"context_takeover": True, "server_max_window_bits": 12},
                "; server_max_window_bits=10",
                "; server_max_window_bits=10",
                (False, False, 10, 15),
            ),
            (
                {"context_takeover": True, "server_max_window_bits": 12},
                "",
                "; server_max_window_bits=12",
                (False, False, 12, 15),
            ),
            (
                {"context_takeover": True, "client_max_window_bits": 10},
                "; client_max_window_bits",
                "; client_max_window_bits=10",
                (False, False, 15, 10),
            ),
            (
                {"context_takeover": True, "client_max_window_bits": 10},
                "; client_max_window_bits=9",
                "; client_max_window_bits=9",
                (False, False, 15, 9),
            ),
            # A client that does not know the parameter cannot be limited, and is not.
            ({"context_takeover": True, "client_max_window_bits": 10}, "", "", (False, False, 15, 15)),
        ],
    )
    def test_adds_its_own_limits(
        self,
        options: dict[str, Any],
        offered: str,
        value: str,
        params: tuple[bool, bool, int, int] | None,
    ) -> None:
        agreed = answer("permessage-deflate" + offered, Deflate(**options))
        assert agreed is not None
        assert agreed[0] == "permessage-deflate" + value
        if params is None:
            params = ("server_no" in value, "client_no" in value, 15, 15)
        assert agreed[1] == DeflateParams(*params)

    @pytest.mark.parametrize(
        "params",
        [
            "unknown",
            "unknown=1",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=+9",
            "server_max_window_bits=9x",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=015",
            "client_max_window_bits=x",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=10",
            "Server_No_Context_Takeover",
        ],
    )
    def test_declines_an_invalid_offer_and_takes_the_next_one(self, params: str) -> None:
        invalid = f"permessage-deflate; {params}"
        assert answer(invalid, TAKEOVER) is None
        assert answer(f"{invalid}, permessage-deflate", TAKEOVER) == ("permessage-deflate", DeflateParams())

    def test_takes_the_first_offer_that_it_can(self) -> None:
        header = "x-other; a=1, permessage-deflate; server_max_window_bits=10, permessage-deflate"
        agreed = answer(header, TAKEOVER)
        assert agreed is not None
        assert agreed[1].server_max_window_bits == 10

    @pytest.mark.parametrize(
        "header", ["", "x-webkit-deflate-frame", "PerMessage-Deflate", "permessage-bzip2"]
    )
    def test_declines_what_it_does_not_know(self, header: str) -> None:
        assert answer(header, TAKEOVER) is None


class TestClient:
    @pytest.mark.parametrize(
        ("options", "header"),
        [
            ({"context_takeover": True}, "client_max_window_bits"),
            (
                {},
                "server_no_context_takeover; client_no_context_takeover; client_max_window_bits, "
                "permessage-deflate; client_no_context_takeover; client_max_window_bits",
            ),
            (
                {"server_no_context_takeover": True},
                "server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
            ),
            ({"context_takeover": True, "client_max_window_bits": 9}, "client_max_window_bits=9"),
            (
                {"context_takeover": True, "server_max_window_bits": 9},
                "server_max_window_bits=9; client_max_window_bits",
            ),
        ],
    )
    def test_offers(self, options: dict[str, Any], header: str) -> None:
        assert offer(Deflate(**options)) == f"permessage-deflate; {header}"

    @pytest.mark.parametrize(
        ("header", "params"),
        [
            ("", (False, False, 15, 15)),
            ("; server_no_context_takeover", (True, False, 15, 15)),
            ("; client_no_context_takeover", (False, True, 15, 15)),
            ("; server_max_window_bits=8", (False, False, 8, 15)),
            ("; client_max_window_bits=8; server_max_window_bits=15", (False, False, 15, 8)),
        ],
    )
    def test_understands_the_answer(self, header: str, params: tuple[bool, bool, int, int]) -> None:
        assert understood("permessage-deflate" + header, TAKEOVER) == DeflateParams(*params)

    def test_without_an_answer_there_is_no_compression(self) -> None:
        assert accept([], TAKEOVER) is None
        assert accept([], None) is None

    def test_does_without_what_it_offered_to_do_without(self) -> None:
        deflate = Deflate(context_takeover=True, client_no_context_takeover=True, client_max_window_bits=10)
        assert understood("permessage-deflate", deflate) == DeflateParams(False, True, 15, 10)

    @pytest.mark.parametrize(
        ("options", "header"),
        [
            ({}, "x-other"),
            ({}, "permessage-deflate; server_no_context_takeover, x-other"),
            ({"context_takeover": True}, "permessage-deflate, permessage-deflate"),
            ({"server_no_context_takeover": True}, "permessage-deflate"),
            ({"server_no_context_takeover": True}, "permessage-deflate; client_no_context_takeover"),
            ({"context_takeover": True}, "permessage-deflate; unknown"),
            ({"context_takeover": True}, "permessage-deflate; client_max_window_bits"),
            ({"context_takeover": True}, "permessage-deflate; server_max_window_bits"),
            ({"context_takeover": True}, "permessage-deflate; server_max_window_bits=7"),
            ({"context_takeover": True}, "permessage-deflate; server_max_window_bits=16"),
            ({"context_takeover": True}, "permessage-deflate; server_no_context_takeover=x"),
            (
                {"context_takeover": True},
                "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
            ),
            ({"context_takeover": True, "server_max_window_bits": 10}, "permessage-deflate"),
            (
                {"context_takeover": True, "server_max_window_bits": 10},
                "permessage-deflate; server_max_window_bits=11",
            ),
            (
                {"context_takeover": True, "client_max_window_bits": 10},
                "permessage-deflate; client_max_window_bits=11",
            ),
        ],
    )
    def test_refuses_what_does_not_answer_the_offer(self, options: dict[str, Any], header: str) -> None:
        with pytest.raises(NegotiationError):
            understood(header, Deflate(**options))

    def test_refuses_an_extension_when_it_offered_none(self) -> None:
        with pytest.raises(NegotiationError, match="not offered"):
            accept(parse_extensions(["permessage-deflate"]), None)


options = st.builds(
    Deflate,
    context_takeover=st.booleans(),
    server_no_context_takeover=st.sampled_from([None, True, False]),
    client_no_context_takeover=st.sampled_from([None, True, False]),
    server_max_window_bits=st.integers(8, 15),
    client_max_window_bits=st.integers(8, 15),
)


class TestAgreement:
    @given(options, options)
    def test_is_the_same_on_both_sides_and_within_both_limits(self, server: Deflate, client: Deflate) -> None:
        agreed = answer(offer(client), server)
        assert agreed is not None
        header, params = agreed
        assert understood(header, client) == params
        for side in (server, client):
            assert params.server_no_context_takeover or not side.server_alone
            assert params.client_no_context_takeover or not side.client_alone
            assert params.server_max_window_bits <= side.server_max_window_bits
            assert params.client_max_window_bits <= side.client_max_window_bits


class TestOptions:
    def test_have_ranges(self) -> None:
        for name, value in itertools.chain(
            itertools.product(["server_max_window_bits", "client_max_window_bits"], [7, 16]),
            itertools.product(["level", "mem_level"], [-1, 10]),
            [("mem_level", 0), ("threshold", -1)],
        ):
            given: dict[str, Any] = {name: value}
            with pytest.raises(ValueError, match=name):
                Deflate(**given)

    def test_of_context_takeover_hold_for_both_sides_unless_said_otherwise(self) -> None:
        assert (ALONE.server_alone, ALONE.client_alone) == (True, True)
        assert (TAKEOVER.server_alone, TAKEOVER.client_alone) == (False, False)
        mixed = Deflate(server_no_context_takeover=False)
        assert (mixed.server_alone, mixed.client_alone) == (False, True)
