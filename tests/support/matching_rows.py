"""What every row says of a file, compared with the file that lies there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from web.db.database import Database
from web.db.models import Job, JobCheckpoint


def find_mismatches(
    jobs: Iterable[Job],
    checkpoints: Iterable[JobCheckpoint],
    storage: Path,
    *,
    damaged: Iterable[str] = (),
) -> Iterator[str]:
    """Yield a sentence for each row whose file is not there, or is another one than it says.

    `damaged` are the keys of files that were damaged or removed on purpose.
    """
    told: list[tuple[str, str, str, int | None]] = []
    for checkpoint in checkpoints:
        what = f"job {checkpoint.job_id}: its checkpoint of step {checkpoint.step}"
        if checkpoint.has_state:
            told.append((what, checkpoint.key, checkpoint.sha256, None))
    for job in jobs:
        told += [
            (f"job {job.id}: its output", output["key"], output["sha256"], output["size_bytes"])
            for output in job.outputs
        ]
        told += _origins(job)
    for what, key, sha256, size_bytes in told:
        if key in set(damaged):
            continue
        path = storage / key
        if not path.is_file():
            yield f"{what} is not there"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{what} has other bytes than its row says"
        elif size_bytes not in (None, path.stat().st_size):
            yield f"{what} has {path.stat().st_size} bytes, its row says {size_bytes}"


def assert_rows_match_files(database: Database, storage: Path) -> None:
    """Assert that every checkpoint, output and origin that a row tells of lies there, to the byte."""
    with database.read() as session:
        jobs, checkpoints = list(session.scalars(select(Job))), list(session.scalars(select(JobCheckpoint)))
    assert list(find_mismatches(jobs, checkpoints, storage)) == []


def _origins(job: Job) -> Iterator[tuple[str, str, str, int | None]]:
    origin: dict[str, Any] | None = job.origin
    while origin is not None:
        yield f"job {job.id}: the checkpoint it begins with", origin["key"], origin["sha256"], None
        origin = origin.get("fork")
