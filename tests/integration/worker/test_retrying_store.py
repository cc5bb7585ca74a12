"""An attempt waits for a storage that fails for a while, and gives up only what is no longer its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import ArtifactMissing, StorageUnavailable
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage, read_event
from shared.settings import Settings
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from worker.context import RetryingStore, WorkerContext
from worker.runner import Outcome, Runner

JOB_ID = "job"


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = WorkerContext.open(settings, names_of(settings), worker_id="node-a", device="cpu")
    yield context
    context.redis.close()


@pytest.fixture
def message(context: WorkerContext, make_picture: Callable[..., bytes]) -> JobMessage:
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.write(layout.asset_key(sha256), data)
    picture = InputPicture(key=layout.asset_key(sha256), sha256=sha256)
    options = StyleOptions(steps=10, checkpoint_every=5)
    return JobMessage(job_id=JOB_ID, attempt=1, content=picture, style=picture, options=options)


class _Breaking:
    """A store whose disk is taken away at the first write to the job's folder, and what is told of that."""

    def __init__(self, context: WorkerContext) -> None:
        self._store = context.store
        self.blocked = Path(context.settings.data_dir) / "storage" / layout.job_folder(JOB_ID)
        self.failures = 0
        self.at_failure: Callable[[int], None] = lambda count: None

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*words: object) -> object:
            try:
                return getattr(self._store, name)(*words)
            except StorageUnavailable:
                self.failures += 1
                self.at_failure(self.failures)
                raise

        return call

    def block(self) -> None:
        """Put a file where the job's folder has to be: nothing can be written there, by anyone."""
        self.blocked.parent.mkdir(parents=True, exist_ok=True)
        self.blocked.write_bytes(b"")

    def mend(self) -> None:
        self.blocked.unlink()


def run(
    context: WorkerContext, message: JobMessage, store: _Breaking, *, draining: Callable[[], bool]
) -> Outcome:
    """Carry out an attempt whose storage fails from its first step on."""

    def block(step: int) -> None:
        if step == 1:
            store.block()

    return Runner(replace(context, store=store), SteadyEngine(block), draining=draining).run(message)


def reported(context: WorkerContext) -> list[str]:
    deliveries = context.redis.stream.fresh(count=1000)
    context.redis.stream.acknowledge(deliveries)
    return [read_event(delivery.text).type.value for delivery in deliveries]


def test_an_attempt_goes_on_when_the_storage_is_back(context: WorkerContext, message: JobMessage):
    store = _Breaking(context)
    store.at_failure = lambda count: store.mend() if count == 2 else None
    assert run(context, message, store, draining=lambda: False) is Outcome.ENDED
    assert (store.failures, reported(context)) == (
        2,
        ["claimed", "checkpointed", "checkpointed", "succeeded"],
    )


def test_a_draining_node_does_not_wait(context: WorkerContext, message: JobMessage):
    store = _Breaking(context)
    draining: list[int] = []
    store.at_failure = draining.append
    outcome = run(context, message, store, draining=lambda: bool(draining))
    assert (outcome, store.failures) == (Outcome.ABANDONED, 1)
    assert context.redis.claims.without_lease([JOB_ID]) == [JOB_ID]


def test_who_lost_the_job_does_not_wait(context: WorkerContext, message: JobMessage):
    quick = replace(context, settings=context.settings.model_copy(update={"renew_seconds": 0.01}))
    store = _Breaking(quick)

    def lose(count: int) -> None:
        if count == 1:
            context.redis.claims.fence(JOB_ID, 2)

    store.at_failure = lose
    assert run(quick, message, store, draining=lambda: False) is Outcome.ABANDONED
    assert reported(quick) == ["claimed"]


def test_patience_ends(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"")
    store = RetryingStore(LocalStore(tmp_path), patience_seconds=0, go_on=lambda: True)
    with pytest.raises(StorageUnavailable):
        store.write("a/b", b"")


def test_what_is_missing_is_not_waited_for(tmp_path: Path):
    store = RetryingStore(LocalStore(tmp_path), patience_seconds=3600, go_on=lambda: True)
    with pytest.raises(ArtifactMissing):
        store.read("a")
    assert list(store.list("jobs")) == []


def test_results_come_through(tmp_path: Path):
    store = RetryingStore(LocalStore(tmp_path), patience_seconds=0, go_on=lambda: True)
    store.write("jobs/a", b"1")
    assert ([*store.list("jobs")], store.read("jobs/a")) == (["jobs/a"], b"1")
