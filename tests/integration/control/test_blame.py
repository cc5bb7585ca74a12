"""A job that its node hands back: another node tries, and what fails everywhere fails."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.clock import utc_now
from shared.errors import ArtifactMissing, OutOfMemory
from shared.protocol import EventType, Origin
from shared.redis.live import Flag
from shared.redis.workers import WorkerBeat, WorkerState
from shared.storage.layout import asset_key
from tests.support.bench import read, report, work
from tests.support.engines import RaisingEngine, SteadyEngine
from web.control.dispatcher import message_for
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import write_cancel, write_retry
from web.jobs.queries import get_job
from web.jobs.transitions import list_attempts
from worker.context import WorkerContext
from worker.runner import Outcome, Runner


class Broken(RaisingEngine):
    """An engine on a device that is broken."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(error or RuntimeError("CUDA_ERROR_LAUNCH_FAILED"))


@pytest.fixture
def other(context: WorkerContext) -> WorkerContext:
    """Another node of the same service."""
    return replace(context, worker_id="node-b")


def live(context: WorkerContext, worker_id: str, **facts: Any) -> None:
    now = utc_now()
    beat = WorkerBeat(worker_id=worker_id, device="cpu", weights="untrained", started_at=now, at=now, **facts)
    context.redis.workers.beat(beat)


def fault(control: Control, context: WorkerContext, job: Job, error: Exception | None = None) -> Job:
    work(context, job, Broken(error))
    control.projector.drain()
    return read(control, job)


