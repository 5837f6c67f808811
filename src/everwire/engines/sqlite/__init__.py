"""Logs in an SQLite database: for one machine that keeps its history over a restart."""

from everwire.engines.sqlite.engine import SqliteEngine

__all__ = ["SqliteEngine"]
