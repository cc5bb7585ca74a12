"""Stream, flags, progress, workers, epoch and broker against a real Redis."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from celery import Celery

from shared.broker import DEFAULT_ROUTE, TASK_NAME, Dispatch, broker_config
from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage, WorkerEvent, read_event
from shared.redis import Coordination
from shared.redis.connection import Epoch, connect_redis
from shared.redis.control import ControlBeat, ControlBoard
from shared.redis.live import Flag, Flags, LiveProgress, ProgressStore
from shared.redis.names import Names
from shared.redis.stream import EventStream, StreamBacklog
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


def test_who_only_looks_is_told_how_much_waits_and_since_when(redis_client: redis.Redis):
    stream = EventStream(redis_client, NAMES)
    assert stream.backlog() == StreamBacklog()
    assert not redis_client.exists(stream.name)
    seconds, _ = redis_client.time()
    fields = {"event": event(0).to_json()}
    redis_client.xadd(stream.name, fields, id=f"{(seconds - 90) * 1000}-0")
    stream.report(event(1))
    found = stream.backlog()
    assert found.count == 2
    assert 89 < found.oldest_seconds < 120
    stream.acknowledge(stream.fresh(count=10))
    assert stream.backlog() == StreamBacklog()
    redis_client.xadd(stream.name, fields, id=f"{(seconds + 3600) * 1000}-0")  # by a clock that was wrong
    assert stream.backlog() == StreamBacklog(1, 0.0)
    redis_client.delete(stream.name)
    redis_client.set(stream.name, "no stream")
    assert stream.backlog() == StreamBacklog()
    assert redis_client.get(stream.name) == "no stream"


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


def test_a_note_of_a_restore_that_is_none_is_none(redis_client: redis.Redis):
    epoch = Epoch(redis_client, NAMES)
    redis_client.lpush(NAMES.key("restored"), "somebody else's")
    assert not epoch.knows_restore("name")
    epoch.note_restore("name")
    assert epoch.knows_restore("name")


def test_the_broker_shows_what_waits_and_what_was_just_taken(settings: Settings, redis_client: redis.Redis):
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    now = utc_now()
    assert dispatch.look().waiting == set()
    dispatch.send([message("one"), message("two")])
    assert [entry.message_id for entry in dispatch.look().entries] == ["one:1", "two:1"]
    # What a worker does when it takes a message: off the queue, into the unacknowledged ones.
    text = redis_client.rpop(NAMES.queue(DEFAULT_ROUTE))
    redis_client.hset(NAMES.unacked, "tag", f'[{text}, "", "queue"]')
    redis_client.zadd(NAMES.unacked_index, {"tag": now.timestamp()})
    view = dispatch.look()
    assert view.waiting == {"two:1"}
    assert view.held_about(now, timedelta(seconds=30)) == {"one:1"}
    assert view.held_about(now + timedelta(seconds=31), timedelta(seconds=30)) == set()
    dispatch.close()


def test_a_message_may_go_before_all_others_in_the_place_of_its_copies(
    settings: Settings, redis_client: redis.Redis
):
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    dispatch.send([message(name) for name in ("one", "two", "three", "four")])
    copies = [entry for entry in dispatch.look().entries if entry.message_id == "three:1"]
    dispatch.send_first([message("zero"), message("three")], instead=copies)
    order = [entry.message_id for entry in dispatch.look().entries]
    assert order == ["zero:1", "three:1", "one:1", "two:1", "four:1"]
    dispatch.remove([entry for entry in dispatch.look().entries if entry.message_id == "one:1"])
    assert dispatch.look().waiting == {"zero:1", "two:1", "three:1", "four:1"}
    dispatch.close()


def test_what_celery_writes_and_what_we_write_is_taken_alike(settings: Settings):
    """A message as `Dispatch` writes it comes out of kombu as one that Celery had sent."""
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    app = Celery("test", set_as_current=False)
    app.conf.update(broker_config(settings, NAMES))
    queue = NAMES.queue(DEFAULT_ROUTE)
    app.send_task(TASK_NAME, kwargs={"message": message("one").to_json()}, task_id="one:1", queue=queue)
    dispatch.send([message("one")])
    taken = []
    with app.connection_for_read() as connection:
        for _ in range(2):
            found = connection.default_channel.basic_get(queue)
            taken.append(found)
    theirs, ours = taken
    assert ours.payload == theirs.payload
    assert ours.headers | {"origin": ""} == theirs.headers | {"origin": ""}
    for name in ("content_type", "content_encoding"):
        assert getattr(ours, name) == getattr(theirs, name)
    unlike = {"delivery_tag", "reply_to"}
    assert {key: value for key, value in ours.properties.items() if key not in unlike} == {
        key: value for key, value in theirs.properties.items() if key not in unlike
    }
    dispatch.close()


JUNK = [
    "no json",
    "[]",
    "7",
    "null",
    "{}",
    '{"headers": null}',
    '{"headers": {"id": 7}}',
    "[" * 100_000,
    b"\xff\xfe\x00",
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_junk_hides_no_message(settings: Settings, redis_client: redis.Redis, junk: str | bytes):
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    queue = NAMES.queue(DEFAULT_ROUTE)
    redis_client.lpush(queue, junk)
    redis_client.lpush(NAMES.queue_lists(DEFAULT_ROUTE)[1], junk)
    redis_client.hset(NAMES.unacked, "tag", junk)
    redis_client.zadd(NAMES.unacked_index, {"tag": 1, "gone": float("inf")})
    dispatch.send([message("one")])
    view = dispatch.look()
    assert view.waiting == {"one:1"}
    bad = [entry for entry in view.entries if entry.message_id is None]
    assert len(bad) == 2
    assert all(entry.fault for entry in bad)
    assert list(view.held_junk) == ["tag"]
    dispatch.remove(bad)
    dispatch.remove_held(list(view.held_junk))
    assert redis_client.llen(queue) == 1
    assert not redis_client.exists(f"{queue}:3", NAMES.unacked)
    dispatch.close()


@pytest.mark.parametrize("name", [NAMES.queue(DEFAULT_ROUTE), NAMES.unacked, NAMES.unacked_index])
def test_a_key_of_another_type_is_moved_aside(settings: Settings, redis_client: redis.Redis, name: str):
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    redis_client.set(name, "text")
    assert dispatch.look().waiting == set()
    dispatch.send([message("one")])
    dispatch.send_first([message("two")])
    assert dispatch.look().waiting == {"one:1", "two:1"}
    assert redis_client.get(f"{name}:damaged") == "text"
    dispatch.close()


def test_a_stream_of_another_type_is_moved_aside(redis_client: redis.Redis):
    stream = EventStream(redis_client, NAMES)
    for act in (lambda: stream.report(event(1)), stream.length, lambda: stream.fresh(count=1)):
        redis_client.delete(stream.name)
        redis_client.lpush(stream.name, "junk")
        act()
        stream.report(event(7))
        read = [read_event(delivery.text).data["n"] for delivery in stream.fresh(count=10)]
        assert read[-1:] == [7]


def test_entries_without_an_event_and_deleted_ones_hide_no_others(redis_client: redis.Redis):
    stream = EventStream(redis_client, NAMES)
    stream.fresh(count=1)
    ids = [redis_client.xadd(stream.name, fields) for fields in ({"a": "b"}, {"event": b"\xff"})]
    for number in range(3):
        stream.report(event(number))
    assert len(stream.fresh(count=3)) == 3
    redis_client.xdel(stream.name, *ids)
    found = stream.pending(count=2)
    assert [read_event(delivery.text).data["n"] for delivery in found] == [0]


@pytest.mark.parametrize(
    "junk", ["{}", "nothing", '{"started_at": 7}', b"\xff", '{"started_at": "2026-01-01", "at": "x"}']
)
def test_a_beat_of_control_that_cannot_be_read_is_none(redis_client: redis.Redis, junk: str | bytes):
    board = ControlBoard(redis_client, NAMES)
    redis_client.set(NAMES.key("control"), junk)
    assert board.read() is None
    redis_client.delete(NAMES.key("control"))
    redis_client.lpush(NAMES.key("control"), "a list")
    assert board.read() is None


def test_control_beats(redis_client: redis.Redis):
    board = ControlBoard(redis_client, NAMES)
    beat = ControlBeat(started_at=utc_now(), at=utc_now(), faults={"prune": "x"})
    board.beat(beat)
    assert board.read() == beat
    assert 0 < redis_client.pttl(NAMES.key("control")) <= 5000
    board.leave()
    assert board.read() is None


def beat_at(started_at: str, at: str) -> str:
    facts = {"worker_id": "a", "device": "d", "weights": "w", "started_at": started_at, "at": at}
    return json.dumps(facts)


@pytest.mark.parametrize(
    "junk",
    [
        "x",
        b"\xff",
        beat_at("2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        beat_at("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z"),
    ],
)
def test_a_beat_that_cannot_be_read_hides_no_other(redis_client: redis.Redis, junk: str | bytes):
    registry = WorkerRegistry(redis_client, NAMES, worker_seconds=30)
    good = WorkerBeat(worker_id="b", device="cpu", weights="untrained", started_at=utc_now(), at=utc_now())
    registry.beat(good)
    redis_client.set(NAMES.key("worker", "a"), junk)
    redis_client.lpush(NAMES.key("worker", "c"), "a list")
    redis_client.lpush(NAMES.key("drain", "b"), "a list")
    assert [beat.worker_id for beat in registry.alive()] == ["b"]
    assert not registry.is_drain_asked(good)


def test_flags_and_progress_of_another_type_are_none(redis_client: redis.Redis):
    redis_client.lpush(NAMES.key("flag", "j", 1), "x")
    redis_client.lpush(NAMES.key("progress", "j"), "x")
    redis_client.set(NAMES.key("progress", "k"), b"\xff")
    assert Flags(redis_client, NAMES).read("j", 1) is None
    assert ProgressStore(redis_client, NAMES).read(["j", "k"]) == {}


def test_without_redis_everything_says_so():
    settings = Settings(redis_url="redis://127.0.0.1:1/0")
    client = connect_redis(settings)
    dispatch = Dispatch(settings, Coordination.connect(settings, NAMES))
    for action in (
        lambda: EventStream(client, NAMES).report(event(1)),
        lambda: Flags(client, NAMES).read("j", 1),
        lambda: ProgressStore(client, NAMES).read(["j"]),
        lambda: WorkerRegistry(client, NAMES).alive(),
        lambda: dispatch.send([message("one")]),
        dispatch.look,
    ):
        with pytest.raises(RedisUnavailable):
            action()
    dispatch.close()
