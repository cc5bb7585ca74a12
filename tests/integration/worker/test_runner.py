"""The runner against a real Redis and a real store, with engines of known behaviour."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from shared.errors import (
    ArtifactExists,
    ArtifactMissing,
    AtelierError,
    CheckpointInvalid,
    EngineFailed,
    LossNotFinite,
    OutOfMemory,
    PictureInvalid,
    StorageUnavailable,
)
from shared.options import StyleOptions
from shared.protocol import (
    EventType,
    InputPicture,
    JobMessage,
    Origin,
    WorkerEvent,
    read_event,
    read_marker,
)
from shared.redis.live import Flag
from shared.settings import Settings
from shared.storage import layout
from tests.support.engines import RaisingEngine, SteadyEngine
from tests.support.installation import names_of
from worker.context import WorkerContext
from worker.engine.state import Step
from worker.runner import Outcome, Runner

Stylist = Callable[..., Outcome]


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = WorkerContext.open(
        settings, names_of(settings), worker_id="node-a", device="cpu", talk_seconds=0
    )
    yield context
    context.redis.close()


@pytest.fixture
def message(context: WorkerContext, make_picture: Callable[..., bytes]) -> JobMessage:
    pictures = []
    for seed in (1, 2):
        data = make_picture(seed=seed)
        sha256 = hashlib.sha256(data).hexdigest()
        context.store.write(layout.asset_key(sha256), data)
        pictures.append(InputPicture(key=layout.asset_key(sha256), sha256=sha256))
    options = StyleOptions(steps=20, checkpoint_every=5)
    return JobMessage(job_id="job", attempt=1, content=pictures[0], style=pictures[1], options=options)


def reported(context: WorkerContext) -> list[WorkerEvent]:
    """Everything reported since the last call."""
    deliveries = context.redis.stream.fresh(count=1000)
    context.redis.stream.acknowledge(deliveries)
    return [read_event(delivery.text) for delivery in deliveries]


def run(
    context: WorkerContext, message: JobMessage, engine: SteadyEngine, *, draining: bool = False
) -> Outcome:
    return Runner(context, engine, draining=lambda: draining).run(message)


def result_bytes(context: WorkerContext, message: JobMessage) -> bytes:
    marker = read_marker(context.store.read(layout.marker_key(message.job_id, message.attempt)))
    data = context.store.read(marker.outputs[0].key)
    assert hashlib.sha256(data).hexdigest() == marker.outputs[0].sha256
    return data


def test_a_job_from_claim_to_commit(context: WorkerContext, message: JobMessage):
    assert run(context, message, SteadyEngine()) is Outcome.ENDED
    events = reported(context)
    assert [event.type for event in events] == ["claimed", *["checkpointed"] * 4, "succeeded"]
    assert events[0].data["worker_id"] == "node-a"
    assert events[0].data["weights"]["notice"] == "untrained weights"
    assert [event.data["step"] for event in events[1:5]] == [5, 10, 15, 20]
    assert [[point[0] for point in event.data["curve"]] for event in events[1:3]] == [
        [1, 2, 3, 4, 5], [6, 7, 8, 9, 10],
    ]  # fmt: skip
    assert events[1].data["curve"][-1] == [5, *events[1].data["losses"].values()]
    picture = Image.open(io.BytesIO(result_bytes(context, message)))
    assert (picture.size, picture.text["atelier:weights"]) == ((8, 8), "untrained")
    assert picture.text["atelier:notice"] == "untrained weights"
    for event in events[1:5]:
        assert Image.open(io.BytesIO(context.store.read(event.data["picture_key"]))).size == (8, 8)
    assert Image.open(io.BytesIO(context.store.read(layout.preview_key("job", 1)))).format == "JPEG"
    assert context.redis.progress.read(["job"])["job"].step == 20
    assert context.redis.claims.without_lease(["job"]) == ["job"]


def test_the_marker_tells_how_much_gpu_memory_the_job_needed(context: WorkerContext, message: JobMessage):
    class OnGpu(SteadyEngine):
        def _record(self, *given: Any) -> Step:
            return replace(super()._record(*given), gpu_peak_bytes=given[0] * 1000)

    run(context, message, OnGpu())
    assert reported(context)[-1].data["gpu_peak_bytes"] == 20_000


def test_a_duplicate_message_does_nothing(context: WorkerContext, message: JobMessage):
    run(context, message, SteadyEngine())
    reported(context)
    engine = SteadyEngine()
    assert run(context, message, engine) is Outcome.DROPPED
    assert (engine.steps_made, reported(context)) == (0, [])


def test_a_lost_report_is_made_again_from_the_marker(context: WorkerContext, message: JobMessage):
    run(context, message, SteadyEngine())
    first = reported(context)[-1]
    context.redis.client.flushall()
    engine = SteadyEngine()
    assert run(context, message, engine) is Outcome.ENDED
    (again,) = reported(context)
    assert engine.steps_made == 0
    assert (again.event_id, again.data) == (first.event_id, first.data)


@pytest.mark.parametrize("cut", [1, 4, 5, 13, 19])
def test_resume_ends_in_the_same_bytes(context: WorkerContext, message: JobMessage, cut: int):
    run(context, message, SteadyEngine())
    alone = result_bytes(context, message)
    context.store.delete_tree(layout.job_folder("job"))
    context.redis.client.flushall()

    def die(number: int) -> None:
        if number == cut + 1:
            raise KeyboardInterrupt  # nothing in the runner may stop this one, as with a kill

    with pytest.raises(KeyboardInterrupt):
        run(context, message, SteadyEngine(die))
    engine = SteadyEngine()
    again = message.model_copy(update={"attempt": 2})
    assert run(replace(context, worker_id="node-b"), again, engine) is Outcome.ENDED
    assert engine.resumed_from == (cut // 5 * 5 or None)
    assert result_bytes(context, again) == alone


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over(context: WorkerContext, message: JobMessage, damage: str):
    run(context, message, SteadyEngine())
    alone = result_bytes(context, message)
    context.store.delete(layout.marker_key("job", 1))
    for step in (15, 20):
        key = layout.checkpoint_key("job", 1, step)
        data = bytearray(context.store.read(key))
        if damage == "truncate":
            context.store.write(key, bytes(data[:-7]))
        elif damage == "flip":
            data[-5] ^= 4
            context.store.write(key, bytes(data))
        else:
            context.store.delete(key)
    context.redis.client.flushall()
    engine = SteadyEngine()
    assert run(context, message, engine) is Outcome.ENDED
    assert engine.resumed_from == 10
    assert result_bytes(context, message) == alone


def test_a_checkpoint_of_other_options_is_not_used(context: WorkerContext, message: JobMessage):
    run(context, message, SteadyEngine())
    other = message.model_copy(
        update={"attempt": 2, "options": message.options.model_copy(update={"style_weight": 0.5})}
    )
    engine = SteadyEngine()
    run(context, other, engine)
    assert engine.resumed_from is None


def test_cancel_stops_at_the_next_step_and_keeps_a_checkpoint(context: WorkerContext, message: JobMessage):
    def cancel(number: int) -> None:
        if number == 8:
            context.redis.flags.raise_flag("job", 1, Flag.CANCEL)

    engine = SteadyEngine(cancel)
    assert run(context, message, engine) is Outcome.ENDED
    events = reported(context)
    assert (events[-1].type, events[-1].data) == (EventType.CANCELED, {"step": 8})
    assert engine.steps_made == 8
    assert [event.data["step"] for event in events[1:-1]] == [5, 8]
    with pytest.raises(ArtifactMissing):
        context.store.read(layout.marker_key("job", 1))


def test_a_draining_node_checks_in_and_gives_the_job_back(context: WorkerContext, message: JobMessage):
    assert run(context, message, SteadyEngine(), draining=True) is Outcome.RELEASED
    assert [event.type for event in reported(context)] == ["claimed", "checkpointed", "released"]
    engine = SteadyEngine()
    assert run(replace(context, worker_id="node-b"), message, engine) is Outcome.ENDED
    assert engine.resumed_from == 1


def test_a_zombie_stops_and_reports_no_end(settings: Settings, context: WorkerContext, message: JobMessage):
    quick = replace(context, settings=settings.model_copy(update={"renew_seconds": 0.01}))

    def overtake(number: int) -> None:
        if number == 3:
            keeper = next(thread for thread in threading.enumerate() if thread.name == "lease")
            context.redis.claims.fence("job", 2)
            keeper.join()  # a long step, in which the lease's thread learns of it: then it ends

    engine = SteadyEngine(overtake)
    outcome = run(quick, message, engine)
    assert outcome is Outcome.ABANDONED
    assert engine.steps_made == 3
    assert [event.type for event in reported(context)] == ["claimed"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LossNotFinite("the style loss is nan"), "loss_not_finite"),
        (PictureInvalid("content is cut off"), "image_invalid"),
        (CheckpointInvalid("the checkpoint lacks the arrays: m"), "checkpoint_invalid"),
    ],
)
def test_a_verdict_about_the_job_fails_it(
    context: WorkerContext, message: JobMessage, error: Exception, code: str
):
    assert run(context, message, RaisingEngine(error)) is Outcome.ENDED
    last = reported(context)[-1]
    assert (last.type, last.data["error"]["code"]) == (EventType.FAILED, code)
    assert context.node_state.faults == 0


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"),
        EngineFailed("no method works with these options"),
        MemoryError(),
        ArtifactExists("a bug"),
    ],
)
def test_what_may_be_the_nodes_fault_is_handed_back(
    context: WorkerContext, message: JobMessage, error: Exception
):
    assert run(context, message, RaisingEngine(error)) is Outcome.FAULTED
    last = reported(context)[-1]
    code = error.code if isinstance(error, AtelierError) else "engine_failed"
    assert (last.type, last.data["step"]) == (EventType.RELEASED, 2)
    assert (last.data["fault"]["code"], last.data["fault"]["worker"]) == (code, "node-a")
    assert {"title", "detail", "retryable", "suggestion"} <= last.data["fault"].keys()
    assert context.redis.claims.without_lease(["job"]) == ["job"]
    # The message comes back, to whatever node: it is no duplicate.
    assert run(replace(context, worker_id="node-b"), message, SteadyEngine()) is Outcome.ENDED


def test_a_device_with_too_little_memory_is_no_fault_and_another_may_have_more(
    context: WorkerContext, message: JobMessage
):
    error = OutOfMemory("not enough device memory at size 512 px")
    assert run(context, message, RaisingEngine(error)) is Outcome.FAULTED
    last = reported(context)[-1]
    assert (last.type, last.data["fault"]["code"]) == (EventType.RELEASED, "out_of_memory")
    assert context.node_state.faults == 0
    assert run(replace(context, worker_id="node-b"), message, SteadyEngine()) is Outcome.ENDED


@pytest.mark.parametrize(("part", "code"), [("content", "artifact_missing"), ("style", "artifact_corrupt")])
def test_inputs_that_this_node_does_not_see_may_be_there_for_another(
    context: WorkerContext, message: JobMessage, part: str, code: str
):
    key = getattr(message, part).key
    data = context.store.read(key)
    if code == "artifact_missing":
        context.store.delete(key)
    else:
        context.store.write(key, b"something else")
    assert run(context, message, SteadyEngine()) is Outcome.FAULTED
    last = reported(context)[-1]
    assert (last.type, last.data["fault"]["code"]) == (EventType.RELEASED, code)
    context.store.write(key, data)
    assert run(replace(context, worker_id="node-b"), message, SteadyEngine()) is Outcome.ENDED


def test_an_origin_that_this_node_does_not_see(context: WorkerContext, message: JobMessage):
    origin = Origin(key="jobs/job/origin.safetensors", sha256="0" * 64, step=5)
    fork = message.model_copy(update={"origin": origin})
    assert run(context, fork, SteadyEngine()) is Outcome.FAULTED
    context.store.write(origin.key, b"damaged")
    assert run(context, fork, SteadyEngine()) is Outcome.FAULTED
    faults = [event.data["fault"]["code"] for event in reported(context) if event.type == "released"]
    assert faults == ["artifact_missing", "checkpoint_invalid"]


@pytest.mark.parametrize("flag", Flag)
@pytest.mark.parametrize("stopped_at", [0, 4])
def test_a_job_that_was_stopped_is_no_success_of_the_node(
    context: WorkerContext, message: JobMessage, flag: Flag, stopped_at: int
):
    """Whether it was not even begun, or stopped in its first steps: its node may fail at every later one."""
    first, second, stopped = (
        message.model_copy(update={"job_id": name}) for name in ("first", "second", "stopped")
    )
    for failing in (first, second):
        assert run(context, failing, RaisingEngine(RuntimeError("the device is lost"))) is Outcome.FAULTED

    def stop(step: int) -> None:
        if step == stopped_at:
            context.redis.flags.raise_flag("stopped", 1, flag)

    stop(0)
    assert run(context, stopped, SteadyEngine(stop)) is Outcome.ENDED
    assert context.node_state.faults_in_a_row == 2
    assert run(context, message, SteadyEngine(), draining=True) is Outcome.RELEASED
    assert context.node_state.faults_in_a_row == 2
    assert run(context, message, SteadyEngine()) is Outcome.ENDED
    assert context.node_state.faults_in_a_row == 0


def test_a_storage_that_fails_hands_the_job_back(context: WorkerContext, message: JobMessage):
    outcome = run(context, message, RaisingEngine(StorageUnavailable("the disk is full")))
    assert outcome is Outcome.RELEASED
    claimed, released = reported(context)
    assert (claimed.type, released.type) == (EventType.CLAIMED, EventType.RELEASED)
    assert released.data == {"step": 2, "reason": "storage_unavailable: the disk is full"}
    assert context.redis.claims.without_lease(["job"]) == ["job"]
    assert context.node_state.read().unhealthy


def test_a_job_that_keeps_killing_its_worker_is_handed_back(context: WorkerContext, message: JobMessage):
    """As the kernel does when the machine's memory is short, which another machine's may not be."""

    for _ in range(context.settings.max_deliveries):
        context.redis.claims.claim("job", 1, token="node-a")
    engine = SteadyEngine()
    assert run(context, message, engine) is Outcome.FAULTED
    last = reported(context)[-1]
    assert (engine.steps_made, last.type) == (0, EventType.RELEASED)
    assert (last.data["fault"]["code"], last.data["fault"]["worker"]) == ("worker_crash_loop", "node-a")
    assert context.node_state.faults == 1
    # Another node counts anew.
    assert run(replace(context, worker_id="node-b"), message, SteadyEngine()) is Outcome.ENDED


def test_two_different_jobs_in_one_runner_equal_their_lone_runs(context: WorkerContext, message: JobMessage):
    other = message.model_copy(update={"job_id": "other", "content": message.style})
    lone = []
    for one in (message, other):
        run(context, one, SteadyEngine())
        lone.append(result_bytes(context, one))
        context.store.delete_tree("jobs")
    context.redis.client.flushall()
    runner = Runner(context, SteadyEngine(), draining=lambda: False)
    for one, expected in zip((message, other), lone, strict=True):
        runner.run(one)
        assert result_bytes(context, one) == expected
