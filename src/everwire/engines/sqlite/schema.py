"""The database of the SQLite engine: its tables, how it is opened, and that one process has it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from everwire.engines.local import new_epoch
from everwire.errors import EngineError

__all__ = ["Lock", "connect", "explain", "note_closed", "prepare"]

APPLICATION_ID = 0x65767264
"""What marks a database as one of ours (``evrd``)."""

VERSION = 1
"""Of the tables."""

SYNCHRONOUS = ("full", "normal")

TABLES = """
CREATE TABLE engine (
    epoch TEXT NOT NULL,     -- of logs that are made from now on
    boot TEXT NOT NULL       -- which run of the operating system writes to it; '': none, it was closed
) STRICT;
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    top INTEGER NOT NULL,
    version INTEGER NOT NULL,
    version_epoch TEXT NOT NULL,
    expires REAL NOT NULL,   -- when its newest publication does
    forget REAL NOT NULL     -- when the log itself may go
) STRICT;
CREATE TABLE publications (
    log INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    expires REAL NOT NULL,   -- never before the one of the publication before it
    time INTEGER NOT NULL,
    data BLOB NOT NULL,
    extra BLOB,              -- the other fields, if there are any
    PRIMARY KEY (log, offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
    channel TEXT NOT NULL,
    key TEXT NOT NULL,
    offset INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (channel, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_time ON keys (expires);
"""


def explain(error: Exception, path: str) -> EngineError:
    """An error of the database in words that help."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return EngineError(f"{path} has no room left: the disk is full, or max_size is reached")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return EngineError(f"{path} is locked by another program, which has it open and writes to it")
    if code == sqlite3.SQLITE_NOTADB:
        return EngineError(f"{path} is not an SQLite database")
    if code == sqlite3.SQLITE_CANTOPEN:
        return EngineError(f"{path} cannot be opened: is there such a directory, and may it be written to?")
    if isinstance(error, UnicodeError):
        return EngineError(f"a name that is not valid Unicode cannot be stored: {error}")
    return EngineError(f"{path}: {error}")


class Lock:
    """That one process has the database: only there its publications are told to who follows a channel."""

    def __init__(self, path: str) -> None:
        name = path + "-lock"
        try:
            self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EngineError(
                f"{path} cannot be opened: {name}: {error.strerror}; is there such a directory, and may it "
                f"be written to?"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "another one"
            os.close(self._descriptor)
            raise EngineError(
                f"{path} is in use by process {other}: an sqlite: engine belongs to one process. Give each "
                f"its own file, run with one worker, or use an engine for several nodes"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let others have it. The file stays: to remove it could take it from who has just locked it."""
        os.close(self._descriptor)


def connect(path: str, *, patience: float, read_only: bool = False) -> sqlite3.Connection:
    """Open a database for use in any one thread at a time."""
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    if read_only:
        connection.execute("PRAGMA query_only=ON")
    return connection


def prepare(connection: sqlite3.Connection, path: str, *, synchronous: str, max_size: int | None) -> None:
    """Make the tables if there are none, and see that they are ours.

    Raises:
        EngineError: they are not.
    """
    owner, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not empty and owner != APPLICATION_ID:
        raise EngineError(f"{path} is the database of another program: choose another file")
    if not empty and version != VERSION:
        raise EngineError(
            f"{path} has tables of version {version}, this everwire knows version {VERSION}: "
            + ("use the newer everwire that made them" if version > VERSION else "start with a new file")
        )
    connection.execute("PRAGMA journal_mode=WAL")
    # On the disk before anything that may be lost: which run it is of (see _note_boot).
    connection.execute("PRAGMA synchronous=full")
    connection.execute("PRAGMA fullfsync=on")
    connection.execute("PRAGMA checkpoint_fullfsync=on")
    if max_size is not None:
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={max(1, max_size // page_size)}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if empty:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
            for statement in TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute("INSERT INTO engine VALUES (?, '')", (new_epoch(),))
        _note_boot(connection, synchronous)
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA synchronous={synchronous}")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _note_boot(connection: sqlite3.Connection, synchronous: str) -> None:
    """Give all logs another epoch if the end of some may have been lost.

    With ``normal``, a power cut loses what was written last: offsets that clients have seen would be given a
    second time, and a client that comes back would miss what has them now. That the machine did not stop is
    known when it has not started since; that all is on the disk, when the database was closed.
    """
    (before,) = connection.execute("SELECT boot FROM engine").fetchone()
    boot = _boot()
    if before not in ("", "full", boot):
        connection.execute("UPDATE logs SET epoch = ?", (new_epoch(),))
        connection.execute("UPDATE engine SET epoch = ?", (new_epoch(),))
    connection.execute("UPDATE engine SET boot = ?", ("full" if synchronous == "full" else boot,))


def note_closed(connection: sqlite3.Connection) -> None:
    """Note that all is on the disk, as far as that is possible; it is once the connection is closed."""
    with contextlib.suppress(sqlite3.Error):
        connection.execute("UPDATE engine SET boot = ''")


def _boot() -> str:
    """Which run of the operating system this is; another one each time where that is not known."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if sys.platform == "darwin":  # pragma: no cover
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=5
            ).stdout.strip()
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return new_epoch()  # pragma: no cover
