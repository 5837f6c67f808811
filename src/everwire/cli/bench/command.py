"""The command ``everwire bench``. What it needs is imported when it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer import BadParameter

from everwire.cli.bench.options import (
    AllowErrors,
    Binary,
    Check,
    Compression,
    Connections,
    Depth,
    Duration,
    File,
    Html,
    Json,
    Message,
    Mode,
    Processes,
    Ramp,
    Rate,
    Seed,
    Size,
    Timeout,
    Unix,
    Url,
    Warmup,
    WhichLoop,
)
from everwire.cli.connect.options import Cacert, Cookie, Header, Insecure, Origin, Subprotocol
from everwire.cli.settings import Loop, parse_size, pick_loop

if TYPE_CHECKING:
    from everwire.cli.bench.job import Job
    from everwire.cli.bench.progress import Progress
    from everwire.cli.bench.results import Results

__all__ = ["EPILOG", "bench"]

MOST_BYTES = 1 << 28
"""Bytes of the largest message."""

EPILOG = """[bold]Examples[/]
[cyan]everwire bench :8080/echo[/]  [dim]50 connections, as fast as answers come[/]
[cyan]everwire bench :8080/echo -c 1000 --rate 20000 --check[/]  [dim]what latency is at that rate[/]
[cyan]everwire bench :8080/room --mode fanout -c 5000 -p 2[/]  [dim]one sends, all receive[/]
[cyan]everwire bench wss://example.com/feed --mode push --html report.html[/]

[bold]Exit codes[/]
0 without errors · 1 with errors, unless --allow-errors · 2 wrong usage"""


def bench(
    url: Url,
    mode: Mode = "echo",
    connections: Connections = 50,
    depth: Depth = 1,
    rate: Rate = None,
    processes: Processes = 1,
    size: Size = None,
    message: Message = None,
    file: File = None,
    binary: Binary = None,
    check: Check = False,
    compression: Compression = False,
    seed: Seed = 1,
    duration: Duration = 10.0,
    warmup: Warmup = 1.0,
    ramp: Ramp = 0.0,
    timeout: Timeout = 10.0,
    header: Header = None,
    subprotocol: Subprotocol = None,
    origin: Origin = None,
    cookie: Cookie = None,
    unix: Unix = None,
    insecure: Insecure = False,
    cacert: Cacert = None,
    loop: WhichLoop = Loop.AUTO,
    json: Json = None,
    html: Html = None,
    allow_errors: AllowErrors = False,
) -> None:
    """Put a WebSocket server under load, and measure it: rate, latency, errors."""
    from everwire.cli.bench.job import STAMP, Job
    from everwire.cli.connect import request

    target, _ = request.parse_url(url)
    content = _message(size, message, file, binary, seed, empty=mode in ("push", "idle"))
    job = Job(
        url=target,
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
        headers=(*request.parse_headers(header or []), *request.parse_cookies(cookie or [])),
        origin=origin,
        subprotocols=tuple(subprotocol or ()),
        insecure=insecure,
        cacert=str(cacert) if cacert is not None else None,
        compression=compression,
        unix=str(unix) if unix is not None else None,
        total=connections,
    )
    _check(job)
    for path in (html, Path(json) if json is not None and json != "-" else None):
        if path is not None and not path.absolute().parent.is_dir():
            raise BadParameter(f"there is no folder {path.parent} for {path.name}")
    errors = _measure(job, processes, loop, json, html)
    if errors and not allow_errors:
        raise typer.Exit(1)


def _measure(job: Job, processes: int, loop: Loop, json: str | None, html: Path | None) -> int:
    """Run it, say what was found, and return how many errors there were."""
    import asyncio
    from json import dumps

    from rich.console import Console

    from everwire.cli.bench.page import render_page
    from everwire.cli.bench.progress import Progress
    from everwire.cli.bench.results import Results
    from everwire.cli.bench.summary import print_summary

    loop_name, _ = pick_loop(loop)
    results = Results(job, min(processes, job.connections))
    console = Console(stderr=json == "-", highlight=False)
    asyncio.run(_run(results, loop_name, Progress(console, results)))
    print_summary(console, results)
    if json == "-":
        print(dumps(results.to_json(), indent=2))
    elif json is not None:
        Path(json).write_text(dumps(results.to_json(), indent=2) + "\n")
        console.print(f"Results: {json}", style="dim", markup=False)
    if html is not None:
        html.write_text(render_page(results, loop_name), encoding="utf-8")
        console.print(f"Report: {html}", style="dim", markup=False)
    return results.errors


async def _run(results: Results, loop: str, progress: Progress) -> None:
    """Run, show how it goes, and end early at a signal; at a second one at once."""
    import asyncio
    import signal

    from everwire.cli.bench.crew import run_job

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
    from everwire.cli.bench.job import make_message

    if (size is not None) + (message is not None) + (file is not None) > 1:
        raise BadParameter("--size, --message and --file exclude each other: each says what to send")
    if message is not None:
        return message.encode() if binary else message
    if file is not None:
        return _content(file, binary)
    wanted = 0 if size == "0" or (empty and size is None) else parse_size(size or "64")
    if wanted is None or wanted > MOST_BYTES:
        raise BadParameter(f"a message has 0 to {MOST_BYTES:,} bytes, not {size}")
    return make_message(wanted, binary=bool(binary), seed=seed)


def _content(file: Path, binary: bool | None) -> str | bytes:
    """What is in a file: as text if it is text, unless it is said otherwise."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BadParameter(f"{file} cannot be read: {error.strerror}") from error
    try:
        return content if binary else content.decode()
    except UnicodeDecodeError as error:
        if binary is None:
            return content
        raise BadParameter(f"{file} is no text: send it with --binary") from error


def _check(job: Job) -> None:
    """Find out before any process is started whether connections can be asked for like this.

    Raises:
        BadParameter: an option has a value that cannot be.
    """
    import everwire

    if job.rate is not None and not job.rate > 0:
        raise BadParameter(f"--rate is a number of messages a second above 0, not {job.rate:g}")
    if job.rate is not None and job.mode not in ("echo", "fanout"):
        raise BadParameter(f"--rate is for messages that are sent, and with --mode {job.mode} none are")
    try:
        everwire.connect(job.url, **job.connect_options())
    except ValueError as error:
        raise BadParameter(str(error)) from error
