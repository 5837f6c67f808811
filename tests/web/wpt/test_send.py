"""``Send-*``, ``binary`` and what else is about messages and their size."""

from __future__ import annotations

import array
import struct
from typing import Any

import pytest

import everwire
from web.wpt.cases import Cases, Web

cases = Cases()


async def round_trip(web: Web, data: Any, *, size: int | None = None, binary_type: str = "blob") -> Any:
    """Send a message, receive it, and close; *size* is what it adds to ``bufferedAmount``."""
    record = web.record("/echo")
    await record.next("open")
    record.socket.binaryType = binary_type  # type: ignore[assignment]
    record.socket.send(data)
    if size is not None:
        assert record.socket.bufferedAmount == size
    message = await record.next("message")
    record.socket.close()
    assert (await record.next("close")).wasClean
    assert record.socket.bufferedAmount == 0
    return message.data


@cases("Send-0byte-data.any.js")
async def send_0byte_data(web: Web) -> None:
    assert await round_trip(web, "", size=0) == ""


@cases("Send-65K-data.any.js")
async def send_65k_data(web: Web) -> None:
    assert await round_trip(web, "c" * 65000, size=65000) == "c" * 65000


@cases("Send-before-open.any.js")
async def send_before_open(web: Web) -> None:
    with pytest.raises(everwire.DOMException) as caught:
        web.socket("/echo").send("Message to send")
    assert (caught.value.name, caught.value.code) == ("InvalidStateError", 11)


@cases("Send-binary-65K-arraybuffer.any.js")
async def send_binary_65k_arraybuffer(web: Web) -> None:
    data = await round_trip(web, bytearray(65000), size=65000, binary_type="arraybuffer")
    assert data == bytes(65000)


@cases("Send-binary-arraybuffer.any.js")
async def send_binary_arraybuffer(web: Web) -> None:
    data = await round_trip(web, bytearray(15), size=15, binary_type="arraybuffer")
    assert data == bytes(15)


async def view(web: Web, data: Any, expected: bytes) -> None:
    """A buffer of some kind arrives as the bytes that it shows."""
    received = await round_trip(web, data, size=len(expected), binary_type="arraybuffer")
    assert type(received) is bytes
    assert received == expected


@cases("Send-binary-arraybufferview-float16.any.js")
async def send_float16(web: Web) -> None:
    data = struct.pack("2e", 0, 1)
    await view(web, memoryview(data).cast("B"), data)


@cases("Send-binary-arraybufferview-float32.any.js")
async def send_float32(web: Web) -> None:
    await view(web, array.array("f", [0, 1]), struct.pack("2f", 0, 1))


@cases("Send-binary-arraybufferview-float64.any.js")
async def send_float64(web: Web) -> None:
    await view(web, array.array("d", [0]), struct.pack("d", 0))


@cases("Send-binary-arraybufferview-int16-offset.any.js")
async def send_int16_offset(web: Web) -> None:
    await view(web, memoryview(array.array("h", range(4)))[1:], struct.pack("3h", 1, 2, 3))


@cases("Send-binary-arraybufferview-int32.any.js")
async def send_int32(web: Web) -> None:
    await view(web, array.array("i", range(2)), struct.pack("2i", 0, 1))


@cases("Send-binary-arraybufferview-int8.any.js")
async def send_int8(web: Web) -> None:
    await view(web, array.array("b", range(8)), bytes(range(8)))


@cases("Send-binary-arraybufferview-uint16-offset-length.any.js")
async def send_uint16_offset_length(web: Web) -> None:
    await view(web, memoryview(array.array("H", range(4)))[1:3], struct.pack("2H", 1, 2))


@cases("Send-binary-arraybufferview-uint32-offset.any.js")
async def send_uint32_offset(web: Web) -> None:
    await view(web, memoryview(array.array("I", range(2)))[0:], struct.pack("2I", 0, 1))


