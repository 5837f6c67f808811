"""RFC 6455, section 10.4: messages over the limit fail the connection with 1009, before they fill memory."""

from __future__ import annotations

from typing import Any

import pytest
from raw import BINARY, CONTINUATION, TEXT, frame

from .endpoints import SIDES, connected, expect_failure, expect_refusal, key_for

both_sides = pytest.mark.parametrize("side", SIDES)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@both_sides
def test_10_4_a_message_over_the_limit_is_1009(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        async with connected(side, max_size=1000) as (_, peer):
            await peer.send_frame(opcode, b"x" * 1000)
            assert (await peer.read_message()).payload == b"x" * 1000
            await peer.send_frame(opcode, b"x" * 1001)
            await expect_failure(peer, 1009)

    run(main)


@both_sides
def test_10_4_the_limit_is_of_the_message_not_of_the_frame(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, max_size=1000) as (_, peer):
            await peer.send_frame(BINARY, b"x" * 600, fin=False)
            await peer.send_frame(CONTINUATION, b"x" * 401, fin=False)
            await expect_failure(peer, 1009)

    run(main)


@pytest.mark.parametrize("length", [1001, 65_536, 1 << 40, (1 << 63) - 1])
@both_sides
def test_10_4_a_length_over_the_limit_fails_before_the_payload_comes(
    run: Any, side: str, length: int
) -> None:
    async def main() -> None:
        size = 2 if length < 65_536 else 8
        await expect_refusal(
            side, frame(BINARY, length=length, size=size, key=key_for(side)), 1009, max_size=1000
        )

    run(main)
