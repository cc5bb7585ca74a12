"""The writer of an attempt by itself: what it makes of a step, in which order, and what fails."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from shared.errors import IdentityMissing, LeaseLost, OutOfMemory, StorageUnavailable
from shared.installation import IDENTITY_KEY, Installation, write_identity
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage, WorkerEvent, new_id
from shared.provenance import read_provenance
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.engines import MADE_BY
from tests.support.waiting import wait_until
from worker.checkpoint import Checkpoint, StateFile, pack_checkpoint, unpack_checkpoint
from worker.engine.state import EngineState, Losses, Step
from worker.reporter import Reporter
from worker.writer import WRITER_THREAD, Due, Writer, decide_due, decide_failure

PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")
MESSAGE = JobMessage(
    job_id="j", attempt=1, content=PICTURE, style=PICTURE, options=StyleOptions(steps=20, checkpoint_every=5)
)
BOTH, PREVIEW, CHECKPOINT = Due(True, True), Due(True, False), Due(False, True)
CURVE = [[4, 3.0, 2.0, 1.0], [5, 2.0, 1.0, 1.0]]
_PATIENCE_SECONDS = 20


def level(row: int, column: int) -> np.ndarray:
    """A smooth picture of 48 × 32 px with an edge."""
    rows, columns = np.mgrid[:row, :column]
    red = 128 + 100 * np.sin(rows / 7)
    return np.stack([red, columns * 5, np.where(columns > 20, 220, 30)], axis=-1).astype(np.uint8)


def make_step(number: int = 5, *, steps: int = 20, log: list[str] | None = None, **changes: Any) -> Step:
    """A step whose fetches note in which thread they were made."""

    def note(what: str) -> None:
        if log is not None:
            log.append(f"{what} {threading.current_thread().name}")

    def image() -> np.ndarray:
        note("image")
        return level(32, 48)

    def state() -> EngineState:
        note("state")
        return EngineState(number, {"value": np.full(4, number, np.float32)})

    return replace(Step(number, steps, Losses(2.0, 1.0, 1.0), 0.1, image, state), **changes)


class Store(LocalStore):
    """A store that writes down what is asked of it, and by whom; a key can be held, or fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.log: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self.reached = threading.Event()
        self.fails: dict[str, Exception] = {}

    def _note(self, key: str) -> None:
        name = key.rpartition("/")[2]
        kind = name.rpartition(".")[2] if name.startswith("checkpoint") else name
        self.log.append(f"{kind} {threading.current_thread().name}")
        self.reached.set()
        assert self.held.wait(_PATIENCE_SECONDS)
        if kind in self.fails:
            raise self.fails[kind]

    def write(self, key: str, data: Any) -> None:
        self._note(key)
        super().write(key, data)

    def write_volatile(self, key: str, data: bytes) -> None:
        self._note(key)
        super().write_volatile(key, data)

    def create(self, key: str, data: bytes) -> None:
        if key != IDENTITY_KEY:
            self._note(key)
        super().create(key, data)


@dataclass
class Stream:
    """Where reports go."""

    log: list[str]
    fails: Exception | None = None
    events: list[WorkerEvent] = field(default_factory=list)

    def report(self, event: WorkerEvent) -> None:
        self.log.append(f"report {threading.current_thread().name}")
        if self.fails is not None:
            raise self.fails
        self.events.append(event)

    @property
    def steps(self) -> list[int]:
        return [event.data["step"] for event in self.events]


@dataclass
class Desk:
    """A store, a stream and a maker of writers to them."""

    store: Store
    stream: Stream
    installation: Installation
    previews: list[int] = field(default_factory=list)

    def writer(self, *, found: Checkpoint | None = None) -> Writer:
        return Writer(
            self.store,
            self.installation.names,
            MESSAGE,
            reporter=Reporter(self.stream, MESSAGE),
            made_by=MADE_BY,
            fingerprint="f",
            found=found,
            on_preview=self.previews.append,
        )

    def files(self) -> list[str]:
        return [key.rpartition("/")[2] for key in self.store.list(layout.attempt_folder("j", 1))]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store, installation = Store(tmp_path), Installation(id=new_id())
    write_identity(store, installation)
    yield Desk(store, Stream(store.log), installation)
    assert writers() == [], "no thread is left behind"


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == WRITER_THREAD]


