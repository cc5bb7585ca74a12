"""The survey: reads rows and files, and says what the decisions make of them. Removes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.clock import to_rfc3339
from shared.errors import ArtifactMissing
from shared.storage.layout import asset_key, job_folder
from shared.storage.store import ArtifactStore, StoredFile
from web.control.garbage import (
    Cutoffs,
    Finding,
    Kind,
    decide_asset_folder,
    decide_check_folder,
    decide_job_folder,
    decide_unused_asset,
    picture_of,
)
from web.database import Database
from web.repository import retention

_ASSETS, _CHECK, _JOBS = "assets", "check", "jobs"
_JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE = 1000
#: Entries of inbox and idempotency keys are so small that many of them count as one row.
_ENTRIES_A_ROW = 50


class Survey:
    """Looks at the database and at places of the storage; a place is a folder looked at as a whole."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store

    def rows(self, cutoffs: Cutoffs, *, limit: int | None) -> list[Finding]:
        """Return the rows that may go, at most `limit` of each kind, oldest first.

        Raises:
            DatabaseUnavailable, StorageUnavailable: when they fail. The same holds for all that follows.
        """
        with self._database.read() as session:
            jobs = (
                retention.expired_jobs(session, cutoffs.completed, limit=limit) if cutoffs.completed else []
            )
            assets = retention.unused_assets(session, cutoffs.garbage, limit=limit)
            counts = {
                Kind.INBOX_ENTRY: retention.count_inbox(session, cutoffs.inbox),
                Kind.IDEMPOTENCY_KEY: retention.count_idempotency_keys(session, cutoffs.idempotency),
            }
        findings = []
        for job_id, completed_at in jobs:
            size_bytes = sum(file.size_bytes for file in self._store.inventory(job_folder(job_id)))
            reason = f"it ended at {to_rfc3339(completed_at)}"
            findings.append(Finding(Kind.EXPIRED_JOB, job_id, reason, size_bytes))
        for asset in assets:
            finding = decide_unused_asset(asset, self._file(asset.sha256), before=cutoffs.garbage)
            findings += [finding] if finding else []
        findings += [
            Finding(
                kind,
                kind.value,
                "older than any repetition",
                count=count if limit is None else min(count, _ENTRIES_A_ROW * limit),
            )
            for kind, count in counts.items()
            if count
        ]
        return findings

    def places(self, *, after: str = "", limit: int) -> list[str]:
        """Return, sorted, up to `limit` places that come after one."""
        found = []
        for root in (_ASSETS, _CHECK, _JOBS):
            if root == _CHECK:
                found += [_CHECK] if after < _CHECK else []
            elif after.partition("/")[0] <= root:
                last = after.removeprefix(root + "/") if after.startswith(root + "/") else ""
                found += [f"{root}/{name}" for name in self._store.folders(root, after=last, limit=limit)]
        return found[:limit]

    def all_places(self) -> Iterator[str]:
        """Yield every place."""
        after = ""
        while page := self.places(after=after, limit=_PAGE):
            yield from page
            after = page[-1]

    def look(self, place: str, cutoffs: Cutoffs) -> list[Finding]:
        """Return what may go at a place.

        Files are read before rows: what is added in between only makes more of them needed. Next to a
        database that knows nothing at all, nothing is an orphan: more likely it is the wrong database.
        """
        files = self._store.inventory(place)
        root, _, name = place.partition("/")
        if root == _CHECK:
            return decide_check_folder(files, before=cutoffs.garbage)
        with self._database.read() as session:
            if retention.is_empty(session):
                return []
            if root == _JOBS:
                if not _JOB_ID.fullmatch(name):
                    return []
                row = retention.job_rows(session, [name]).get(name)
                return decide_job_folder(place, files, row, before=cutoffs.garbage)
            pictures = {sha256 for file in files if (sha256 := picture_of(file.key))}
            known = retention.known_pictures(session, pictures)
        return decide_asset_folder(files, known, before=cutoffs.garbage)

    def _file(self, sha256: str) -> StoredFile | None:
        try:
            return self._store.stat(asset_key(sha256))
        except ArtifactMissing:
            return None