@cases("Send-binary-arraybufferview-uint8-offset-length.any.js")
async def send_uint8_offset_length(web: Web) -> None:
    await view(web, memoryview(bytearray(range(8)))[2:6], bytes(range(2, 6)))


@cases("Send-binary-arraybufferview-uint8-offset.any.js")
async def send_uint8_offset(web: Web) -> None:
    await view(web, memoryview(bytearray(range(8)))[2:], bytes(range(2, 8)))


async def blob(web: Web, data: Any, size: int) -> None:
    """Binary data arrives as a Blob."""
    received = await round_trip(web, data, size=size)
    assert isinstance(received, everwire.Blob)
    assert received.size == size


@cases("Send-binary-blob.any.js")
async def send_binary_blob(web: Web) -> None:
    await blob(web, everwire.Blob(["\0" * 65000]), 65000)


@cases("Send-data.any.js")
async def send_data(web: Web) -> None:
    assert await round_trip(web, "Message to send", size=15) == "Message to send"


@cases("Send-null.any.js")
async def send_null(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    with pytest.raises(TypeError, match="NoneType"):
        record.socket.send(None)  # type: ignore[arg-type]


@cases("Send-paired-surrogates.any.js")
async def send_paired_surrogates(web: Web) -> None:
    assert await round_trip(web, "\ud801\udc07", size=4) == "\U00010407"


@cases("Send-unicode-data.any.js")
async def send_unicode_data(web: Web) -> None:
    assert await round_trip(web, "¥¥¥¥¥¥", size=12) == "¥¥¥¥¥¥"


@cases("Send-unpaired-surrogates.any.js")
async def send_unpaired_surrogates(web: Web) -> None:
    assert await round_trip(web, "\ud807") == "\ufffd"


@cases("binary/001.html", "Send/Receive blob, blob size less than network array buffer")
async def binary_001(web: Web) -> None:
    await blob(web, bytearray(10), 10)


@cases("binary/002.html", "Send/Receive blob, blob size greater than network array buffer")
async def binary_002(web: Web) -> None:
    await blob(web, bytearray(100_000), 100_000)


@cases("binary/004.html", "Send/Receive ArrayBuffer, size greater than network array buffer")
async def binary_004(web: Web) -> None:
    await view(web, bytearray(100_000), bytes(100_000))


@cases("binary/005.html", "Send/Receive ArrayBuffer, size less than network array buffer")
async def binary_005(web: Web) -> None:
    await view(web, bytearray(10), bytes(10))


@cases("binaryType-wrong-value.any.js")
async def binary_type_wrong_value(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    assert record.socket.binaryType == "blob"
    with pytest.raises(ValueError, match="notBlobOrArrayBuffer"):
        record.socket.binaryType = "notBlobOrArrayBuffer"  # type: ignore[assignment]
    assert record.socket.binaryType == "blob"
    record.socket.close()
    assert (await record.next("close")).wasClean


@cases("bufferedAmount-unchanged-by-sync-xhr.any.js")
async def buffered_amount_unchanged_by_sync_xhr(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    assert record.socket.bufferedAmount == 0
    record.socket.send("hello")
    # There is no XMLHttpRequest, but any call that blocks keeps the event loop from turning.
    sum(range(100_000))
    assert record.socket.bufferedAmount == 5


@cases(
    "extended-payload-length.html", "Application data of this many bytes:", each=[125, 126, 0xFFFF, 0x10000]
)
async def extended_payload_length(web: Web, size: int) -> None:
    assert await round_trip(web, "a" * size) == "a" * size


@cases("send-many-64K-messages-with-backpressure.any.js")
async def send_many_64k_messages_with_backpressure(web: Web) -> None:
    record = web.record("/receive-many-with-backpressure")
    await record.next("open")
    for _ in range(50):
        record.socket.send(bytes(65536))
    for _ in range(50):
        assert (await record.next("message")).data == "65536"
    record.socket.close()
    assert (await record.next("close")).wasClean


test_send, test_send_over_tls = cases.tests()