@pytest.mark.parametrize(
    ("step", "changes", "due"),
    [
        (make_step(1), {}, Due(False, False)),
        (make_step(1), {"wants_preview": True}, PREVIEW),
        (make_step(1), {"wants_preview": True, "is_writer_idle": False}, Due(False, False)),
        (make_step(5), {}, CHECKPOINT),
        (make_step(5), {"wants_preview": True}, BOTH),
        (make_step(5), {"wants_preview": True, "is_writer_idle": False}, CHECKPOINT),
        (make_step(3), {"is_stopping": True}, CHECKPOINT),
        (make_step(20), {"is_writer_idle": False}, BOTH),
        (make_step(18, steps=18), {}, BOTH),
        (make_step(1, steps=1, losses=None, _state=None), {"wants_preview": True}, Due(False, False)),
        (make_step(1, steps=2, losses=None, _state=None), {"is_stopping": True}, Due(False, False)),
    ],
)
def test_what_is_due(step: Step, changes: dict[str, bool], due: Due):
    facts = {"every": 5, "is_stopping": False, "wants_preview": False, "is_writer_idle": True, **changes}
    assert decide_due(step, **facts) == due
    assert bool(due) is (due.preview or due.checkpoint)


def test_which_failure_counts():
    engine, storage = OutOfMemory("no memory"), StorageUnavailable("full")
    lost, ended = LeaseLost("taken over"), KeyboardInterrupt()
    assert decide_failure(None, None) is None
    assert decide_failure(engine, None) is engine
    assert decide_failure(None, storage) is storage
    assert decide_failure(engine, storage) is storage
    assert decide_failure(engine, lost) is lost
    assert decide_failure(lost, storage) is lost
    assert decide_failure(ended, storage) is ended
    assert decide_failure(storage, storage) is storage


def test_a_checkpoint_is_fetched_stored_and_then_reported_in_the_writers_thread(desk: Desk):
    with desk.writer() as writer:
        writer.begin(make_step(log=desk.store.log), BOTH, CURVE)
    assert desk.store.log == [
        f"{what} {WRITER_THREAD}"
        for what in ("image", "preview.jpg", "jpg", "state", "safetensors", "report")
    ]
    assert desk.previews == [5]
    (event,) = desk.stream.events
    data = event.data
    key, picture_key = layout.checkpoint_key("j", 1, 5), data.pop("picture_key")
    state = desk.store.read(key)
    sha256 = hashlib.sha256(state).hexdigest()
    assert data == {
        "step": 5, "steps": 20, "key": key, "sha256": sha256, "curve": CURVE,
        "state_bytes": len(state),
        "losses": {"total": 2.0, "content": 1.0, "style": 1.0},
    }  # fmt: skip
    assert event.event_id.endswith(f":5:{sha256[:16]}")
    assert unpack_checkpoint(state, fingerprint="f").step == 5
    picture = desk.store.read(picture_key)
    assert hashlib.sha256(picture).hexdigest().startswith(layout.digest_in(picture_key))
    assert layout.picture_type(picture_key) == "image/jpeg"


def test_its_picture_is_a_jpeg_that_is_hardly_told_from_the_original_and_says_how_it_was_made(desk: Desk):
    with desk.writer() as writer:
        writer.begin(make_step(), CHECKPOINT, CURVE)
    data = desk.store.read(desk.stream.events[0].data["picture_key"])
    with Image.open(io.BytesIO(data)) as picture:
        assert (picture.format, JpegImagePlugin.get_sampling(picture)) == ("JPEG", 0)
        error = np.abs(np.asarray(picture).astype(int) - level(32, 48))
    assert error.mean() < 1.5
    told = read_provenance(data)
    assert (told["atelier:step"], told["atelier:weights"]) == ("5", "untrained")
    assert told["atelier:notice"] == "untrained weights"


def test_a_preview_alone_is_not_reported_and_told_once_it_is_there(desk: Desk):
    seen = []
    writer = desk.writer()
    writer._on_preview = lambda step: seen.append((step, desk.files()))
    with writer:
        writer.begin(make_step(7), PREVIEW, ())
    assert (seen, desk.stream.events) == ([(7, ["preview.jpg"])], [])


def test_a_state_that_is_gone_on_from_is_reported_and_not_written_again(desk: Desk):
    state = EngineState(5, {"value": np.zeros(4, np.float32)})
    key, data = layout.checkpoint_key("j", 1, 5), pack_checkpoint(state, fingerprint="f")
    LocalStore(desk.store.root).create(key, data)
    sha256 = hashlib.sha256(data).hexdigest()
    with desk.writer(found=Checkpoint(key, state, StateFile(sha256, len(data)))) as writer:
        writer.begin(make_step(log=desk.store.log), CHECKPOINT, ())
    assert [line.split()[0] for line in desk.store.log] == ["image", "jpg", "report"]
    told = desk.stream.events[0].data
    assert (told["sha256"], told["state_bytes"]) == (sha256, len(data))


