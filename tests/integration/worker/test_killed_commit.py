"""A node is killed at each single thing that a commit does to the disk; then the same attempt goes on.

Real control, real worker, real store; the death comes before the n-th of the system's calls that change the
disk, or right after it, and from then on nothing more is done.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.storage.layout import checkpoint_key
from tests.support.bench import Bench
from tests.support.engines import WeighingEngine
from tests.support.matching_rows import assert_rows_match_files
from tests.support.real_engine import Killed

#: Of a last checkpoint and its picture, the preview, the result and its marker: 24 and a few more.
POINTS = range(1, 31)
FEW = {"steps": 6, "checkpoint_every": 3, "style_weight": 0.5}


class Death:
    """Kills at the n-th change of the disk once it is `armed`; `count` is how many there were."""

    def __init__(self, point: int, *, is_after: bool) -> None:
        self.point = point
        self.is_after = is_after
        self.count = 0
        self.is_armed = self.is_dead = False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def mortal(*words: Any, **names: Any) -> Any:
            if self.is_dead:
                raise Killed
            if not self.is_armed:
                return call(*words, **names)
            self.count += 1
            self.is_dead = self.count == self.point
            if self.is_dead and not self.is_after:
                raise Killed
            result = call(*words, **names)
            if self.is_dead:
                raise Killed
            return result

        return mortal


@contextmanager
def mortal_disk(death: Death) -> Iterator[None]:
    """Let every change of the disk be one at which the process may die."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (os, "link"), (os, "fsync"), (os, "fchmod"), (tempfile, "mkstemp"),
            (Path, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"),
        ):  # fmt: skip
            patch.setattr(owner, name, death.wrap(getattr(owner, name)))
        yield


def begin(bench: Bench, job_id: str, death: Death) -> None:
    """Carry the attempt out until the node dies, if it does."""

    def arm(step: int) -> None:
        death.is_armed = step == FEW["steps"]

    with mortal_disk(death):
        try:
            bench.work(job_id, WeighingEngine(arm))
        except Killed:
            bench.context.redis.claims.release(job_id, 1, token="node-a", ended=False)
    bench.control.projector.drain()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_the_same_attempt_goes_on(submit, bench: Bench, settings, point: int, is_after: bool):
    lone = submit(options=FEW)["id"]
    bench.work(lone)
    job_id = submit(options=FEW)["id"]
    death = Death(point, is_after=is_after)
    begin(bench, job_id, death)
    assert death.is_dead or death.count < point
    storage = settings.data_dir / "storage"
    bench.work(job_id)
    assert bench.job(job_id)["status"] == "succeeded"
    assert bench.output(job_id) == bench.output(lone)
    assert_rows_match_files(bench.control.backend.database, storage)
    # What a row with another hash than its file made impossible for ever.
    fork = bench.post(job_id, "fork", {"step": 6, "options": {"steps": 8}})
    bench.work(fork["id"])
    bench.post(job_id, "extend", {"steps": 2})
    bench.work(job_id)
    assert [bench.job(one)["status"] for one in (fork["id"], job_id)] == ["succeeded"] * 2
    assert bench.output(job_id) == bench.output(fork["id"])
    assert_rows_match_files(bench.control.backend.database, storage)


def test_the_points_are_all_there_are(submit, bench: Bench):
    job_id = submit(options=FEW)["id"]
    death = Death(10_000, is_after=False)
    begin(bench, job_id, death)
    assert 24 <= death.count <= max(POINTS)
    assert bench.job(job_id)["status"] == "succeeded"


def test_a_checkpoint_that_was_gone_on_from_is_not_written_again(submit, bench: Bench, settings):
    job_id = submit(options=FEW)["id"]
    # Before the result is begun.
    begin(bench, job_id, Death(17, is_after=False))
    state = settings.data_dir / "storage" / checkpoint_key(job_id, 1, 6)
    before = state.stat()
    bench.work(job_id)
    after = state.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert bench.job(job_id)["status"] == "succeeded"
