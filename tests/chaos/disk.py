"""A disk that can be made full or read-only from outside: its state is read from a file, at every write.

A mount would need root. This sits where the bytes go out instead: below every write of the store, whose own
handling of the fault then runs, and in SQLite itself, which is told to allocate no page or to write nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from shared.storage import local
from shared.storage.store import Room, measure_room


class Disk(StrEnum):
    """How the disk is."""

    WELL = "well"
    #: Below storage and database, as with a quota: nobody is told of it before a write fails.
    FULL = "full"
    #: The same, and whoever asks how much room there is, is told.
    TOLD_FULL = "told-full"
    #: Below the storage alone, and untold.
    STORAGE_FULL = "storage-full"
    READ_ONLY = "read-only"


_FULL = frozenset({Disk.FULL, Disk.TOLD_FULL, Disk.STORAGE_FULL})


def set_disk(path: Path, state: Disk) -> None:
    """Let the disk of every process that reads this file be so from now on."""
    partial = path.with_suffix(".new")
    partial.write_text(state)
    partial.replace(path)


def install_store_disk(path: Path) -> None:
    """Let `LocalStore` fail as the file says."""
    write_partial = local.LocalStore._partial

    @contextmanager
    def partial(self: local.LocalStore, target: Path, data: Any, **how: Any) -> Iterator[Path]:
        state = _read(path)
        if state is Disk.READ_ONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(target))
        if state in _FULL:
            # What fits is written, and lies there when the writer dies of it.
            half = data[: len(data) // 2] if isinstance(data, bytes) else b""
            with write_partial(self, target, half, **how):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        with write_partial(self, target, data, **how) as written:
            yield written

    local.LocalStore._partial = partial  # type: ignore[method-assign]
    for name in ("delete", "delete_tree", "touch", "delete_older"):
        setattr(local.LocalStore, name, _unless_read_only(getattr(local.LocalStore, name), path))
    local.measure_room = _told_room(path)


def install_database_disk(path: Path) -> None:
    """Let SQLite fail as the file says: full, it takes what still fits into its last page."""
    from web.db import database

    begin = database._begin_sqlite

    def failing_begin(connection: Connection) -> None:
        state = _read(path)
        # Each time: a pooled connection may still be as the last fault made it.
        connection.exec_driver_sql(f"PRAGMA query_only = {int(state is Disk.READ_ONLY)}")
        most = 2**30
        if state in (Disk.FULL, Disk.TOLD_FULL):
            most = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")
        begin(connection)

    database._begin_sqlite = failing_begin
    database.measure_room = _told_room(path)


def _unless_read_only(method: Callable[..., Any], path: Path) -> Callable[..., Any]:
    def guarded(self: local.LocalStore, key: str, *rest: Any) -> Any:
        if _read(path) is Disk.READ_ONLY:
            with local._storage_errors(key):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), key)
        return method(self, key, *rest)

    return guarded


def _told_room(path: Path) -> Callable[[Path], Room]:
    def measure(folder: Path) -> Room:
        room = measure_room(folder)
        return Room(room.total_bytes, 0) if _read(path) is Disk.TOLD_FULL else room

    return measure


def _read(path: Path) -> Disk:
    return Disk(path.read_text())
