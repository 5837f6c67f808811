"""``everwire drain``: have a running server send its clients elsewhere, and wait until it has."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer import BadParameter

from everwire.cli.settings import parse_duration

__all__ = ["drain"]

EPILOG = """[bold]Examples[/]
[cyan]everwire drain --spread 60s[/]  [dim]the server of this machine: before a container ends[/]
[cyan]everwire drain --pid 4711 --spread 5m[/]
[cyan]everwire drain --url http://10.0.0.7:8000 --api-key KEY[/]  [dim]a hub, over its server API[/]"""

PATIENCE = 30.0
"""Seconds that a server may take to say something."""
EVERY = 1.0
"""Seconds between two questions how far it is, over the server API."""
LINES_EVERY = 5.0
"""Seconds between two lines about it, where that is no terminal."""


class Failed(Exception):
    """It could not be done."""


def drain(
    spread: Annotated[
        str, typer.Option(metavar="TIME", help="From the first client to the last: 60s, 5m.")
    ] = "60s",
    deadline: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="After which all who are left are sent away at once."),
    ] = None,
    pid: Annotated[
        int | None,
        typer.Option(
            metavar="PID",
            min=1,
            help="The process, that of `everwire serve`.  \\[default: the one there is]",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a hub is, to ask it over its server API.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="EVERWIRE_API_KEY",
            show_envvar=False,
            help="The key of the server API.  \\[default: that of EVERWIRE_API_KEY]",
        ),
    ] = None,
) -> None:
    """Have a running server send its clients elsewhere, evenly over a time, and wait until it has.

    It takes no new ones from then on, and says that it is not ready; it goes on to run until it is stopped.
    """
    order = {"spread": parse_duration(spread), "deadline": parse_duration(deadline)}
    if url is not None and pid is not None:
        raise BadParameter("--url and --pid are two ways to name the server; give one of them")
    try:
        if url is not None:
            show(url, ask(url, api_key or "", order))
        else:
            path = find(pid)
            show(f"process {path.stem}", tell(path, order))
    except Failed as error:
        typer.secho("everwire: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def show(server: str, counts: Iterator[int]) -> None:
    """Print how many clients are left, until there are none."""
    console = Console(highlight=False)
    begin = last = time.monotonic()
    first = count = -1
    live = console.is_terminal
    for count in counts:
        now = time.monotonic()
        if first < 0:
            first = count
            console.print(f"Draining {server}: {count:,} client{'' if count == 1 else 's'}.")
        elif live:
            console.print(f"{count:,} left", end="\r")
        elif now - last >= LINES_EVERY:
            last = now
            console.print(f"{count:,} left")
    left = f", {count:,} left" if count > 0 else ""
    console.print(f"Drained in {time.monotonic() - begin:.1f} s{left}.")


def find(pid: int | None) -> Path:
    """The socket of the server that is meant.

    Raises:
        Failed: there is none, or there are several.
    """
    from everwire.asgi.control import control_folder, control_path

    if not hasattr(socket, "AF_UNIX"):
        raise Failed("processes cannot be told on this system; use --url")
    if pid is not None:
        if not is_live(control_path(pid)):
            raise Failed(
                f"there is no `everwire serve` of this user with the process id {pid}: its socket would be "
                f"{control_path(pid)}"
            )
        return control_path(pid)
    found = sorted(path for path in control_folder().glob("*.sock") if is_live(path))
    if not found:
        raise Failed(
            f"there is no `everwire serve` of this user here: none has a socket in {control_folder()}. "
            "Name a hub elsewhere with --url"
        )
    if len(found) > 1:
        raise Failed(f"there are several; name one with --pid: {', '.join(path.stem for path in found)}")
    return found[0]


def is_live(path: Path) -> bool:
    """Whether somebody listens there; what a process that died has left is removed."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return False
        except OSError:
            return False
    return True


def tell(path: Path, order: dict[str, Any]) -> Iterator[int]:
    """Tell a process of this machine; how many clients are left, again and again.

    Raises:
        Failed: it does not do it.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(os.fspath(path))
            sock.sendall(json.dumps({"method": "drain", **order}).encode() + b"\n")
            with sock.makefile("rb") as lines:
                for line in lines:
                    said = json.loads(line)
                    if "error" in said:
                        raise Failed(said["error"])
                    yield said["clients"]
                    if said.get("done"):
                        return
        except OSError as error:
            raise Failed(f"process {path.stem}: {error}") from None
    raise Failed(f"process {path.stem} has ended before it was drained")


def ask(url: str, key: str, order: dict[str, Any]) -> Iterator[int]:
    """Ask a hub over its server API; how many clients are left, again and again.

    Raises:
        Failed: it does not do it.
    """
    request = urllib.request.Request(
        url.rstrip("/") + "/api/drain",
        data=json.dumps(order).encode(),
        headers={"Content-Type": "application/json", "X-API-Key": key},
    )
    if request.type not in ("http", "https"):
        raise BadParameter(f"{url!r} is not where a hub is; write it like http://10.0.0.7:8000")
    node = None
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            why = error.read(300).decode(errors="replace").strip()
            raise Failed(f"{url} answers {error.code}: {why}") from None
        except (OSError, ValueError) as error:
            raise Failed(f"{url} cannot be asked: {getattr(error, 'reason', error)}") from None
        if "error" in answer:
            raise Failed(f"{url}: {answer['error']['message']}")
        result = answer["result"]
        if node not in (None, result["node"]):
            raise Failed(
                f"{url} is several nodes: each answer comes from another one. Name one of them, or use --pid "
                "on its machine"
            )
        node = result["node"]
        yield result["clients"]
        if result["done"] and not result["clients"]:
            return
        time.sleep(EVERY)
