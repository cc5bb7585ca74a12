"""A Redis that swallows what is sent does not slow the compute down; what was to be said is said later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, read_event
from shared.redis import Coordination
from shared.redis.live import Flag
from shared.settings import Settings
from shared.storage import layout
from tests.support.engines import SteadyEngine
from tests.support.installation import names_of
from tests.support.proxy import Proxy
from worker.context import WorkerContext
from worker.runner import Outcome, Runner

VAIN = ("flag_not_read", "progress_not_published", "report_delayed")


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    with Proxy(urlsplit(settings.redis_url).port) as proxy:
        yield proxy


@pytest.fixture
def direct(settings: Settings) -> Iterator[Coordination]:
    """Redis as those see it whose packets arrive."""
    redis = Coordination.connect(settings, names_of(settings))
    yield redis
    redis.close()


@pytest.fixture
def context(settings: Settings, proxy: Proxy) -> Iterator[WorkerContext]:
    through = settings.model_copy(
        update={"redis_url": f"redis://127.0.0.1:{proxy.port}/0", "renew_seconds": 0.05}
    )
    context = WorkerContext.open(
        through, names_of(settings), worker_id="node-a", device="cpu", talk_seconds=0
    )
    # So that the lease's own thread is back soon after.
    redis = Coordination.connect(through, names_of(settings), reply_seconds=0.5, tries_again=False)
    yield replace(context, redis=redis)
    redis.close()
    context.close()


@pytest.fixture
def message(context: WorkerContext, make_picture: Callable[..., bytes]) -> JobMessage:
    data = make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    context.store.write(layout.asset_key(sha256), data)
    picture = InputPicture(key=layout.asset_key(sha256), sha256=sha256)
    options = StyleOptions(steps=200, checkpoint_every=10)
    return JobMessage(job_id="job", attempt=1, content=picture, style=picture, options=options)


def test_the_steps_go_on_and_nothing_is_lost(
    context: WorkerContext, direct: Coordination, proxy: Proxy, message: JobMessage
):
    def step(number: int) -> None:
        if number == 15:
            proxy.swallow()
        elif number == 195:
            proxy.let_through()

    with capture_logs() as logs:
        outcome = Runner(context, SteadyEngine(step), draining=lambda: False).run(message)
    assert outcome is Outcome.ENDED
    # One try in vain, and one more where a report was begun in that moment; 180 steps and 18 reports would
    # each have waited.
    tries = [one["event"] for one in logs if one["event"] in VAIN]
    assert 1 <= len(tries) <= 2
    events = [read_event(one.text) for one in direct.stream.fresh(count=1000)]
    ids = dict.fromkeys(event.event_id for event in events)  # what was not answered may have arrived
    assert len(ids) == 1 + 20 + 1
    assert (events[0].type, events[-1].type) == (EventType.CLAIMED, EventType.SUCCEEDED)
    steps = [event.data["step"] for event in events if event.type is EventType.CHECKPOINTED]
    assert sorted(set(steps)) == list(range(10, 201, 10))


def test_a_flag_is_heard_again_as_soon_as_the_lease_is_renewed(
    context: WorkerContext, direct: Coordination, proxy: Proxy, message: JobMessage
):
    renewed = direct.claims

    def step(number: int) -> None:
        if number == 15:
            proxy.swallow()
        elif number == 30:
            direct.flags.raise_flag("job", 1, Flag.CANCEL)
            proxy.let_through()
        elif number > 30:
            # A long step, until the lease's own thread hears from Redis.
            direct.client.delete(direct.names.key("lease", "job"))
            while renewed.without_lease(["job"]):
                pass

    engine = SteadyEngine(step)
    assert Runner(context, engine, draining=lambda: False).run(message) is Outcome.ENDED
    assert 30 < engine.steps_made < 40
    events = [read_event(one.text) for one in direct.stream.fresh(count=1000)]
    assert events[-1].type is EventType.CANCELED
