"""An attempt waits for a storage that fails for a while, and gives up only what is no longer its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from shared.errors import ArtifactMissing, StorageUnavailable
from shared.installation import IDENTITY_KEY
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent, read_event
from shared.settings import Settings
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from tests.support.waiting import wait_until
from worker import context as module
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


def run_well(context: WorkerContext, message: JobMessage) -> Outcome:
    return Runner(context, SteadyEngine(), draining=lambda: False).run(message)


def events(context: WorkerContext) -> list[WorkerEvent]:
    deliveries = context.redis.stream.fresh(count=1000)
    context.redis.stream.acknowledge(deliveries)
    return [read_event(delivery.text) for delivery in deliveries]


def reported(context: WorkerContext) -> list[str]:
    return [event.type.value for event in events(context)]


class _BadSector(LocalStore):
    """A store with one file that cannot be read."""

    def __init__(self, root: Path, key: str) -> None:
        super().__init__(root)
        self.key = key

    def read(self, key: str) -> bytes:
        if key == self.key:
            raise StorageUnavailable(f"storage failed at {key}: Input/output error")
        return super().read(key)


def test_a_checkpoint_that_cannot_be_read_is_passed_over(
    context: WorkerContext, message: JobMessage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_FILE_SECONDS", 0.0)
    run_well(context, message)
    context.store.delete(layout.marker_key(JOB_ID, 1))
    store = _BadSector(context.store.root, layout.checkpoint_key(JOB_ID, 1, 10))
    engine, again = SteadyEngine(), message.model_copy(update={"attempt": 2})
    outcome = Runner(replace(context, store=store), engine, draining=lambda: False).run(again)
    assert (outcome, engine.resumed_from) == (Outcome.ENDED, 5)
    assert context.node_state.read().unhealthy is None


def test_an_input_that_cannot_be_read_is_told_as_such(
    context: WorkerContext, message: JobMessage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_FILE_SECONDS", 0.0)
    store = _BadSector(context.store.root, message.content.key)
    outcome = Runner(replace(context, store=store), SteadyEngine(), draining=lambda: False).run(message)
    assert outcome is Outcome.FAULTED
    fault = events(context)[-1].data["fault"]
    assert (fault["code"], "Input/output error" in fault["detail"]) == ("artifact_corrupt", True)


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
    assert (outcome, store.failures) == (Outcome.RELEASED, 1)
    assert reported(context) == ["claimed", "released"]
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


def test_who_waits_in_vain_hands_the_job_back_and_takes_no_more(context: WorkerContext, message: JobMessage):
    brief = replace(context, settings=context.settings.model_copy(update={"stall_seconds": 0.01}))
    store = _Breaking(brief)
    assert run(brief, message, store, draining=lambda: False) is Outcome.RELEASED
    (claimed, released) = events(brief)
    assert (claimed.type, released.type) == (EventType.CLAIMED, EventType.RELEASED)
    assert released.data["reason"].startswith("storage_unavailable: storage failed at ")
    assert context.redis.claims.without_lease([JOB_ID]) == [JOB_ID]
    assert "storage failed at" in (context.node_state.read().unhealthy or "")


def test_a_storage_that_does_not_answer_is_left_alone(context: WorkerContext, message: JobMessage):
    """As a mount whose server is gone: who asks it cannot be woken."""
    brief = replace(context, settings=context.settings.model_copy(update={"stall_seconds": 0.01}))
    back = Event()

    class Stalled(LocalStore):
        """Takes no checkpoint, and says nothing."""

        def create(self, key: str, data: bytes) -> None:
            back.wait(60)
            super().create(key, data)

    storage = Path(context.settings.data_dir) / "storage"
    runner = Runner(replace(brief, store=Stalled(storage)), SteadyEngine(), draining=lambda: False)
    assert runner.run(message) is Outcome.RELEASED
    assert [event.data.get("reason") for event in events(brief)][1].startswith(
        "storage_unavailable: the storage has not answered for"
    )
    assert context.redis.claims.without_lease([JOB_ID]) == [JOB_ID]
    back.set()
    assert runner.health.wait(20), "a write succeeds: it takes jobs again"
    assert run_well(brief, message) is Outcome.ENDED


@pytest.mark.parametrize("moment", ["checkpoint", "commit"])
@pytest.mark.parametrize("what", ["unmounted", "another storage"])
def test_a_storage_that_is_not_ours_gets_nothing(
    context: WorkerContext, message: JobMessage, what: str, moment: str
):
    storage = Path(context.settings.data_dir) / "storage"
    ours = storage.with_name("ours")

    first = {
        "checkpoint": layout.preview_key(JOB_ID, 1), "commit": layout.checkpoint_key(JOB_ID, 1, 5)
    }  # fmt: skip

    def swap(step: int) -> None:
        if step == (5 if moment == "checkpoint" else 10):
            # So that nothing is being written just then.
            wait_until((storage / first[moment]).exists, seconds=20)
            storage.rename(ours)
            storage.mkdir()
            if what == "another storage":
                (storage / IDENTITY_KEY).write_text('{"id": "theirs"}')

    runner = Runner(context, SteadyEngine(swap), draining=lambda: False)
    assert runner.run(message) is Outcome.RELEASED
    code = "identity_missing" if what == "unmounted" else "identity_wrong"
    assert events(context)[-1].data["reason"].startswith(code)
    found = {path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file()}
    assert found <= {IDENTITY_KEY}
    # Nor does it claim anything, until it sees its own storage again.
    other = message.model_copy(update={"job_id": "other"})
    draining = Runner(context, SteadyEngine(), draining=lambda: True)
    assert draining.run(other) is Outcome.RELEASED
    assert events(context) == []
    shutil.rmtree(storage)
    ours.rename(storage)
    assert runner.health.wait(20)
    assert run_well(context, message) is Outcome.ENDED


def test_a_node_without_its_storage_claims_nothing(context: WorkerContext, message: JobMessage):
    (Path(context.settings.data_dir) / "storage" / IDENTITY_KEY).unlink()
    engine = SteadyEngine()
    runner = Runner(context, engine, draining=lambda: False)
    assert runner.run(message) is Outcome.RELEASED
    assert (engine.steps_made, events(context)) == (0, [])
    assert context.redis.client.exists(context.redis.names.key("job", JOB_ID)) == 0
    assert "carries no identity" in (context.node_state.read().unhealthy or "")


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
    store.write("a", b"0")  # an empty folder is no storage
    store.write("jobs/a", b"1")
    assert ([*store.list("jobs")], store.read("jobs/a")) == (["jobs/a"], b"1")
