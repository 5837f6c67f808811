"""The asyncio interface of ``websockets``: client and server."""
