"""RFC 7692, sections 5 and 7.1: what servers and clients agree on."""

from __future__ import annotations

from typing import Any

import pytest
from raw import dial

import everwire

from .deflate import KEEPING, parameters
from .endpoints import STYLES, serving
from .test_rfc6455_4_client import answered

OFFER = "permessage-deflate; client_max_window_bits"


async def negotiated(
    style: str, *offers: str, deflate: everwire.Deflate | str | None = "deflate"
) -> str | None:
    """What a server answers to offers, each in a header of its own."""
    async with serving(style, compression=deflate) as (_, port), dial(port) as peer:
        answer = await peer.open(extra=[("Sec-WebSocket-Extensions", offer) for offer in offers])
        return answer.headers.get("sec-websocket-extensions")


# 5 and 7.1: what a server answers


@pytest.mark.parametrize("style", STYLES)
def test_5_nothing_is_agreed_on_that_was_not_offered(run: Any, style: str) -> None:
    async def main() -> None:
        assert await negotiated(style) is None
        assert await negotiated(style, "permessage-bzip2") is None
        assert await negotiated(style, OFFER, deflate=None) is None

    run(main)


@pytest.mark.parametrize("style", STYLES)
def test_7_1_an_offer_without_parameters_is_accepted(run: Any, style: str) -> None:
    async def main() -> None:
        agreed = parameters(await negotiated(style, "permessage-deflate") or "")
        # the client did not say that it can limit its window (7.1.2.2)
        assert "client_max_window_bits" not in agreed

    run(main)


@pytest.mark.parametrize("deflate", [everwire.Deflate(), everwire.Deflate(context_takeover=True)])
@pytest.mark.parametrize("style", STYLES)
def test_7_1_1_1_server_no_context_takeover_is_confirmed(
    run: Any, style: str, deflate: everwire.Deflate
) -> None:
    async def main() -> None:
        answer = await negotiated(style, "permessage-deflate; server_no_context_takeover", deflate=deflate)
        agreed = parameters(answer or "")
        assert "server_no_context_takeover" in agreed
        assert agreed["server_no_context_takeover"] is None

    run(main)


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("style", STYLES)
def test_7_1_2_1_server_max_window_bits_is_obeyed(run: Any, style: str, bits: int) -> None:
    async def main() -> None:
        answer = await negotiated(style, f"permessage-deflate; server_max_window_bits={bits}")
        assert answer is not None
        assert 8 <= int(parameters(answer)["server_max_window_bits"] or 99) <= bits

    run(main)


@pytest.mark.parametrize("style", STYLES)
def test_7_1_2_1_a_quoted_value_is_the_same(run: Any, style: str) -> None:
    async def main() -> None:
        answer = await negotiated(style, 'permessage-deflate; server_max_window_bits="10"')
        assert parameters(answer or "")["server_max_window_bits"] == "10"

    run(main)


@pytest.mark.parametrize(
    "hint", ["client_max_window_bits", "client_max_window_bits=15", "client_max_window_bits=9"]
)
@pytest.mark.parametrize("style", STYLES)
def test_7_1_2_2_a_server_may_limit_the_clients_window(run: Any, style: str, hint: str) -> None:
    async def main() -> None:
        deflate = everwire.Deflate(client_max_window_bits=10)
        answer = parameters(await negotiated(style, f"permessage-deflate; {hint}", deflate=deflate) or "")
        assert int(answer["client_max_window_bits"] or 99) <= 10

    run(main)


@pytest.mark.parametrize("style", STYLES)
def test_7_1_2_2_a_server_may_not_if_the_client_does_not_know_how(run: Any, style: str) -> None:
    async def main() -> None:
        deflate = everwire.Deflate(client_max_window_bits=10)
        answer = await negotiated(style, "permessage-deflate; server_max_window_bits=10", deflate=deflate)
        assert answer is None or "client_max_window_bits" not in parameters(answer)

    run(main)


INVALID = [
    "unknown",
    "unknown=1",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=08",
    "server_max_window_bits=+9",
    "server_max_window_bits=ten",
    "server_max_window_bits=10; server_max_window_bits=10",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=015",
    "client_max_window_bits=-9",
    "client_max_window_bits; client_max_window_bits",
]


@pytest.mark.parametrize("params", [*INVALID, "server_max_window_bits"])
@pytest.mark.parametrize("style", STYLES)
def test_7_1_a_server_declines_invalid_offers(run: Any, style: str, params: str) -> None:
    async def main() -> None:
        assert await negotiated(style, f"permessage-deflate; {params}") is None

    run(main)


@pytest.mark.parametrize("headers", [1, 2])
@pytest.mark.parametrize("style", STYLES)
def test_5_1_the_first_offer_that_can_be_accepted_is(run: Any, style: str, headers: int) -> None:
    async def main() -> None:
        offers = [
            "x-unknown, permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=12, permessage-deflate; server_max_window_bits=11",
        ]
        answer = await negotiated(style, *(offers if headers == 2 else [", ".join(offers)]))
        assert parameters(answer or "")["server_max_window_bits"] == "12"

    run(main)


# 7.1: what a client offers, and accepts


def test_7_1_a_client_offers_to_limit_its_window(run: Any) -> None:
    async def main() -> None:
        offers = (await answered()).headers["sec-websocket-extensions"].split(",")
        for offer in offers:
            assert "client_max_window_bits" in parameters(offer)

    run(main)


@pytest.mark.parametrize("deflate", [KEEPING, everwire.Deflate()])
@pytest.mark.parametrize(
    "params",
    [
        "",
        "; client_no_context_takeover",
        "; server_max_window_bits=15",
        "; server_max_window_bits=9; client_max_window_bits=9",
        "; client_max_window_bits=15; client_no_context_takeover",
        '; client_max_window_bits="12"',
    ],
)
def test_7_1_a_client_accepts_valid_answers(run: Any, deflate: everwire.Deflate, params: str) -> None:
    async def main() -> None:
        # 7.1.1.1: what the offer asks for must be confirmed
        needed = "" if deflate.context_takeover else "; server_no_context_takeover"
        await answered(
            {"compression": deflate}, sec_websocket_extensions="permessage-deflate" + needed + params
        )

    run(main)


@pytest.mark.parametrize("params", [*INVALID, "server_max_window_bits", "client_max_window_bits"])
def test_7_1_a_client_fails_on_invalid_answers(run: Any, params: str) -> None:
    async def main() -> None:
        with pytest.raises(everwire.HandshakeError):
            await answered({"compression": KEEPING}, sec_websocket_extensions=f"permessage-deflate; {params}")

    run(main)


def test_7_1_1_1_a_client_fails_if_what_it_asked_for_is_not_confirmed(run: Any) -> None:
    async def main() -> None:
        for deflate in (
            everwire.Deflate(context_takeover=True, server_no_context_takeover=True),
            everwire.Deflate(context_takeover=True, server_max_window_bits=10),
        ):
            with pytest.raises(everwire.HandshakeError):
                await answered({"compression": deflate}, sec_websocket_extensions="permessage-deflate")

    run(main)