class Awaited(threading.Event):
    """An event that says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_awaited.set()
        return super().wait(timeout)


def test_whoever_hands_over_does_not_wait_but_the_next_one_does(desk: Desk):
    desk.store.held.clear()
    handed = threading.Event()

    def hand_over() -> None:
        writer.begin(make_step(10), CHECKPOINT, CURVE)
        handed.set()

    with desk.writer() as writer:
        writer.begin(make_step(5), CHECKPOINT, CURVE)
        assert desk.store.reached.wait(_PATIENCE_SECONDS)
        assert not writer.is_idle
        writer.check()
        writer._call.done = done = Awaited()
        next_one = threading.Thread(target=hand_over)
        next_one.start()
        assert done.is_awaited.wait(_PATIENCE_SECONDS)
        assert (handed.is_set(), desk.stream.steps) == (False, [])
        desk.store.held.set()
        assert handed.wait(_PATIENCE_SECONDS)
        next_one.join()
        writer.wait()
        assert writer.is_idle
        assert desk.stream.steps == [5, 10]


@contextmanager
def held_until_left(desk: Desk) -> Iterator[Writer]:
    """A writer whose store does nothing before it is to be left."""
    desk.store.held.clear()
    with desk.writer() as writer:
        try:
            yield writer
        finally:
            desk.store.held.set()


def test_leaving_waits_until_nothing_is_in_hand(desk: Desk):
    with held_until_left(desk) as writer:
        writer.begin(make_step(5), CHECKPOINT, CURVE)
    assert desk.stream.steps == [5]


@pytest.mark.parametrize("error", [OutOfMemory("at step 7"), LeaseLost("taken over"), KeyboardInterrupt()])
def test_leaving_with_a_failure_waits_too_and_what_is_in_hand_is_kept(desk: Desk, error: BaseException):
    def work() -> None:
        with held_until_left(desk) as writer:
            writer.begin(make_step(5), CHECKPOINT, CURVE)
            raise error

    with pytest.raises(type(error)):
        work()
    assert desk.stream.steps == [5]


def failing_fetch(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


FAILURES = ["image", "state", "preview", "picture", "checkpoint", "identity", "report"]


@pytest.fixture(params=FAILURES)
def failing(request: pytest.FixtureRequest, desk: Desk) -> tuple[Step, type[Exception]]:
    """A step that fails somewhere on its way, and how."""
    error = StorageUnavailable("the disk is full")
    if request.param in ("image", "state"):
        return make_step(**{f"_{request.param}": failing_fetch(OutOfMemory("no memory"))}), OutOfMemory
    if request.param == "identity":
        desk.store.delete(IDENTITY_KEY)
        return make_step(), IdentityMissing
    if request.param == "report":
        desk.stream.fails = ZeroDivisionError("a bug")
        return make_step(), ZeroDivisionError
    kind = {"preview": "preview.jpg", "picture": "jpg", "checkpoint": "safetensors"}[request.param]
    desk.store.fails[kind] = error
    return make_step(), StorageUnavailable


@pytest.mark.parametrize("ask", ["check", "wait", "begin", "leave"])
def test_a_failure_is_raised_at_the_next_word_and_nothing_is_reported(
    desk: Desk, failing: tuple[Step, type[Exception]], ask: str
):
    step, kind = failing
    went_on = []

    def work() -> None:
        with desk.writer() as writer:
            writer.begin(step, BOTH, CURVE)
            if ask == "check":
                wait_until(lambda: writer.is_idle, seconds=_PATIENCE_SECONDS)
                writer.check()
            elif ask == "wait":
                writer.wait()
            elif ask == "begin":
                writer.begin(make_step(10), CHECKPOINT, CURVE)
            went_on.append(ask)

    with pytest.raises(kind):
        work()
    assert went_on == (["leave"] if ask == "leave" else [])
    assert desk.stream.events == []
    assert not any("00010" in name for name in desk.files())


def test_a_failure_of_an_earlier_step_comes_before_that_of_the_loop(
    desk: Desk, failing: tuple[Step, type[Exception]]
):
    step, kind = failing

    def work() -> None:
        with desk.writer() as writer:
            writer.begin(step, BOTH, CURVE)
            raise RuntimeError("the device is lost, at step 7")

    with pytest.raises(kind) as found:
        work()
    assert isinstance(found.value.__cause__, RuntimeError)


def test_who_has_lost_the_lease_says_just_that(desk: Desk, failing: tuple[Step, type[Exception]]):
    step, _ = failing

    def work() -> None:
        with desk.writer() as writer:
            writer.begin(step, BOTH, CURVE)
            raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        work()


def test_without_work_no_thread_is_begun(desk: Desk):
    with desk.writer() as writer:
        writer.check()
        writer.wait()
        assert writer.is_idle
        assert writers() == []
