"""Stream, flags, progress, workers, epoch and broker against a real Redis."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis

from shared.broker import DEFAULT_ROUTE, Dispatch
from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent, read_event
from shared.redis import Coordination
from shared.redis.connection import Epoch, connect_redis
from shared.redis.live import Flag, Flags, LiveProgress, ProgressStore
from shared.redis.names import Names
from shared.redis.stream import EventStream
from shared.redis.workers import WorkerBeat, WorkerRegistry
from shared.settings import Settings

NAMES = Names("test")

PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")


def event(number: int) -> WorkerEvent:
    return WorkerEvent(
        event_id=f"e{number}",
        type=EventType.CANCELED,
        job_id="j",
        attempt=1,
        at=utc_now(),
        data={"n": number},
    )


def message(job_id: str) -> JobMessage:
    return JobMessage(job_id=job_id, attempt=1, content=PICTURE, style=PICTURE, options=StyleOptions())


def test_events_stay_until_they_are_acknowledged(redis_client: redis.Redis):
    stream = EventStream(redis_client, NAMES)
    assert stream.fresh(count=10) == []
    for number in range(3):
        stream.report(event(number))
    first = stream.fresh(count=2)
    assert [read_event(delivery.text).data["n"] for delivery in first] == [0, 1]
    assert stream.pending(count=10) == first
    stream.acknowledge(first)
    assert stream.pending(count=10) == []
    assert stream.length() == 1
    assert [read_event(delivery.text).data["n"] for delivery in stream.fresh(count=10)] == [2]


def test_the_stream_survives_the_loss_of_its_group(redis_client: redis.Redis):
    stream = EventStream(redis_client, NAMES)
    stream.fresh(count=1)
    redis_client.flushall()
    stream.report(event(7))
    assert [read_event(delivery.text).data["n"] for delivery in stream.fresh(count=10)] == [7]


def test_flags(redis_client: redis.Redis):
    flags = Flags(redis_client, NAMES)
    assert flags.read("j", 1) is None
    flags.raise_flag("j", 1, Flag.PAUSE)
    flags.raise_flag("j", 1, Flag.CANCEL)
    assert flags.read("j", 1) is Flag.CANCEL
    assert flags.read("j", 2) is None


def test_progress_is_read_and_watched(redis_client: redis.Redis):
    board = ProgressStore(redis_client, NAMES)
    progress = LiveProgress(
        attempt=1, step=5, steps=10, loss_total=3, loss_content=1, loss_style=2, steps_per_second=4
    )
    with board.watch("j") as subscription:
        board.publish("j", progress)
        heard = None
        while heard is None:
            heard = subscription.get_message(timeout=10)
    assert heard["data"] == "progress"
    assert board.read(["j", "other"]) == {"j": progress}
    redis_client.set(NAMES.key("progress", "j"), '{"of": "another version"}')
    assert board.read(["j"]) == {}


def test_workers_come_and_go(redis_client: redis.Redis):
    registry = WorkerRegistry(redis_client, NAMES, worker_seconds=30)
    beats = [
        WorkerBeat(worker_id=name, device="cpu", weights="untrained", started_at=utc_now(), at=utc_now())
        for name in ("b", "a")
    ]
    for beat in beats:
        registry.beat(beat)
    assert [beat.worker_id for beat in registry.alive()] == ["a", "b"]
    assert redis_client.pttl(NAMES.key("worker", "a")) > 29_000
    registry.leave("a")
    assert [beat.worker_id for beat in registry.alive()] == ["b"]


def test_the_epoch_is_new_once(redis_client: redis.Redis):
    epoch = Epoch(redis_client, NAMES)
    assert [epoch.is_new(), epoch.is_new()] == [True, False]
    redis_client.flushall()
    assert epoch.is_new()


def test_the_broker_shows_what_waits_and_what_was_just_taken(settings: Settings, redis_client: redis.Redis):
    coordination = Coordination.connect(settings, NAMES)
    dispatch = Dispatch(settings, coordination)
    now = utc_now()
    assert dispatch.waiting_ids(held_since=now) == set()
    dispatch.send(message("one"))
    dispatch.send(message("two"))
    assert dispatch.waiting_ids(held_since=now) == {"one:1", "two:1"}
    # What a worker does when it takes a message: off the queue, into the unacknowledged ones.
    text = redis_client.rpop(NAMES.queue(DEFAULT_ROUTE))
    redis_client.hset(NAMES.unacked, "tag", f'[{text}, "", "queue"]')
    redis_client.zadd(NAMES.unacked_index, {"tag": now.timestamp()})
    assert dispatch.waiting_ids(held_since=now - timedelta(seconds=30)) == {"one:1", "two:1"}
    assert dispatch.waiting_ids(held_since=now + timedelta(seconds=1)) == {"two:1"}
    dispatch.close()


def test_without_redis_everything_says_so():
    settings = Settings(redis_url="redis://127.0.0.1:1/0")
    client = connect_redis(settings)
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    for action in (
        lambda: EventStream(client, NAMES).report(event(1)),
        lambda: Flags(client, NAMES).read("j", 1),
        lambda: ProgressStore(client, NAMES).read(["j"]),
        lambda: WorkerRegistry(client, NAMES).alive(),
        lambda: dispatch.send(message("one")),
        lambda: dispatch.waiting_ids(held_since=utc_now()),
    ):
        with pytest.raises(RedisUnavailable):
            action()
    dispatch.close()
