"""Attempts whose checkpoints are written beside the steps: real Redis and store, steady engines."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import OutOfMemory, StorageUnavailable
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage, WorkerEvent, read_event
from shared.redis.live import Flag, LiveProgress
from shared.settings import Settings
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.engines import OneStepEngine, SteadyEngine
from tests.support.installation import names_of
from tests.support.waiting import wait_until
from worker.context import WorkerContext
from worker.engine.state import Step
from worker.runner import Outcome, Runner
from worker.writer import WRITER_THREAD

_PATIENCE_SECONDS = 20
JOB_ID = "job"


class HeldStore(LocalStore):
    """A store that holds every state until it is let go, or until the engine has made a certain step."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.let_go = threading.Event()
        self.created: list[str] = []

    def create(self, key: str, data: bytes) -> None:
        if key.endswith(".safetensors"):
            assert self.let_go.wait(_PATIENCE_SECONDS)
        super().create(key, data)
        self.created.append(key)


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = WorkerContext.open(
        settings, names_of(settings), worker_id="node-a", device="cpu", talk_seconds=0
    )
    yield replace(context, store=HeldStore(settings.data_dir / "storage"))
    context.close()
    assert not [one for one in threading.enumerate() if one.name == WRITER_THREAD], "none is left behind"


@pytest.fixture
def store(context: WorkerContext) -> HeldStore:
    return context.store


@pytest.fixture
def message(context: WorkerContext, make_picture: Callable[..., bytes]) -> JobMessage:
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.write(layout.asset_key(sha256), data)
    picture = InputPicture(key=layout.asset_key(sha256), sha256=sha256)
    options = StyleOptions(steps=20, checkpoint_every=5)
    return JobMessage(job_id=JOB_ID, attempt=1, content=picture, style=picture, options=options)


def reported(context: WorkerContext) -> list[WorkerEvent]:
    """Everything reported since the last call."""
    deliveries = context.redis.stream.fresh(count=1000)
    context.redis.stream.acknowledge(deliveries)
    return [read_event(delivery.text) for delivery in deliveries]


def told(context: WorkerContext) -> list[tuple[str, int | None]]:
    return [(event.type.value, event.data.get("step")) for event in reported(context)]


def begin(
    context: WorkerContext,
    message: JobMessage,
    engine: SteadyEngine,
    *,
    draining: Callable[[], bool] = lambda: False,
) -> Callable[[], Outcome]:
    """Carry a job out in another thread; return what waits for its outcome."""
    outcomes: list[Outcome] = []
    runner = Runner(context, engine, draining=draining)
    thread = threading.Thread(target=lambda: outcomes.append(runner.run(message)))
    thread.start()

    def outcome() -> Outcome:
        thread.join(_PATIENCE_SECONDS)
        return outcomes[0]

    return outcome


