"""Marks of what a SQLite file holds: as long as the mark is the same, nobody has written anything."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from web.db.fitness import open_file

#: Of all files that this process has opened: a mark of one is never that of another.
_numbers = itertools.count()


class Mark(NamedTuple):
    """What a file holds; equal to another one only of the same content."""

    #: Which opening of which file; SQLite counts anew with each.
    opening: int
    #: SQLite's own count of what others than this connection have committed.
    data_version: int


class MarkReader:
    """Reads marks of one file, in some microseconds; for any number of threads.

    SQLite tells a connection what other connections have committed, of this process or another, and only
    between two transactions. So this is a connection of its own, which is never in one and never writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._opening = 0

    def read(self) -> Mark | None:
        """Return the mark of what is committed now; None when SQLite does not tell it at once."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = open_file(self._path, lock_seconds=0, any_thread=True)
                    self._opening = next(_numbers)
                # All rows, so that the statement ends, and its read transaction with it.
                ((version,),) = self._connection.execute("PRAGMA data_version").fetchall()
            except sqlite3.Error:
                self._close()
                return None
            return Mark(self._opening, version)

    def close(self) -> None:
        """Close the connection; whoever reads on opens the file that is there then."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
