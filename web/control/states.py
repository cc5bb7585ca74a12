"""States that were given up: their files are removed a while later, when nobody reads them any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.errors import FilesHeld, IdentityMissing, IdentityWrong
from shared.logs import get_logger
from web.backend import Backend
from web.jobs.thinning import names_state
from web.protection import check_hold

#: Whoever has found a state in its row, to copy it for a fork, has done so by then.
GRACE = timedelta(minutes=1)
#: In one round, which does more than this.
_MOST_A_ROUND = 20
_log = get_logger(__name__)


@dataclass(frozen=True)
class _GivenUp:
    """A file that no row names any more, and when it may be removed."""

    due_at: datetime
    job_id: str
    key: str


class GivenUpStates:
    """Removes such files, the oldest first.

    What a control that ends has not removed is a dead file, which the pruner finds once the job has ended.
    """

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._waiting: deque[_GivenUp] = deque()

    def add(self, job_id: str, keys: Iterable[str]) -> None:
        """Add files of a job once it is committed that no row names them."""
        self._waiting += [_GivenUp(self._clock() + GRACE, job_id, key) for key in keys]

    def remove_due(self) -> int:
        """Remove those that are due, and return how many; none while a backup copies files.

        Raises:
            DatabaseUnavailable, StorageUnavailable: the next call goes on where this one has stopped.
        """
        count = 0
        while self._waiting and count < _MOST_A_ROUND and self._waiting[0].due_at <= self._clock():
            try:
                self._remove(self._waiting[0])
            except (FilesHeld, IdentityMissing, IdentityWrong):
                break
            self._waiting.popleft()
            count += 1
        return count

    def _remove(self, file: _GivenUp) -> None:
        self._backend.check_storage()
        with self._backend.database.read() as session:
            check_hold(session, now=self._clock())
            # An attempt that was begun again may have made this very one once more.
            is_named = names_state(session, file.job_id, file.key)
        if not is_named:
            self._backend.storage.delete(file.key)
            _log.info("state_removed", job_id=file.job_id, key=file.key)
