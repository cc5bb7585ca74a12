"""The identity of this installation: made once, and compared at every start of web, control and commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func, select

from shared.errors import ArtifactExists, IdentityMissing, IdentityWrong
from shared.installation import IDENTITY_KEY, Installation, has_content, read_identity, write_identity
from shared.logs import get_logger
from shared.protocol import new_id
from shared.storage.layout import asset_key
from shared.storage.store import ArtifactStore
from shared.storage.verify import holds_file
from web.db.database import Database
from web.db.models import Asset, InstallationRow, Job, JobCheckpoint

_SAMPLE = 20
_log = get_logger(__name__)


@dataclass(frozen=True)
class Sighting:
    """What database and storage look like before they are used."""

    #: The id in the database, and whether the storage was ever seen with it.
    row_id: str | None
    is_confirmed: bool
    #: The id in the storage.
    file_id: str | None
    #: Whether the database knows pictures or jobs, and whether the storage holds some.
    has_rows: bool
    has_files: bool
    #: Whether pictures that the database knows are in the storage, and work on jobs that is in either is in
    #: both. Everybody may have the same pictures, such as those of the demo; no two have a job in common.
    share_pictures: bool


class Step(StrEnum):
    """What is to be done before the two may be used."""

    NOTHING = "nothing"
    #: A new id for both.
    MAKE = "make"
    #: The database takes the id of the storage: it is a copy from before there were ids.
    ADOPT = "adopt"
    #: The storage gets the id of the database: the process that made it was killed half-way.
    FINISH = "finish"


def decide_identity(seen: Sighting) -> Step:
    """Decide whether database and storage belong together.

    Raises:
        IdentityMissing: when the storage lacks what the database knows: it is not mounted, or a wrong one.
        IdentityWrong: when they are of two installations.
    """
    if seen.row_id is not None:
        if seen.file_id == seen.row_id:
            return Step.NOTHING if seen.is_confirmed else Step.FINISH
        if seen.file_id is not None:
            raise IdentityWrong(
                f"the database is of the installation {seen.row_id}, the storage of {seen.file_id}"
            )
        if seen.is_confirmed:
            raise IdentityMissing()
        return Step.FINISH
    if seen.file_id is not None:
        if seen.share_pictures:
            return Step.ADOPT
        # Also where neither holds anything yet: the other service may be at work, and two databases beside
        # one storage take each other's files for garbage.
        hint = "" if seen.has_files else f"; if no service uses it, remove {IDENTITY_KEY} from it"
        raise IdentityWrong(
            f"the storage is of the installation {seen.file_id}, and the database of none: put the database "
            f"that belongs to it back, or choose another folder for the storage{hint}"
        )
    if seen.has_files and not seen.has_rows:
        raise IdentityWrong(
            "the storage holds files of jobs, and the database knows none: put the database that belongs to "
            "it back, or choose another folder for the storage"
        )
    if seen.has_rows and not seen.share_pictures:
        raise IdentityMissing(
            "the database knows pictures, and the storage has none of them: it is not mounted, or another one"
        )
    return Step.MAKE


@dataclass(frozen=True)
class Identity:
    """The identity that was established, and whether nodes of the first release may be at work."""

    installation: Installation
    from_first_release: bool


def establish_identity(
    database: Database, store: ArtifactStore, *, now: datetime, may_make: bool
) -> Identity:
    """Return the identity of database and storage; make it at the first start, if `may_make`.

    Any number of processes may start at once: the first row in the database decides. It is written before
    the file, so that a start that is killed in between is finished by the next.

    Raises:
        IdentityMissing, IdentityWrong: as `decide_identity`, or when there is none and none may be made.
        DatabaseUnavailable, StorageUnavailable: when they fail.
    """
    seen = _look(database, store)
    step = decide_identity(seen)
    if step is Step.NOTHING:
        return _read(database)
    if not may_make:
        raise IdentityMissing("database and storage have no identity yet: start the service once")
    if step in (Step.MAKE, Step.ADOPT):
        _add_row(database, seen.file_id or new_id(), from_first_release=seen.has_rows, now=now)
    identity = _read(database)
    store.make_root()
    try:
        write_identity(store, identity.installation)
        _log.info("installation_made", installation_id=identity.installation.id)
    except ArtifactExists:
        found = read_identity(store)
        if found != identity.installation:  # another service took this storage in this very moment
            raise IdentityWrong(f"the storage is of the installation {found.id if found else None}") from None
    with database.write() as session:
        session.get_one(InstallationRow, identity.installation.id).is_confirmed = True
    return identity


def _look(database: Database, store: ArtifactStore) -> Sighting:
    """Look at both at one moment: again, where another start has made the file while this one looked."""
    while True:
        found = read_identity(store)
        seen = _look_beside(found, database, store)
        if read_identity(store) == found:
            return seen


def _look_beside(found: Installation | None, database: Database, store: ArtifactStore) -> Sighting:
    folders = store.folders("jobs", limit=_SAMPLE)
    with database.read() as session:
        known = session.scalar(select(Job.id).where(Job.id.in_(folders)).limit(1))
        row = session.scalar(select(InstallationRow))
        has_jobs = session.scalar(select(Job.id).limit(1)) is not None
        pictures = session.scalars(select(Asset.sha256).order_by(Asset.id.desc()).limit(_SAMPLE)).all()
        work = select(func.max(JobCheckpoint.key)).group_by(JobCheckpoint.job_id)
        checkpoints = session.scalars(work.order_by(JobCheckpoint.job_id.desc()).limit(_SAMPLE)).all()
    if checkpoints:
        share_work = any(holds_file(store, key) for key in checkpoints if key)
    else:
        share_work = known is not None or not folders
    return Sighting(
        row_id=row.id if row else None,
        is_confirmed=bool(row and row.is_confirmed),
        file_id=found.id if found else None,
        has_rows=has_jobs or bool(pictures),
        has_files=has_content(store),
        share_pictures=any(holds_file(store, asset_key(sha256)) for sha256 in pictures) and share_work,
    )


def _add_row(database: Database, installation_id: str, *, from_first_release: bool, now: datetime) -> None:
    """Add the row, unless another process has done so meanwhile."""
    with database.write() as session:
        if session.scalar(select(InstallationRow)) is None:
            session.add(
                InstallationRow(id=installation_id, from_first_release=from_first_release, created_at=now)
            )


def _read(database: Database) -> Identity:
    with database.read() as session:
        row = session.scalars(select(InstallationRow)).one()
        return Identity(Installation(id=row.id), row.from_first_release)
