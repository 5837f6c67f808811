"""wss: a server with a certificate, and a client that trusts it.

Make the certificate first, in the same folder (pip install trustme):

    python -m trustme
"""

import asyncio
import ssl

import everwire


async def echo(ws: everwire.Connection) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain("server.pem", "server.key")
    # Only a certificate that no public authority signed has to be named; others need no ssl= at all.
    client_tls = ssl.create_default_context(cafile="client.pem")

    async with (
        everwire.serve(echo, "localhost", 8765, ssl=server_tls),
        everwire.connect("wss://localhost:8765", ssl=client_tls) as ws,
    ):
        await ws.send("Nobody else can read this")
        print(await ws.recv())


asyncio.run(main())
