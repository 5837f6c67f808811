"""picows as a client: its listener sends the next message from the callback that brings the reply."""

from __future__ import annotations

from harness.driving import MESSAGE, Meter, drive
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

PAYLOAD = MESSAGE.encode()


class Closer(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


class Pinger(Closer):
    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, PAYLOAD)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            super().on_ws_frame(transport, frame)
            return
        assert frame.get_payload_as_utf8_text() == MESSAGE
        if self.meter.running:
            self.meter.count += 1
            transport.send(WSMsgType.TEXT, PAYLOAD)
        else:
            transport.send_close(WSCloseCode.OK)


async def connect(uri: str) -> None:
    transport, _ = await ws_connect(Closer, uri)
    transport.send_close(WSCloseCode.OK)
    await transport.wait_disconnected()


async def echo(uri: str, meter: Meter) -> None:
    transport, _ = await ws_connect(lambda: Pinger(meter), uri)
    await transport.wait_disconnected()


drive(connect, echo)
