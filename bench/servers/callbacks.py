"""everwire with callbacks: a Listener that echoes at /echo and publishes to a Topic at /fan."""

from __future__ import annotations

from harness.arguments import BACKLOG, MAX_SIZE, parse

import everwire

arguments = parse()
topic = everwire.Topic()


class EchoOrFan(everwire.Listener):
    def on_open(self, ws: everwire.Connection) -> None:
        if ws.request.path == "/fan":
            ws.data = topic
            topic.add(ws)

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        if ws.data is topic:
            topic.publish(message)
        else:
            ws.send_nowait(message)


async def main() -> None:
    async with everwire.serve(
        EchoOrFan(),
        "127.0.0.1",
        arguments.port,
        ssl=arguments.ssl,
        compression="deflate" if arguments.deflate else None,
        max_size=MAX_SIZE,
        backlog=BACKLOG,
    ) as server:
        await server.serve_forever()


arguments.run(main())