def test_another_node_carries_it_out(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    after = fault(control, context, job)
    assert (after.status, after.status_reason, after.attempt) == ("queued", "worker_unfit", 1)
    assert (after.lost_workers, after.error) == (0, None)
    with control.backend.database.read() as session:
        assert [one.outcome for one in list_attempts(session, job.id)] == ["worker_unfit"]
    work(other, after)
    control.projector.drain()
    done = read(control, job)
    assert (done.status, done.worker_id, done.lost_workers) == ("succeeded", "node-b", 0)


def test_a_second_node_that_fails_in_the_same_way_ends_it(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-c")
    fault(control, context, job)
    after = fault(control, other, job)
    assert (after.status, after.error["code"]) == ("failed", "engine_failed")
    assert after.error["detail"].endswith("; the same at node-a and node-b")
    # The message that the second one gave back is worth nothing.
    third = Runner(replace(context, worker_id="node-c"), SteadyEngine(), draining=lambda: False)
    assert third.run(message_for(job)) is Outcome.DROPPED
    # Asked for anew, it is tried anew.
    with control.backend.database.write() as session:
        write_retry(session, get_job(session, job.id), now=utc_now())
    assert fault(control, context, read(control, job)).status == "queued"


def test_two_nodes_that_fail_otherwise_decide_nothing(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-c")
    fault(control, context, job)
    assert fault(control, other, job, ArtifactMissing("assets/x is not in the storage")).status == "queued"


def test_the_only_node_does_not_loop_for_ever(control: Control, context: WorkerContext, job: Job):
    live(context, "node-a")
    live(context, "node-b", state=WorkerState.UNHEALTHY, reason="no storage")
    assert [fault(control, context, job).status for _ in range(3)] == ["queued", "queued", "failed"]


def test_a_node_that_fails_everything_fails_nothing(control: Control, context: WorkerContext, job: Job):
    live(context, "node-a")
    live(context, "node-b", state=WorkerState.BUSY)
    statuses = []
    for _ in range(5):
        # As when the node is started again and again.
        fresh = WorkerContext.open(context.settings, context.redis.names, worker_id="node-a", device="cpu")
        statuses.append(fault(control, fresh, job).status)
        fresh.close()
    assert statuses == ["queued"] * 5


def test_an_input_that_control_misses_too_is_missing(control: Control, context: WorkerContext, job: Job):
    live(context, "node-b")
    context.store.delete(asset_key(job.content.sha256))
    after = fault(control, context, job)
    assert (after.status, after.error["code"]) == ("failed", "artifact_missing")


def test_an_input_that_control_finds_damaged_is_damaged(control: Control, context: WorkerContext, job: Job):
    live(context, "node-b")
    context.store.write(asset_key(job.content.sha256), b"something else")
    after = fault(control, context, job)
    assert (after.status, after.error["code"]) == ("failed", "artifact_corrupt")


def test_an_origin_that_is_gone_ends_the_job_though_nobody_could_begin_it(
    control: Control, context: WorkerContext, job: Job
):
    live(context, "node-b")
    key = f"jobs/{job.id}/origin.safetensors"
    with control.backend.database.write() as session:
        get_job(session, job.id).origin = {"job_id": "another", "step": 5, "key": key, "sha256": "0" * 64}
    after = fault(control, context, job := read(control, job))
    assert (after.status, after.error["code"]) == ("failed", "artifact_missing")
    assert key in after.error["detail"]


def test_an_origin_that_one_node_misses_is_told_to_control(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-b")
    key = f"jobs/{job.id}/origin.safetensors"
    context.store.write(key, b"a checkpoint")
    sha256 = hashlib.sha256(b"a checkpoint").hexdigest()
    with control.backend.database.write() as session:
        get_job(session, job.id).origin = {"job_id": "another", "step": 5, "key": key, "sha256": sha256}
    job = read(control, job)
    after = fault(control, replace(context, store=_Blind(context.store, "jobs/")), job)
    assert (after.status, after.status_reason, after.dispatched_at) == ("queued", "worker_unfit", None)
    assert [one["worker"] for one in after.metrics["faults"]] == ["node-a"]
    after = fault(control, replace(other, store=_Blind(context.store, "jobs/")), job)
    assert (after.status, after.error["code"]) == ("failed", "artifact_missing")
    assert after.error["detail"].endswith("; the same at node-a and node-b")


def test_a_canceled_job_whose_origin_is_gone_is_no_fault_of_the_node(
    control: Control, context: WorkerContext, job: Job
):
    origin = Origin(key=f"jobs/{job.id}/origin.safetensors", sha256="0" * 64, step=5)
    context.redis.flags.raise_flag(job.id, 1, Flag.CANCEL)
    message = message_for(job).model_copy(update={"origin": origin})
    assert Runner(context, SteadyEngine(), draining=lambda: False).run(message) is Outcome.ENDED
    assert context.node_state.faults == 0


def test_too_little_memory_on_one_device_may_be_enough_on_another(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-b")
    error = OutOfMemory("not enough device memory at size 512 px")
    after = fault(control, context, job, error)
    assert (after.status, after.error) == ("queued", None)
    after = fault(control, other, job, error)
    assert (after.status, after.error["code"]) == ("failed", "out_of_memory")


def test_too_little_memory_on_the_only_device_is_too_little(
    control: Control, context: WorkerContext, job: Job
):
    live(context, "node-a")
    after = fault(control, context, job, OutOfMemory("not enough device memory at size 512 px"))
    assert (after.status, after.error["code"]) == ("failed", "out_of_memory")


def kill(context: WorkerContext, job: Job) -> Outcome:
    """Let a node's process be killed over a job until the node gives up, as when memory is short."""
    report(context, job, EventType.CLAIMED)
    for _ in range(context.settings.max_deliveries):
        context.redis.claims.claim(job.id, job.attempt, token=context.token)
    return Runner(context, SteadyEngine(), draining=lambda: False).run(message_for(job))


def test_a_node_whose_process_is_killed_over_it_leaves_it_to_another(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-b")
    assert kill(context, job) is Outcome.FAULTED
    control.projector.drain()
    after = read(control, job)
    assert (after.status, after.status_reason, after.error) == ("queued", "worker_unfit", None)
    work(other, after)
    control.projector.drain()
    assert read(control, job).status == "succeeded"


def test_what_kills_two_nodes_is_the_jobs_fault(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    live(context, "node-c")
    for node in (context, other):
        kill(node, job)
        control.projector.drain()
    after = read(control, job)
    assert (after.status, after.error["code"]) == ("failed", "worker_crash_loop")


class _Blind:
    """A store as a node sees it whose mount lacks one folder."""

    def __init__(self, store: object, folder: str = "assets/") -> None:
        self._store, self._folder = store, folder

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self._store, name)

    def read(self, key: str) -> bytes:
        if key.startswith(self._folder):
            raise ArtifactMissing(f"{key} is not in the storage")
        return self._store.read(key)


def test_an_input_that_one_node_misses_is_there_for_another(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    after = fault(control, replace(context, store=_Blind(context.store)), job)
    assert (after.status, after.status_reason) == ("queued", "worker_unfit")
    work(other, after)
    control.projector.drain()
    assert read(control, job).status == "succeeded"


def test_a_job_that_is_to_stop_is_stopped(
    control: Control, context: WorkerContext, other: WorkerContext, job: Job
):
    fault(control, context, job)

    class Canceled(Broken):
        """It is canceled in the moment before it fails; the worker does not hear of it any more."""

        def _raise(self, number: int) -> None:
            if number == 3:
                control.projector.drain()
                with control.backend.database.write() as session:
                    write_cancel(session, get_job(session, job.id), now=utc_now())
            super()._raise(number)

    work(other, read(control, job), Canceled())
    control.projector.drain()
    assert read(control, job).status == "canceled"
    assert context.redis.flags.read(job.id, 1) in (None, Flag.CANCEL)
