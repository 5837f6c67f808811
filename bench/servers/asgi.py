"""The ASGI application of the peers, on everwire's connections."""

from __future__ import annotations

from harness.arguments import BACKLOG, MAX_SIZE, parse
from peers.asgi_app import app

from everwire.asgi import Gate
from everwire.websocket.server import Server
from everwire.websocket.sockets import Where

arguments = parse()


async def main() -> None:
    gate = Gate(app, compression="deflate" if arguments.deflate else None)
    server = Server(gate, close_timeout=3.0, options={"max_size": MAX_SIZE})
    where = Where(
        host="127.0.0.1",
        port=arguments.port,
        unix=None,
        sock=None,
        backlog=BACKLOG,
        reuse_port=False,
        reuse_address=True,
    )
    server._listen(await where.sockets(), arguments.ssl, None)
    await server.serve_forever()


arguments.run(main())
