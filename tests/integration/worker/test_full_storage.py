"""A real node whose storage is too full: it begins nothing, says why, and a node with room takes the job."""

from __future__ import annotations

import pytest

from shared.broker import Dispatch
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.redis import Coordination
from shared.redis.workers import WorkerBeat, WorkerState
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 30
#: More than any disk has.
MARGIN_BYTES = 2**52


def when(shown: Coordination, state: WorkerState, name: str) -> WorkerBeat:
    def look() -> WorkerBeat | None:
        return next(
            (beat for beat in shown.workers.alive() if beat.worker_id == name and beat.state is state), None
        )

    return wait_until(look, seconds=_PATIENCE_SECONDS, what=f"{name} is {state}")


def test_a_node_below_the_margin_leaves_jobs_to_others(settings, shown, names, redis_client, start):
    start("full", changes={"min_free_bytes": MARGIN_BYTES})
    beat = when(shown, WorkerState.UNHEALTHY, "full")
    assert str(MARGIN_BYTES) in beat.reason
    assert f"{beat.storage_free_bytes} of {beat.storage_total_bytes} bytes left" in beat.reason
    picture = InputPicture(key="assets/aa/aa", sha256="aa")
    message = JobMessage(job_id="job", attempt=1, content=picture, style=picture, options=StyleOptions())
    dispatch = Dispatch(settings, shown)
    dispatch.send([message])
    dispatch.close()
    # The next look of a node that would have taken it comes after the message.
    at = when(shown, WorkerState.UNHEALTHY, "full").at
    wait_until(
        lambda: when(shown, WorkerState.UNHEALTHY, "full").at > at, seconds=_PATIENCE_SECONDS, what="a beat"
    )
    assert redis_client.llen(names.queue("any")) == 1
    assert not redis_client.exists(names.key("job", "job"))
    start("roomy")
    wait_until(
        lambda: bool(redis_client.exists(names.key("job", "job"))),
        seconds=_PATIENCE_SECONDS,
        what="the job is taken by the other",
    )
