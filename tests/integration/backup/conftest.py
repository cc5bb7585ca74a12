"""An installation whose processes are this one: control's rounds and a worker, step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.broker import DEFAULT_ROUTE
from shared.clock import utc_now
from shared.options import StyleOptions
from shared.settings import Settings
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.bench import apply_checkpoints, make_control, read, work
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from tests.support.rows import add_picture
from web.backup.making import Made, make_backup
from web.backup.restoring import Restored, restore_backup
from web.control.process import Control
from web.db.models import Job
from web.jobs.actions import extend_job
from web.jobs.fields import ExtendBody
from web.jobs.queries import add_job
from web.jobs.queue import jobs_to_dispatch
from worker.context import WorkerContext


@dataclass
class House:
    """The installation; `restart` opens control anew, as a restore wants it closed."""

    settings: Settings
    make_picture: Callable[..., bytes]
    clock: Clock = field(default_factory=Clock)
    control: Control = field(init=False)
    context: WorkerContext = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.control = make_control(self.settings, self.clock)
        self.context = WorkerContext.open(
            self.settings, names_of(self.settings), worker_id="node-a", device="cpu"
        )

    def close(self) -> None:
        self.context.redis.close()
        self.control.close()

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.settings.data_dir / "storage")

    @property
    def database(self) -> Path:
        return self.settings.data_dir / "atelier.db"

    def submit(self, *, seed: int = 0) -> Job:
        data = self.make_picture(seed=seed)
        sha256 = hashlib.sha256(data).hexdigest()
        self.store.write(layout.asset_key(sha256), data)
        with self.control.backend.database.write() as session:
            asset = add_picture(session, now=utc_now(), sha256=sha256, size_bytes=len(data))
            return add_job(
                session, caller="local", name="a job", content=asset, style=asset,
                options=StyleOptions(steps=20, checkpoint_every=5), labels={}, max_attempts=3, now=utc_now(),
            )  # fmt: skip

    def row(self, job: Job) -> Job:
        return read(self.control, job)

    def work(self, job: Job, engine: SteadyEngine | None = None) -> None:
        """Carry out the attempt that a job is at, and apply what is reported."""
        work(self.context, self.row(job), engine)
        self.control.projector.drain()

    def work_until(self, job: Job, step: int, act: Callable[[], object]) -> None:
        """Carry a job out until a step, do something then, and let the worker die."""

        def before(number: int) -> None:
            if number == step:
                apply_checkpoints(self.control, job.id, before_step=step)
                act()
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.work(job, SteadyEngine(before))

    def work_on_what_is_due(self) -> list[str]:
        """What the dispatcher would send, carried out."""
        with self.control.backend.database.read() as session:
            due = jobs_to_dispatch(session, room={DEFAULT_ROUTE: 100})
        for job in due:
            self.work(job)
        return [job.id for job in due]

    def extend(self, job: Job, steps: int) -> None:
        extend_job(
            self.control.backend, job.id, ExtendBody(steps=steps), caller="local", now=self.clock.now()
        )
        self.work(job)

    def back_up(self, folder: Path) -> Made:
        return make_backup(self.control.backend, folder, clock=utc_now)

    def restore(self, folder: Path) -> Restored:
        """Stop, restore, start."""
        self.close()
        try:
            return restore_backup(self.settings, folder, now=utc_now())
        finally:
            self.open()

    def output(self, job: Job) -> bytes:
        row = self.row(job)
        assert (row.status, len(row.outputs)) == ("succeeded", 1)
        data = self.store.read(row.outputs[0]["key"])
        assert hashlib.sha256(data).hexdigest() == row.outputs[0]["sha256"]
        return data


@pytest.fixture
def house(settings: Settings, make_picture: Callable[..., bytes]) -> Iterator[House]:
    house = House(settings, make_picture)
    yield house
    house.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"
