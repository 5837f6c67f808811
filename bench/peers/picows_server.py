"""picows, its listener interface: frames are echoed from its receive buffer, not copied, UTF-8 unchecked."""

from __future__ import annotations

from harness.arguments import BACKLOG, MAX_SIZE, parse
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

arguments = parse()
subscribers: set[WSTransport] = set()


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), frame.fin)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Fan(Echo):
    def on_ws_connected(self, transport: WSTransport) -> None:
        subscribers.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        subscribers.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY):
            kind, message = frame.msg_type, frame.get_payload_as_bytes()
            for subscriber in subscribers:
                subscriber.send(kind, message)
        else:
            super().on_ws_frame(transport, frame)


def listener(request: WSUpgradeRequest) -> WSListener:
    return Fan() if request.path == b"/fan" else Echo()


async def main() -> None:
    server = await ws_create_server(
        listener, "127.0.0.1", arguments.port, ssl=arguments.ssl, max_frame_size=MAX_SIZE, backlog=BACKLOG
    )
    await server.serve_forever()


arguments.run(main())
