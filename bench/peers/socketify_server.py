"""socketify: uWebSockets (C++) called from Python. Its publish reaches the sender too."""

from __future__ import annotations

from typing import Any

from harness.arguments import MAX_SIZE, parse
from socketify import App, AppOptions, CompressOptions, OpCode

arguments = parse()
compression = CompressOptions.SHARED_COMPRESSOR if arguments.deflate else CompressOptions.DISABLED


def echo(ws: Any, message: str | bytes, kind: OpCode) -> None:
    ws.send(message, kind, arguments.deflate)


def join(ws: Any) -> None:
    ws.subscribe("all")


def fan(ws: Any, message: str | bytes, kind: OpCode) -> None:
    ws.publish("all", message, kind)


options = None
if arguments.certificate is not None:
    options = AppOptions(cert_file_name=arguments.certificate[0], key_file_name=arguments.certificate[1])
settings = {
    "compression": compression,
    "max_payload_length": MAX_SIZE,
    "max_backpressure": 2**28,
    "idle_timeout": 0,
}
app = App(options)
app.ws("/echo", {**settings, "message": echo})
app.ws("/fan", {**settings, "open": join, "message": fan})
app.listen(arguments.port)
app.run()
