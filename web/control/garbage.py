"""Garbage: decides which rows and files may be removed, and the storage scan that reads them.

Files and folders with unknown names or places are never removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from shared.clock import to_rfc3339
from shared.errors import ArtifactMissing, StorageUnavailable
from shared.logs import get_logger
from shared.status import JobKind
from shared.storage.layout import asset_key, is_set_aside, job_folder, marker_key
from shared.storage.store import StoredFile
from web.backend import Backend
from web.jobs import retention
from web.jobs.idempotency import KEPT
from web.jobs.retention import JobRow, UnusedAsset
from web.protection import RESTORE_GRACE, moment_of, read_protection

#: A report is not delivered again after this; a key is kept no longer than this.
INBOX_KEPT = timedelta(days=7)
IDEMPOTENCY_KEPT = KEPT

_PICTURE = re.compile(r"assets/[0-9a-f]{2}/([0-9a-f]{64})(?:(?:\.large)?\.thumbnail\.jpg)?")
_THUMBNAIL = re.compile(r"jobs/[^/]+/thumbnail-([0-9a-f]+)\.jpg")
_ATTEMPT_FILE = re.compile(
    r"jobs/[^/]+/attempt-(\d+)/"
    r"(?:checkpoint-\d+(?:\.safetensors|\.png|-[0-9a-f]+\.jpg)|(preview)\.jpg|result-[0-9a-f]+\.png|result\.json)"
)
_CHECKPOINT_THUMBNAIL = re.compile(
    r"(.+/checkpoint-\d+(?:\.png|-[0-9a-f]+\.jpg))(?:\.[0-9a-f]+)?\.thumbnail\.jpg"
)
_REPLACED_FILE = re.compile(r"jobs/[^/]+/replaced-(\d+)-[^/]+/[^/]+")
_JOB_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_PAGE = 1000
_log = get_logger(__name__)
#: Inbox entries and idempotency keys are so small that this many of them count as one row.
_ENTRIES_A_ROW = 50


class Kind(StrEnum):
    """The kinds of garbage."""

    #: A job that ended long ago, with its files.
    EXPIRED_JOB = "expired_job"
    #: An asset that no job refers to and nobody has starred, with its file.
    UNUSED_ASSET = "unused_asset"
    #: Reports applied long ago, and stored answers to repeated requests.
    INBOX_ENTRY = "inbox_entry"
    IDEMPOTENCY_KEY = "idempotency_key"
    #: A folder of a job that has no row.
    ORPHANED_JOB = "orphaned_job"
    #: A file of a final job that nothing refers to.
    DEAD_FILE = "dead_file"
    #: A picture that no asset has.
    ORPHANED_ASSET = "orphaned_asset"
    #: A partial file of a killed writer.
    PARTIAL_FILE = "partial_file"
    #: A file of an interrupted check of the storage.
    CHECK_FILE = "check_file"


@dataclass(frozen=True)
class Finding:
    """One thing that may be removed: a row's id or a key, the reason, and its size and count."""

    kind: Kind
    name: str
    reason: str
    size_bytes: int = 0
    count: int = 1

    @property
    def identity(self) -> tuple[Kind, str]:
        """The kind and name, which are equal for the same thing found twice."""
        return self.kind, self.name


@dataclass(frozen=True)
class Cutoffs:
    """The moments before which things are old enough; without `completed`, jobs are kept for ever."""

    completed: datetime | None
    #: Drafts that ended before this go.
    drafts: datetime
    garbage: datetime
    inbox: datetime
    idempotency: datetime
    #: Attempts that a restore put aside before this go.
    replaced: datetime

    @property
    def ended(self) -> Mapping[JobKind, datetime | None]:
        """By the kind of a job the moment before which it must have ended; None keeps it for ever."""
        return {JobKind.JOB: self.completed, JobKind.DRAFT: self.drafts}


def cutoffs_at(
    now: datetime, *, retention_days: float, garbage_hours: float, draft_hours: float = 24
) -> Cutoffs:
    """Return the cutoffs now; 0 `retention_days` keep jobs for ever."""
    return Cutoffs(
        completed=_before(now, retention_days * 24) if retention_days else None,
        drafts=_before(now, draft_hours),
        garbage=_before(now, garbage_hours),
        inbox=now - INBOX_KEPT,
        idempotency=now - IDEMPOTENCY_KEPT,
        replaced=now - RESTORE_GRACE,
    )


def _before(now: datetime, hours: float) -> datetime:
    """Return the moment so many hours ago; the beginning of all time where that is further away."""
    try:
        return now - timedelta(hours=hours)
    except OverflowError:
        return _BEGINNING


