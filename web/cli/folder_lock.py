"""The lock on a data folder: one service at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from web.cli.errors import UpRefused


class FolderLock:
    """Holds a folder for this process and those that are given its `fd`; the system frees it with them."""

    def __init__(self, folder: Path, *, holder: str) -> None:
        """Prepare the lock; `holder` says who holds it, for the one who is refused."""
        self._path = folder / ".lock"
        self._holder = holder
        self.fd = -1

    def __enter__(self) -> FolderLock:
        """Take the lock.

        Raises:
            UpRefused: when another process has it, or the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UpRefused(f"the folder {self._path.parent} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 500).decode(errors="replace").strip()
            os.close(fd)
            raise UpRefused(
                f"the folder {self._path.parent} is in use by {holder or 'another process'}: "
                "stop that one first, or choose another folder"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{self._holder} (process {os.getpid()})".encode())
        self.fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not unlinked: a second one could then lock a file that a third can no longer see.
        os.close(self.fd)
        self.fd = -1
