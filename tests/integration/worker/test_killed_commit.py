"""A node is killed at each single thing that a commit does to the disk; then the same attempt goes on.

Real control, real worker, real store; the death comes before the n-th of the system's calls that change the
disk, or right after it, and from then on nothing more is done.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

import pytest

from shared.storage.layout import checkpoint_key
from tests.support.bench import Bench
from tests.support.engines import WeighingEngine
from tests.support.matching_rows import assert_rows_match_files
from tests.support.mortal_disk import LEAST_POINTS, Death, when_its_end_is_stored
from tests.support.real_engine import Killed
from worker.engine.state import Step

POINTS = range(1, LEAST_POINTS + 7)
FEW = {"steps": 6, "checkpoint_every": 3, "style_weight": 0.5}


def begin(bench: Bench, job_id: str, point: int, *, is_after: bool = False) -> Death:
    """Carry the attempt out until the node dies, if it does."""

    def die() -> NoReturn:
        raise Killed

    class Mortal(WeighingEngine):
        def _record(self, *given: Any) -> Step:
            step = super()._record(*given)
            arm = partial(death.arm, point, is_after=is_after)
            return when_its_end_is_stored(step, arm) if step.step == step.steps else step

    death = Death(die)
    with pytest.MonkeyPatch.context() as patch:
        death.install(patch)
        try:
            bench.work(job_id, Mortal())
        except Killed:
            bench.context.redis.claims.release(job_id, 1, token="node-a", ended=False)
    bench.control.projector.drain()
    return death


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_the_same_attempt_goes_on(submit, bench: Bench, settings, point: int, is_after: bool):
    lone = submit(options=FEW)["id"]
    bench.work(lone)
    job_id = submit(options=FEW)["id"]
    death = begin(bench, job_id, point, is_after=is_after)
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
    death = begin(bench, job_id, 10_000)
    assert LEAST_POINTS <= death.count <= max(POINTS)
    assert bench.job(job_id)["status"] == "succeeded"


def test_a_checkpoint_that_was_gone_on_from_is_not_written_again(submit, bench: Bench, settings):
    job_id = submit(options=FEW)["id"]
    # Before the result is begun.
    begin(bench, job_id, 17)
    state = settings.data_dir / "storage" / checkpoint_key(job_id, 1, 6)
    before = state.stat()
    bench.work(job_id)
    after = state.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert bench.job(job_id)["status"] == "succeeded"