def decide_job_folder(
    folder: str,
    files: Sequence[StoredFile],
    row: JobRow | None,
    *,
    before: datetime,
    kept_since: datetime | None = None,
    replaced_before: datetime | None = None,
) -> list[Finding]:
    """Decide about a job's folder, given all of its files, and its row if there is one.

    Without a row, all of it must be old, and nothing of it from `kept_since` or later. A folder that a
    killed removal has emptied is told by the moment in its name.

    Of a job that is not final only partial files of killed writers, and files that were set aside, are
    removed. Of a final one at attempt n the files of attempts up to n that nothing refers to are removed,
    too. That is safe even if the job is retried, extended or forked in this very moment, because such a file
    is never needed again: a row gets references only to files of its current attempt, a final job's attempt
    never comes back (retry and extend make it n + 1), and a fork copies a checkpoint that has a row. A worker
    that lists checkpoints skips one that is gone.
    """
    if row is None:
        made_at = moment_of(folder.rpartition("/")[2])
        written = [file.modified_at for file in files]
        named = [made_at] if made_at else []
        is_young = any(moment >= before for moment in written or named)
        is_kept = kept_since is not None and any(moment >= kept_since for moment in written + named)
        if is_young or is_kept or not (written or named):
            return _partials(files, before)
        return [Finding(Kind.ORPHANED_JOB, folder, "no job has this id", _size(files), len(files))]
    findings = [
        *_partials(files, before),
        *_set_aside(files, before),
        *_replaced(files, replaced_before),
    ]
    if not row.status.is_final or row.completed_at is None or row.completed_at >= before:
        return findings
    needed = row.needed | _markers(row) | _newest_preview(files, row)
    for file in files:
        attempt = _attempt_of(_shown_by(file.key))
        is_dead = attempt is not None and attempt <= row.attempt and _shown_by(file.key) not in needed
        if file.is_partial or not (is_dead or _is_outdated_thumbnail(file.key, row)):
            continue
        if file.modified_at < before:
            reason = f"nothing of the {row.status} job refers to it"
            findings.append(Finding(Kind.DEAD_FILE, file.key, reason, file.size_bytes))
    return sorted(findings, key=lambda finding: finding.name)


def decide_asset_folder(
    files: Sequence[StoredFile],
    known: Collection[str],
    *,
    before: datetime,
    kept_since: datetime | None = None,
) -> list[Finding]:
    """Decide about a folder of pictures and their thumbnails; `known` are the SHA-256 that assets have.

    An upload stores its file before its row: so only old files are removed, and an upload of a picture that
    exists makes its file young again (`ArtifactStore.touch`).
    """
    findings = _partials(files, before)
    for file in files:
        sha256 = picture_of(file.key)
        is_kept = kept_since is not None and file.modified_at >= kept_since
        if sha256 is not None and sha256 not in known and file.modified_at < before and not is_kept:
            findings.append(Finding(Kind.ORPHANED_ASSET, file.key, "no asset has it", file.size_bytes))
    return sorted(findings, key=lambda finding: finding.name)


def decide_check_folder(files: Sequence[StoredFile], *, before: datetime) -> list[Finding]:
    """Decide about the files that processes write to check the storage."""
    return [
        Finding(Kind.CHECK_FILE, file.key, "a check was interrupted", file.size_bytes)
        for file in files
        if file.modified_at < before
    ]


def decide_unused_asset(asset: UnusedAsset, file: StoredFile | None, *, before: datetime) -> Finding | None:
    """Decide about an asset without a job; a file touched since `before` means it was uploaded again."""
    if asset.created_at >= before or (file is not None and file.modified_at >= before):
        return None
    size_bytes = 0 if asset.is_shared or file is None else file.size_bytes
    reason = f"no job refers to it since {to_rfc3339(asset.created_at)} or later"
    return Finding(Kind.UNUSED_ASSET, asset.id, reason, size_bytes)


def picture_of(key: str) -> str | None:
    """Return the SHA-256 in the key of a picture or of its thumbnail; None for any other key."""
    match = _PICTURE.fullmatch(key)
    return match[1] if match else None


def _partials(files: Sequence[StoredFile], before: datetime) -> list[Finding]:
    # A writer that has not finished by now is dead, or lost its lease long ago.
    return [
        Finding(Kind.PARTIAL_FILE, file.key, "its writer was killed", file.size_bytes)
        for file in sorted(files, key=lambda file: file.key)
        if file.is_partial and file.modified_at < before
    ]


def _replaced(files: Sequence[StoredFile], before: datetime | None) -> list[Finding]:
    """Return what a restore put aside long ago: the attempts of another course of events."""
    found = [(int(match[1]), file) for file in files if (match := _REPLACED_FILE.fullmatch(file.key))]
    return [
        Finding(Kind.DEAD_FILE, file.key, "a restore replaced it", file.size_bytes)
        for seconds, file in found
        if before is not None and seconds < before.timestamp() and not file.is_partial
    ]


def _shown_by(key: str) -> str:
    """Return the key of the picture that a checkpoint's thumbnail shows; any other key as it is."""
    match = _CHECKPOINT_THUMBNAIL.fullmatch(key)
    return match[1] if match else key


def _set_aside(files: Sequence[StoredFile], before: datetime) -> list[Finding]:
    # Kept for a while for whoever wants to know what lay there; nothing ever refers to it.
    return [
        Finding(Kind.DEAD_FILE, file.key, "it was not what its place said", file.size_bytes)
        for file in sorted(files, key=lambda file: file.key)
        if is_set_aside(file.key) and file.modified_at < before
    ]