def test_the_loop_goes_on_to_the_next_checkpoint_and_no_further(
    context: WorkerContext, message: JobMessage, store: HeldStore
):
    seen: list[tuple[int, int]] = []
    engine = SteadyEngine(lambda step: seen.append((step, len(store.created))))
    outcome = begin(context, message, engine)
    wait_until(lambda: engine.steps_made == 10, seconds=_PATIENCE_SECONDS)
    assert told(context) == [("claimed", None)]
    store.let_go.set()
    assert outcome() is Outcome.ENDED
    assert [created for step, created in seen if step <= 10] == [0] * 10
    assert all(created >= step // 5 - 1 for step, created in seen if step % 5 == 1)
    assert told(context) == [
        *(("checkpointed", step) for step in (5, 10, 15, 20)), ("succeeded", 20)
    ]  # fmt: skip


def test_the_curve_of_a_checkpoint_is_that_of_its_steps(
    context: WorkerContext, message: JobMessage, store: HeldStore
):
    engine = SteadyEngine()
    outcome = begin(context, message, engine)
    wait_until(lambda: engine.steps_made == 10, seconds=_PATIENCE_SECONDS)
    store.let_go.set()
    outcome()
    curves = [event.data["curve"] for event in reported(context) if event.type == "checkpointed"]
    assert [[int(point[0]) for point in curve] for curve in curves] == [
        list(range(first, first + 5)) for first in (1, 6, 11, 16)
    ]


@pytest.mark.parametrize("how", ["cancel", "pause", "drain"])
def test_a_stop_is_told_once_its_checkpoint_is_stored(
    context: WorkerContext, message: JobMessage, store: HeldStore, how: str
):
    draining = threading.Event()

    def ask(step: int) -> None:
        if step == 8:
            if how == "drain":
                draining.set()
            else:
                context.redis.flags.raise_flag(JOB_ID, 1, Flag(how))

    engine = SteadyEngine(ask)
    outcome = begin(context, message, engine, draining=draining.is_set)
    wait_until(lambda: engine.steps_made == 8, seconds=_PATIENCE_SECONDS)
    assert told(context) == [("claimed", None)]
    store.let_go.set()
    assert outcome() is (Outcome.RELEASED if how == "drain" else Outcome.ENDED)
    end = {"cancel": "canceled", "pause": "paused", "drain": "released"}[how]
    assert told(context) == [("checkpointed", 5), ("checkpointed", 8), (end, 8)]
    assert engine.steps_made == 8


def test_a_result_comes_after_the_last_checkpoint(
    context: WorkerContext, message: JobMessage, store: HeldStore
):
    brief = message.model_copy(update={"options": StyleOptions(steps=5, checkpoint_every=5)})
    engine = SteadyEngine()
    outcome = begin(context, brief, engine)
    wait_until(lambda: engine.steps_made == 5, seconds=_PATIENCE_SECONDS)
    assert store.created == []
    store.let_go.set()
    assert outcome() is Outcome.ENDED
    assert store.created == [layout.checkpoint_key(JOB_ID, 1, 5), layout.marker_key(JOB_ID, 1)]
    assert told(context) == [("claimed", None), ("checkpointed", 5), ("succeeded", 5)]


class FailingFetch(SteadyEngine):
    """The picture of its fifth step cannot be fetched."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def _record(self, *given: Any) -> Step:
        step = super()._record(*given)
        return replace(step, _image=self._fail) if step.step == 5 else step

    def _fail(self) -> np.ndarray:
        raise self._error


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (OutOfMemory("not enough for the picture"), Outcome.FAULTED, "out_of_memory"),
        (RuntimeError("the device is lost"), Outcome.FAULTED, "engine_failed"),
        (StorageUnavailable("the disk is full"), Outcome.RELEASED, "storage_unavailable"),
    ],
)
def test_a_failure_of_the_writer_is_judged_as_one_of_the_attempt(
    context: WorkerContext,
    message: JobMessage,
    store: HeldStore,
    error: Exception,
    outcome: Outcome,
    code: str,
):
    store.let_go.set()
    assert begin(context, message, FailingFetch(error))() is outcome
    events = reported(context)
    assert [event.type.value for event in events] == ["claimed", "released"]
    why = events[-1].data
    assert (why["fault"]["code"] if "fault" in why else why["reason"].partition(":")[0]) == code


def test_a_zombie_that_is_writing_reports_nothing_more(
    context: WorkerContext, message: JobMessage, store: HeldStore
):
    quick = replace(context, settings=context.settings.model_copy(update={"renew_seconds": 0.01}))
    failed = threading.Event()

    class Failing(HeldStore):
        def create(self, key: str, data: bytes) -> None:
            failed.set()
            raise StorageUnavailable("the disk is full")

    def overtake(step: int) -> None:
        if step == 8:
            assert failed.wait(_PATIENCE_SECONDS)
            context.redis.claims.fence(JOB_ID, 2)
            next(thread for thread in threading.enumerate() if thread.name == "lease").join()

    quick = replace(quick, store=Failing(store.root))
    assert begin(quick, message, SteadyEngine(overtake))() is Outcome.ABANDONED
    assert told(context) == [("claimed", None)]


def test_a_job_of_one_step_has_no_writer(context: WorkerContext, message: JobMessage, store: HeldStore):
    threads: list[str] = []

    class Watching(OneStepEngine):
        def _record(self, *given: Any) -> Step:
            step = super()._record(*given)

            def image() -> np.ndarray:
                threads.append(threading.current_thread().name)
                return step.image()

            return replace(step, _image=image)

    options = StyleOptions(method="fast")
    store.let_go.set()
    assert begin(context, message.model_copy(update={"options": options}), Watching())() is Outcome.ENDED
    assert WRITER_THREAD not in threads
    assert told(context) == [("claimed", None), ("succeeded", 1)]


def test_what_is_told_each_moment_is_told_once_a_moment(
    context: WorkerContext, message: JobMessage, store: HeldStore, redis_client
):
    """However quick the steps are: Redis is asked and told of the first and the last one here."""
    store.let_go.set()
    options = StyleOptions(steps=200, checkpoint_every=100)
    seldom = replace(
        context,
        talk_seconds=3600,
        settings=context.settings.model_copy(update={"preview_seconds": 3600, "renew_seconds": 3600}),
    )
    quick = message.model_copy(update={"options": options})
    redis_client.config_resetstat()
    assert begin(seldom, quick, SteadyEngine())() is Outcome.ENDED
    calls = {name: facts["calls"] for name, facts in redis_client.info("commandstats").items()}
    # Progress of the first and last step, and of the preview of each.
    assert calls["cmdstat_publish"] == 4
    # Before the claim, and at the first step.
    assert calls["cmdstat_get"] <= 3
    assert context.redis.progress.read([JOB_ID])[JOB_ID].step == 200


def test_a_preview_is_told_once_it_is_there_and_never_before_its_step(
    context: WorkerContext, message: JobMessage, store: HeldStore, monkeypatch
):
    store.let_go.set()
    publish, seen = type(context.live.progress).publish, []

    def watched(self, job_id: str, progress: LiveProgress) -> None:
        there = (store.root / layout.preview_key(JOB_ID, 1)).exists()
        seen.append((progress.step, progress.preview_step, there))
        publish(self, job_id, progress)

    monkeypatch.setattr(type(context.live.progress), "publish", watched)
    often = replace(context, settings=context.settings.model_copy(update={"preview_seconds": 0.001}))
    assert begin(often, message, SteadyEngine())() is Outcome.ENDED
    assert seen[-1] == (20, 20, True)
    steps, previews = [one[0] for one in seen], [one[1] for one in seen]
    assert steps == sorted(steps)
    assert previews == sorted(previews)
    assert all(preview <= step for step, preview in zip(steps, previews, strict=True))
    assert all(there for _, preview, there in seen if preview)
