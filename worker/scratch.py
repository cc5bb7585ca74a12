"""A node's own folder for temporary files: gone with the node, or at the next start if it was killed.

TensorFlow writes a source file for each function that it compiles, and removes them only when its process
ends by itself, which a child of the pool never does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

from shared.logs import get_logger

_PREFIX = "atelier-node-"
#: multiprocessing removes its own folder at -100.
_LAST = -200

_log = get_logger(__name__)


class Scratch:
    """The folder, held by a lock that ends with the last process of the node."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self._pid = os.getpid()

    @classmethod
    def make(cls, parent: Path | None = None) -> Scratch:
        """Return a new folder below `parent`, by default the system's; remove those of dead nodes there."""
        parent = parent or Path(tempfile.gettempdir())
        for path in parent.glob(_PREFIX + "*"):
            lock = _lock(path)
            if lock is not None:
                _remove(path)
                os.close(lock)
        while True:
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            lock = _lock(path)
            if lock is not None and path.exists():
                return cls(path, lock)
            # Another node has begun, and took this one for a dead one's.
            if lock is not None:
                os.close(lock)

    def use(self, part: str) -> None:
        """Let this process, and all that it loads, put temporary files into an empty part of it."""
        folder = self.path / part
        if folder.exists():
            _remove(folder)
        folder.mkdir()
        tempfile.tempdir = str(folder)
        os.environ["TMPDIR"] = str(folder)

    def remove(self) -> None:
        """Remove the folder, in the process that has made it; in a child, do nothing."""
        if os.getpid() == self._pid:
            _remove(self.path)
            os.close(self._lock)

    def remove_at_exit(self) -> None:
        """Remove it when this process ends, after multiprocessing has removed what it has there."""
        Finalize(None, self.remove, exitpriority=_LAST)


def _lock(path: Path) -> int | None:
    """Return the lock on a folder; None when another process has it, or when it is no folder of ours."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("scratch_not_removed", path=str(path), reason=str(error))
