"""Real nodes with numerics: each goes on with what was begun under its own, and leaves others alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
import redis

from shared.broker import route_at
from shared.options import StyleOptions
from shared.protocol import NUMERICS_PROTOCOL, EventType, InputPicture, JobMessage, WorkerEvent, read_event
from shared.redis import Coordination
from shared.redis.names import Names
from shared.settings import Settings
from shared.storage import layout, store_of
from tests.support.waiting import wait_until
from worker.deliveries import envelope

pytestmark = pytest.mark.process

_PATIENCE_SECONDS = 60
HERE, ELSEWHERE = "cpu (here)", "cuda (elsewhere)"


@pytest.fixture
def send(
    settings: Settings, redis_client: redis.Redis, names: Names, make_picture: Callable[..., bytes]
) -> Callable[..., None]:
    """Put a job into the queue of a route."""
    store, data = store_of(settings), make_picture()
    sha256 = hashlib.sha256(data).hexdigest()
    store.write(layout.asset_key(sha256), data)
    picture = InputPicture(key=layout.asset_key(sha256), sha256=sha256)

    def do(job_id: str, *, route: str, numerics: str | None) -> None:
        message = JobMessage(
            job_id=job_id,
            attempt=1,
            content=picture,
            style=picture,
            options=StyleOptions(steps=3, size=48),
            numerics=numerics,
            least_protocol=1 if numerics is None else NUMERICS_PROTOCOL,
        )
        queue = names.queue(route)
        entry = envelope(message.message_id, message.to_json(), queue=queue, tag=message.message_id)
        redis_client.lpush(queue, json.dumps(entry))

    return do


def test_a_node_takes_what_is_for_its_kind_first_and_leaves_what_is_for_another(
    start, send, shown: Coordination, names: Names
):
    send("other-kind", route=route_at("any", ELSEWHERE), numerics=ELSEWHERE)
    send("late", route="any", numerics=ELSEWHERE)  # sent while all nodes were of that kind
    send("new", route="any", numerics=None)
    send("alike", route="any", numerics=HERE)
    send("begun", route=route_at("any", HERE), numerics=HERE)
    start(numerics={"gatys": HERE})
    events: list[WorkerEvent] = []

    def claims() -> list[WorkerEvent]:
        deliveries = shown.stream.fresh(count=1000)
        shown.stream.acknowledge(deliveries)
        events.extend(read_event(delivery.text) for delivery in deliveries)
        return [event for event in events if event.type is EventType.CLAIMED]

    wait_until(lambda: len(claims()) == 3, seconds=_PATIENCE_SECONDS)
    wait_until(
        lambda: [event.type for event in events + claims()].count(EventType.SUCCEEDED) == 3,
        seconds=_PATIENCE_SECONDS,
    )
    assert [event.job_id for event in claims()] == ["begun", "new", "alike"]
    assert {(event.data["numerics"], event.data["exact"]) for event in claims()} == {(HERE, True)}
    # The one is taken off and dropped, which control finds out; the other waits for its kind.
    assert shown.client.llen(names.queue("any")) == 0
    assert shown.client.llen(names.queue(route_at("any", ELSEWHERE))) == 1
    (beat,) = shown.workers.alive()
    assert beat.numerics == {"gatys": HERE}
