"""What ``everwire serve`` prints once it listens."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import everwire
from everwire.cli.settings import Settings
from everwire.hub import Hub

__all__ = ["describe", "page_url", "print_banner", "print_places"]

ANY = {"0.0.0.0", "::"}
"""Addresses that stand for every interface: none to visit."""


def page_url(settings: Settings, sockets: Sequence[socket.socket]) -> str:
    """The address of the page, with the port that was really taken."""
    scheme = "https" if settings.tls else "http"
    if settings.unix is not None:
        return f"{scheme}://localhost/"
    host = "localhost" if settings.host in ANY else settings.host
    port = sockets[0].getsockname()[1]
    netloc = f"[{host}]" if ":" in host else host
    return (
        f"{scheme}://{netloc}/" if port == (443 if settings.tls else 80) else f"{scheme}://{netloc}:{port}/"
    )


def print_banner(console: Console, settings: Settings, sockets: Sequence[socket.socket], hub: Hub) -> None:
    """Print where the server is, what is there, how to stop it: a panel on a terminal, else plain lines."""
    page = page_url(settings, sockets)
    base = "ws" + page.removeprefix("http").removesuffix("/")
    places = [
        (page, "open it in a browser: connect, send, watch"),
        (f"{base}/echo", "returns what it is sent"),
        (f"{base}/room", "everyone who is connected sees every message"),
        (f"{page}channels", "channels: cut a connection, watch it recover"),
        (f"{base}{hub.everwire_websocket_path}", "the hub of these channels"),
    ]
    print_places(console, "serves", places, [*describe(settings), _who_may(settings, hub)])


def _who_may(settings: Settings, hub: Hub) -> str:
    """Who may use the channels."""
    if not hub.insecure:
        known = "channels are for clients with a token"
        return known if hub.verifier else f"{known}; --insecure opens them to everybody, for development"
    who = "on this machine" if settings.is_local else "who reaches this server"
    return f"channels are insecure, for development: everybody {who} may do everything there"


def print_places(
    console: Console, does: str, places: Sequence[tuple[str, str]], notes: Sequence[str]
) -> None:
    """Print what is where, and what else there is to know: a panel on a terminal, else plain lines."""
    if not console.is_terminal:
        lines = [f"everwire {everwire.__version__} {does}"]
        lines += [f"  {place}  {what}" for place, what in places]
        lines += [f"  {note}" for note in [*notes, "Ctrl-C or SIGTERM stops it"]]
        print("\n".join(lines), flush=True)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold", no_wrap=False)
    grid.add_column(style="dim")
    for i, (place, what) in enumerate(places):
        grid.add_row(Text(place, "cyan" if i else f"bold cyan link {place}"), what)
    body = Table.grid()
    body.add_row(grid)
    body.add_row("")
    for note in notes:
        body.add_row(Text(note, "dim"))
    body.add_row("")
    body.add_row("Press [bold]Ctrl-C[/] to stop.")
    title = f"[bold]everwire[/] {escape(everwire.__version__)} {escape(does)}"
    console.print(
        Panel(body, title=title, title_align="left", border_style="cyan", padding=(1, 2), expand=False)
    )


def describe(settings: Settings) -> list[str]:
    """What is to know about a server."""
    limit = (
        "messages of any size" if settings.max_size is None else f"messages up to {_size(settings.max_size)}"
    )
    compression = "compression" if settings.compression else "no compression"
    notes = [f"{settings.loop}, {compression}, {limit}"]
    if settings.unix is not None:
        notes.append(
            f"listens on the Unix socket {settings.unix}; try: curl --unix-socket {settings.unix} http://localhost/"
        )
    if settings.origins is None:
        notes.append("pages of any origin may connect")
    elif others := [origin for origin in settings.origins if origin != "same"]:
        notes.append("pages may connect from here and from " + ", ".join(others))
    if settings.host in ANY:
        notes.append("listens on every interface: other machines can reach it")
    return notes


def _size(size: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size:,} bytes"
