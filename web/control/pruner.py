"""The pruner: retention and garbage collection, a little in each round.

Three rules keep it from removing what a live job needs:

- Rows are deleted by statements that repeat all conditions, in a write transaction: a job that was retried in
  the meantime, or an asset that a new job uses, is not deleted. A job's row is deleted before its files, so
  that a crash in between leaves an orphaned folder, never a job without files.
- Files are removed only when they are old, and when a fresh scan of rows and files right before finds them
  again; a picture is removed by `ArtifactStore.delete_older`, which an upload's `touch` can prevent until the
  last moment.
- What one round of control finds, only the next one removes: a clock that jumps for a moment, or rows that
  were just about to be committed, do no harm.

A missing row proves nothing beside another installation's storage, beside an older database, or while a
backup copies files: so the identity is proved before each removal, and `web/protection.py` says what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from shared.errors import ArtifactMissing, FilesHeld, IdentityMissing, IdentityWrong, StorageUnavailable
from shared.logs import get_logger
from shared.storage.layout import asset_key, job_folder
from web.backend import Backend
from web.control.garbage import Cutoffs, Finding, Kind, StorageScan, cutoffs_at
from web.db.models import Asset
from web.jobs import retention
from web.protection import check_hold

_log = get_logger(__name__)
_PLACES_A_ROUND = 100
_ROWS_A_ROUND = 100
_ROW_KINDS = (Kind.EXPIRED_JOB, Kind.UNUSED_ASSET, Kind.INBOX_ENTRY, Kind.IDEMPOTENCY_KEY)


@dataclass
class Removal:
    """The results of a removal: findings that were removed, that are kept after all, and that failed."""

    removed: list[Finding] = field(default_factory=list)
    kept: list[Finding] = field(default_factory=list)
    failed: list[Finding] = field(default_factory=list)


class Pruner:
    """Removes expired jobs and garbage; `garbage_hours` of the settings is the least age of an orphan."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._scan = StorageScan(backend, clock=clock)
        self._found: list[Finding] = []
        self._refused = ""
        self._after = ""

    def step(self) -> Removal:
        """Remove what the last step found, and scan the next places; a failing storage is logged.

        Nothing is removed or looked for while a backup holds the files, or while the storage is not that of
        the database: that is logged once.

        Raises:
            DatabaseUnavailable: the next step continues where this one stopped.
        """
        found, self._found = self._found, []
        removal = Removal()
        try:
            self._remove_all(found, removal)
            self._prove()
            self._found = self._scan_next()
        except (IdentityMissing, IdentityWrong, FilesHeld) as error:
            if self._refused != error.code:
                _log.warning("nothing_is_pruned", code=error.code, detail=error.detail)
            self._refused = error.code
            return removal
        except StorageUnavailable as error:
            _log.warning("prune_survey_failed", detail=error.detail)
        self._refused = ""
        return removal

    def plan(self) -> list[Finding]:
        """Return all that may be removed now, everywhere; an expired job is listed once, with all its files.

        Raises:
            IdentityMissing, IdentityWrong: when the storage is not that of the database.
            FilesHeld: when a backup is being made.
            DatabaseUnavailable, StorageUnavailable: when they fail.
        """
        self._prove()
        cutoffs = self._cutoffs()
        findings = self._scan.rows(cutoffs, limit=None)
        expired = {job_folder(finding.name) for finding in findings if finding.kind is Kind.EXPIRED_JOB}
        for place in self._scan.all_places():
            if place not in expired:
                findings += self._scan.look(place, cutoffs)
        return findings

    def remove(self, findings: Sequence[Finding]) -> Removal:
        """Remove those of the findings that may still be removed.

        A failure of the storage is logged and leaves its findings for a later step.

        Raises:
            IdentityMissing, IdentityWrong: when the storage is not, or no longer, that of the database.
            FilesHeld: when a backup is being made.
            DatabaseUnavailable: when rows cannot be read or removed.
        """
        removal = Removal()
        self._remove_all(findings, removal)
        return removal

    def _remove_all(self, findings: Sequence[Finding], removal: Removal) -> None:
        """Remove findings, and note each; what was removed before an error is noted, too."""
        for (place, _), group in groupby(findings, key=_place_of):
            together, before = list(group), len(removal.removed)
            try:
                self._prove()
                if place:
                    self._remove_files(place, together, removal)
                else:
                    self._remove_row(together[0], removal)
            except (StorageUnavailable, ArtifactMissing) as error:
                # Files that others remove or write meanwhile are left to a later step, too.
                done = {finding.identity for finding in removal.removed + removal.kept}
                removal.failed += [finding for finding in together if finding.identity not in done]
                _log.warning("prune_failed", place=place or together[0].name, detail=error.detail)
            for finding in removal.removed[before:]:
                _log.info("pruned", kind=finding.kind, name=finding.name, size_bytes=finding.size_bytes)

    def _prove(self) -> None:
        """Prove that this is our storage as it is seen now, and that nobody holds its files.

        Each time anew: it may be unmounted at any moment, and another one mounted in its place.
        """
        self._backend.check_storage()
        with self._backend.database.read() as session:
            check_hold(session, now=self._clock())

    def _scan_next(self) -> list[Finding]:
        cutoffs = self._cutoffs()
        findings = self._scan.rows(cutoffs, limit=_ROWS_A_ROUND)
        places = self._scan.places(after=self._after, limit=_PLACES_A_ROUND)
        for place in places:
            self._after = place  # also when it fails: one bad folder must not block those after it
            with self._scan.passed_over(place):
                findings += self._scan.look(place, cutoffs)
        if len(places) < _PLACES_A_ROUND:
            self._after = ""
        return findings

    def _cutoffs(self) -> Cutoffs:
        return cutoffs_at(
            self._clock(),
            retention_days=self._backend.settings.retention_days,
            garbage_hours=self._backend.settings.garbage_hours,
            draft_hours=self._backend.settings.draft_hours,
        )

    def _remove_files(self, place: str, findings: list[Finding], removal: Removal) -> None:
        cutoffs = self._cutoffs()
        still = {finding.identity for finding in self._scan.look(place, cutoffs)}
        for finding in findings:
            if finding.identity not in still:
                gone = False
            elif finding.kind is Kind.ORPHANED_JOB:
                # Job ids are never reused: an old folder without a row will not get one.
                self._backend.storage.delete_tree(finding.name)
                gone = True
            else:
                gone = self._backend.storage.delete_older(finding.name, cutoffs.garbage)
            (removal.removed if gone else removal.kept).append(finding)

    def _remove_row(self, finding: Finding, removal: Removal) -> None:
        cutoffs = self._cutoffs()
        if finding.kind is Kind.EXPIRED_JOB:
            gone = self._remove_job(finding.name, cutoffs)
        elif finding.kind is Kind.UNUSED_ASSET:
            gone = self._remove_asset(finding.name, cutoffs)
        else:
            with self._backend.database.write() as session:
                if finding.kind is Kind.INBOX_ENTRY:
                    count = retention.delete_inbox(session, before=cutoffs.inbox, limit=finding.count)
                else:
                    count = retention.delete_idempotency_keys(
                        session, before=cutoffs.idempotency, limit=finding.count
                    )
            finding, gone = replace(finding, count=count), count > 0
        (removal.removed if gone else removal.kept).append(finding)

    def _remove_job(self, job_id: str, cutoffs: Cutoffs) -> bool:
        with self._backend.database.write() as session:
            check_hold(session, now=self._clock())
            if not retention.delete_expired_job(session, job_id, before=cutoffs.ended):
                return False
        self._backend.storage.delete_tree(job_folder(job_id))
        return True

    def _remove_asset(self, asset_id: str, cutoffs: Cutoffs) -> bool:
        with self._backend.database.read() as session:
            asset = session.get(Asset, asset_id)
        if asset is None:
            return False
        key = asset_key(asset.sha256)
        try:
            if self._backend.storage.stat(key).modified_at >= cutoffs.garbage:
                return False
        except ArtifactMissing:
            pass
        with self._backend.database.write() as session:
            check_hold(session, now=self._clock())
            if not retention.delete_unused_asset(session, asset_id, before=cutoffs.garbage):
                return False
        retention.forget_picture(self._backend, asset.sha256, before=cutoffs.garbage)
        return True


def _place_of(finding: Finding) -> tuple[str, str]:
    """Return the place of a file, to group by; a row has no place and is a group of its own."""
    if finding.kind in _ROW_KINDS:
        return "", f"{finding.kind} {finding.name}"
    depth = 1 if finding.kind is Kind.CHECK_FILE else 2  # everything in check/ is of this kind
    return "/".join(finding.name.split("/")[:depth]), ""
