"""The command ``everwire bench``: its options, the run, what is said at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from typer import BadParameter

import everwire
from everwire.cli import settings as options
from everwire.cli.bench.crew import run_job
from everwire.cli.bench.job import STAMP, Job, make_message
from everwire.cli.bench.progress import Progress
from everwire.cli.bench.results import Results
from everwire.cli.bench.summary import print_summary
from everwire.cli.settings import Loop

__all__ = ["bench"]

MOST_CONNECTIONS = 1_000_000
MOST_BYTES = 1 << 28
"""Bytes of the largest message."""


def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the server is: ws://localhost:8080/echo.")],
    mode: Annotated[
        Literal["echo", "fanout", "push", "idle"],
        typer.Option(
            help="echo: each message is answered; fanout: what one connection sends comes back to all; "
            "push: the server sends as it likes; idle: connections are only held."
        ),
    ] = "echo",
    connections: Annotated[
        int, typer.Option("--connections", "-c", min=1, max=MOST_CONNECTIONS, help="Connections in all.")
    ] = 50,
    size: Annotated[
        str | None,
        typer.Option("--size", "-s", metavar="SIZE", help="Of a message: 16, 1KiB, 1MiB.  \\[default: 64]"),
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Send this, instead of words.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Send what is in this file.")] = None,
    binary: Annotated[
        bool | None,
        typer.Option("--binary/--text", help="Type of the messages.  \\[default: text; a file as it is]"),
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", "-d", min=1, max=65536, help="Messages under way per connection.")
    ] = 1,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="PER SECOND",
            help="Send so many messages a second in all, whether answers come or not; latency counts from "
            "when a message was due.  \\[default: as fast as answers come]",
        ),
    ] = None,
    duration: Annotated[
        float, typer.Option("--duration", "-t", metavar="SECONDS", min=0.1, help="How long to measure.")
    ] = 10.0,
    warmup: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="What comes first and does not count.")
    ] = 1.0,
    ramp: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="Open the connections over so long; 0: as fast as it goes."
        ),
    ] = 0.0,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=256, help="Processes that share the work.")
    ] = 1,
    check: Annotated[bool, typer.Option("--check", help="Compare every answer with what was sent.")] = False,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="How long opening, and the last answers, may take."),
    ] = 10.0,
    subprotocol: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Subprotocol to offer. Repeatable.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Further header. Repeatable."),
    ] = None,
    origin: Annotated[str | None, typer.Option(metavar="ORIGIN", help="The header Origin.")] = None,
    compression: Annotated[bool, typer.Option("--compression", help="Offer permessage-deflate.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Take any certificate.")] = False,
    cacert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust these certificates (PEM), and no others.")
    ] = None,
    unix: Annotated[Path | None, typer.Option(metavar="PATH", help="Connect to this Unix socket.")] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="What the words of messages are drawn by.")] = 1,
    loop: Annotated[Loop, typer.Option(help="Event loop; auto is uvloop if it is installed.")] = Loop.AUTO,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the results there; - prints them.")
    ] = None,
    allow_errors: Annotated[
        bool, typer.Option("--allow-errors", help="End with 0 even if there were errors.")
    ] = False,
) -> None:
    """Put a WebSocket server under load, and measure it: rate, latency, errors."""
    content = _message(size, message, file, binary, seed, empty=mode in ("push", "idle"))
    job = Job(
        url=url,
        mode=mode,
        connections=connections,
        message=content,
        depth=depth,
        rate=rate,
        ramp=ramp,
        duration=duration,
        warmup=warmup,
        timeout=timeout,
        check=check,
        stamp=check and message is None and file is None and len(content) >= STAMP,
        headers=tuple(_header(each) for each in header or ()),
        origin=origin,
        subprotocols=tuple(subprotocol or ()),
        insecure=insecure,
        cacert=str(cacert) if cacert is not None else None,
        compression=compression,
        unix=str(unix) if unix is not None else None,
        total=connections,
    )
    _check(job)
    if json_file is not None and not Path(json_file).absolute().parent.is_dir():
        raise BadParameter(f"there is no folder {Path(json_file).parent} for {Path(json_file).name}")
    loop_name, _ = options.pick_loop(loop)
    results = Results(job, min(processes, connections))
    console = Console(stderr=json_file == "-", highlight=False)
    asyncio.run(_run(results, loop_name, Progress(console, results)))
    print_summary(console, results)
    if json_file == "-":
        print(json.dumps(results.to_json(), indent=2))
    elif json_file is not None:
        Path(json_file).write_text(json.dumps(results.to_json(), indent=2) + "\n")
        console.print(f"Results: {json_file}", style="dim")
    if results.errors and not allow_errors:
        raise typer.Exit(1)


async def _run(results: Results, loop: str, progress: Progress) -> None:
    """Run, show how it goes, and end early at a signal; at a second one at once."""
    stop = asyncio.Event()
    running = asyncio.current_task()
    assert running is not None

    def interrupt() -> None:
        if stop.is_set():
            running.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    async with progress.shown():
        with contextlib.suppress(asyncio.CancelledError):
            await run_job(results.job, len(results.parts), loop, results, stop)


def _message(
    size: str | None, message: str | None, file: Path | None, binary: bool | None, seed: int, *, empty: bool
) -> str | bytes:
    """What is to be sent.

    Raises:
        BadParameter: it is given twice, or cannot be sent.
    """
    if (size is not None) + (message is not None) + (file is not None) > 1:
        raise BadParameter("--size, --message and --file exclude each other: each says what to send")
    if message is not None:
        return message.encode() if binary else message
    if file is not None:
        try:
            content = file.read_bytes()
            if binary is not None:
                return content if binary else content.decode()
        except OSError as error:
            raise BadParameter(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadParameter(f"{file} is no text: send it with --binary") from error
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode()
        return content
    bytes_wanted = 0 if empty and size is None else 0 if size == "0" else options.parse_size(size or "64")
    if bytes_wanted is None or bytes_wanted > MOST_BYTES:
        raise BadParameter(f"a message has 0 to {MOST_BYTES:,} bytes, not {size}")
    return make_message(bytes_wanted, binary=bool(binary), seed=seed)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise BadParameter(f"{line!r} is not a header; write it like 'Authorization: Bearer abc'")
    return name.strip(), value.strip()


def _check(job: Job) -> None:
    """Find out before any process is started that connections cannot be asked for like this.

    Raises:
        BadParameter: an option has a value that cannot be.
    """
    if job.rate is not None and not job.rate > 0:
        raise BadParameter(f"--rate is a number of messages a second above 0, not {job.rate:g}")
    if job.rate is not None and job.mode not in ("echo", "fanout"):
        raise BadParameter(f"--rate is for messages that are sent, and with --mode {job.mode} none are")
    if job.cacert is not None and not Path(job.cacert).is_file():
        raise BadParameter(f"there is no file {job.cacert}")
    try:
        everwire.connect(job.url, **job.connect_options())
    except everwire.InvalidURI as error:
        raise BadParameter(f"{error}; write it like ws://localhost:8080/echo") from error
    except OSError as error:
        raise BadParameter(f"{job.cacert} holds no certificates (PEM): {error}") from error
    except (ValueError, TypeError) as error:
        raise BadParameter(str(error)) from error
