"""The real engine, warm; a worker's context; a job of 12 steps; and the result of its uninterrupted run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.settings import Settings
from shared.storage import layout
from tests.integration.worker.exact.nodes import CHECKPOINT_EVERY, STEPS, Nodes
from tests.support.installation import names_of
from tests.support.real_engine import METHODS, load_engine, load_fast_engine
from worker.context import WorkerContext
from worker.engine.engine import StyleEngine
from worker.engine.fast.engine import FastEngine


@pytest.fixture(scope="session")
def engines(untrained_cache: Path) -> dict[str, StyleEngine]:
    return {method: load_engine(method, untrained_cache) for method in METHODS}


@pytest.fixture(scope="session")
def fast_engine() -> FastEngine:
    return load_fast_engine()


@pytest.fixture(scope="session")
def uninterrupted() -> dict[tuple[str, str], str]:
    """SHA-256 of the result by method and preset, filled at first use."""
    return {}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def preset() -> str:
    """The preset of the job; a test that goes through all of them says so."""
    return "classic"


@pytest.fixture
def init() -> str:
    """What the job starts from; a test that has it start from a fast picture says so."""
    return "content"


@pytest.fixture
def nodes(
    settings: Settings,
    engines: dict[str, StyleEngine],
    uninterrupted: dict[tuple[str, str], str],
    make_picture: Callable[..., bytes],
    method: str,
    preset: str,
    init: str,
) -> Iterator[Nodes]:
    context = WorkerContext.open(settings, names_of(settings), worker_id="node", device="cpu", talk_seconds=0)
    pictures = []
    for seed in (1, 2):
        data = make_picture(seed=seed)
        sha256 = hashlib.sha256(data).hexdigest()
        context.store.write(layout.asset_key(sha256), data)
        pictures.append(InputPicture(key=layout.asset_key(sha256), sha256=sha256))
    options = StyleOptions(preset=preset, steps=STEPS, size=48, checkpoint_every=CHECKPOINT_EVERY, init=init)
    message = JobMessage(job_id="job", attempt=1, content=pictures[0], style=pictures[1], options=options)
    yield Nodes(context, method, engines[method], message, uninterrupted)
    context.redis.client.close()
