"""A control with a clock of its own, a worker's context, and a submitted job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from shared.clock import utc_now
from shared.options import StyleOptions
from shared.settings import Settings
from shared.storage import layout
from tests.support.bench import make_control
from tests.support.clock import Clock
from tests.support.installation import names_of
from tests.support.rows import add_picture
from web.backend import Backend
from web.control.process import Control
from web.db.models import Job
from web.jobs.queries import add_job
from worker.context import WorkerContext


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(settings: Settings, clock: Clock) -> Iterator[Control]:
    control = make_control(settings, clock)
    yield control
    control.close()


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    Backend.open(settings).close()  # the identity is made with the database
    context = WorkerContext.open(
        settings, names_of(settings), worker_id="node-a", device="cpu", talk_seconds=0
    )
    yield context
    context.redis.close()


@pytest.fixture
def job(control: Control, context: WorkerContext, make_picture: Callable[..., bytes]) -> Job:
    """A job just submitted: its pictures stored, its row committed."""
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.write(layout.asset_key(sha256), data)
    with control.backend.database.write() as session:
        asset = add_picture(session, now=utc_now(), sha256=sha256, size_bytes=len(data))
        return add_job(
            session, caller="local", name="a job", content=asset, style=asset,
            options=StyleOptions(steps=20, checkpoint_every=5), labels={}, max_attempts=3, now=utc_now(),
        )  # fmt: skip