def _attempt_of(key: str) -> int | None:
    match = _ATTEMPT_FILE.fullmatch(key)
    return int(match[1]) if match else None


def _is_outdated_thumbnail(key: str, row: JobRow) -> bool:
    """Whether a file is the thumbnail of an earlier result."""
    match = _THUMBNAIL.fullmatch(key)
    return match is not None and not any(f"/result-{match[1]}." in output for output in row.outputs)


def _markers(row: JobRow) -> set[str]:
    attempts = {attempt for key in row.outputs if (attempt := _attempt_of(key)) is not None}
    return {marker_key(row.id, attempt) for attempt in attempts}


def _newest_preview(files: Sequence[StoredFile], row: JobRow) -> set[str]:
    """Return the preview that is shown: that of the last attempt that has one."""
    matches = [match for file in files if (match := _ATTEMPT_FILE.fullmatch(file.key)) and match[2]]
    shown = [(int(match[1]), match[0]) for match in matches if int(match[1]) <= row.attempt]
    return {max(shown)[1]} if shown else set()


def _size(files: Sequence[StoredFile]) -> int:
    return sum(file.size_bytes for file in files)


_ASSETS, _CHECK, _JOBS = "assets", "check", "jobs"


class StorageScan:
    """Finds garbage in the database and in places of the storage; a place is a folder scanned as a whole."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    def rows(self, cutoffs: Cutoffs, *, limit: int | None) -> list[Finding]:
        """Return the rows that may be removed, at most `limit` of each kind, oldest first.

        Raises:
            DatabaseUnavailable, StorageUnavailable: when they fail. The same holds for all methods below.
        """
        with self._backend.database.read() as session:
            jobs = retention.expired_jobs(session, cutoffs.ended, limit=limit)
            assets = retention.unused_assets(session, cutoffs.garbage, limit=limit)
            counts = {
                Kind.INBOX_ENTRY: retention.count_inbox(session, cutoffs.inbox),
                Kind.IDEMPOTENCY_KEY: retention.count_idempotency_keys(session, cutoffs.idempotency),
            }
        findings = []
        for job_id, completed_at in jobs:
            # One folder that cannot be read must not keep all others.
            with self.passed_over(job_id):
                files = self._backend.storage.inventory(job_folder(job_id))
                reason, size_bytes = f"it ended at {to_rfc3339(completed_at)}", _size(files)
                findings.append(Finding(Kind.EXPIRED_JOB, job_id, reason, size_bytes))
        for asset in assets:
            with self.passed_over(asset.id):
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

    @contextmanager
    def passed_over(self, name: str) -> Iterator[None]:
        """Leave what cannot be looked at to a later time, unless it is the whole storage that fails."""
        try:
            yield
        except StorageUnavailable as error:
            self._backend.check_storage()
            _log.warning("prune_passed_over", name=name, detail=error.detail)

    def places(self, *, after: str = "", limit: int) -> list[str]:
        """Return, sorted, up to `limit` places that come after the place `after`."""
        found = []
        for root in (_ASSETS, _CHECK, _JOBS):
            if root == _CHECK:
                found += [_CHECK] if after < _CHECK else []
            elif after.partition("/")[0] <= root:
                last = after.removeprefix(root + "/") if after.startswith(root + "/") else ""
                found += [
                    f"{root}/{name}" for name in self._backend.storage.folders(root, after=last, limit=limit)
                ]
        return found[:limit]

    def all_places(self) -> Iterator[str]:
        """Yield every place."""
        after = ""
        while page := self.places(after=after, limit=_PAGE):
            yield from page
            after = page[-1]

    def look(self, place: str, cutoffs: Cutoffs) -> list[Finding]:
        """Return what may be removed at a place; what a killed removal left set aside is put back first.

        Files are read before rows: rows that are added in between only make more files needed. With an empty
        database no file counts as an orphan: it is probably the wrong database. While a backup holds the
        files, nothing may be removed.
        """
        files = self._backend.storage.inventory(place)
        if any(file.is_aside for file in files):
            _log.warning("put_back", keys=self._backend.storage.put_back(place))
            files = self._backend.storage.inventory(place)
        root, _, name = place.partition("/")
        with self._backend.database.read() as session:
            protection = read_protection(session, now=self._clock())
            if protection.is_held:
                return []
            if root == _CHECK:
                return decide_check_folder(files, before=cutoffs.garbage)
            if retention.is_empty(session):
                return []
            if root == _JOBS:
                if not _JOB_ID.fullmatch(name):
                    return []
                row = retention.job_rows(session, [name]).get(name)
                return decide_job_folder(
                    place, files, row, before=cutoffs.garbage, kept_since=protection.kept_since,
                    replaced_before=cutoffs.replaced,
                )  # fmt: skip
            pictures = {sha256 for file in files if (sha256 := picture_of(file.key))}
            known = retention.known_pictures(session, pictures)
        return decide_asset_folder(files, known, before=cutoffs.garbage, kept_since=protection.kept_since)

    def _file(self, sha256: str) -> StoredFile | None:
        try:
            return self._backend.storage.stat(asset_key(sha256))
        except ArtifactMissing:
            return None
