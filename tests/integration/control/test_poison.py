"""Items that anybody else wrote: each is judged alone, and no other waits for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared.broker import DEFAULT_ROUTE
from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.options import StyleOptions
from shared.protocol import EventType
from shared.storage.layout import marker_key
from tests.support.bench import history, read, report, rounds, usual_list, waiting, work
from tests.support.clock import Clock
from web.control.process import Control
from web.db.models import Job
from web.jobs.queries import add_job
from worker.context import WorkerContext
from worker.deliveries import envelope


@pytest.fixture
def add(control: Control, job: Job) -> Callable[..., Job]:
    """Add another job of the same pictures."""

    def do(**extra: Any) -> Job:
        with control.backend.database.write() as session:
            picture = session.merge(job.content, load=False)
            return add_job(
                session, caller="local", name="another", content=picture, style=picture,
                options=StyleOptions(steps=20, checkpoint_every=5), labels={}, max_attempts=3,
                now=utc_now(), extra=extra,
            )  # fmt: skip

    return do


@pytest.fixture
def put(control: Control) -> Callable[..., None]:
    """Put something into a column of a job's row, as a hand or another program would."""

    def do(job: Job, column: str, value: object) -> None:
        with control.backend.database.write() as session:
            session.execute(
                text(f"UPDATE jobs SET {column} = :value WHERE id = :id"),
                {"value": value, "id": job.id},
            )

    return do


def event(job: Job, kind: str, data: object, **changes: object) -> str:
    return json.dumps(
        {
            "version": 1, "event_id": f"{job.id}:{kind}:{data}"[:200], "type": kind, "job_id": job.id,
            "attempt": 1, "at": "2026-11-26T12:00:00Z", "data": data, **changes,
        }
    )  # fmt: skip


CLAIM = {"worker_id": "w", "device": "d", "weights": {}, "engine_version": "1", "resumed_from_step": None}
CHECKPOINT = {
    "step": 5, "steps": 20, "key": "k", "picture_key": "p", "sha256": "0", "curve": [],
    "losses": {"total": 1.0, "content": 0.5, "style": 0.5},
}  # fmt: skip
BAD_EVENTS: dict[str, Callable[[Job], str]] = {
    "no JSON": lambda _: "nonsense",
    "nothing": lambda _: "",
    "bytes": lambda _: "\udcff\udcfe",
    "deep": lambda _: "[" * 50_000,
    "a list": lambda _: "[]",
    "another version": lambda job: event(job, "claimed", CLAIM, version=2),
    "an unknown type": lambda job: event(job, "promoted", {}),
    "no data": lambda job: event(job, "claimed", None),
    "data is a list": lambda job: event(job, "claimed", []),
    "a field missing": lambda job: event(job, "claimed", {"worker_id": "w"}),
    "a worker that is a number": lambda job: event(job, "claimed", CLAIM | {"worker_id": 7}),
    "a very long worker": lambda job: event(job, "claimed", CLAIM | {"worker_id": "w" * 100_000}),
    "weights that are a list": lambda job: event(job, "claimed", CLAIM | {"weights": []}),
    "a step of words": lambda job: event(job, "checkpointed", CHECKPOINT | {"step": "many"}),
    "a step beyond all": lambda job: event(job, "checkpointed", CHECKPOINT | {"step": 2**70}),
    "a step below 0": lambda job: event(job, "checkpointed", CHECKPOINT | {"step": -1}),
    "a loss of words": lambda job: event(job, "checkpointed", CHECKPOINT | {"losses": {"total": "x"}}),
    "losses that are none": lambda job: event(job, "checkpointed", CHECKPOINT | {"losses": None}),
    "no number": lambda job: event(job, "checkpointed", CHECKPOINT | {"losses": {"total": float("nan")}}),
    "a curve of words": lambda job: event(job, "checkpointed", CHECKPOINT | {"curve": [["a"]]}),
    "an error of words": lambda job: event(job, "failed", {"error": "it broke"}),
    "no error": lambda job: event(job, "failed", {}),
    "a result of nothing": lambda job: event(job, "succeeded", {}),
    "outputs of words": lambda job: event(job, "succeeded", {"outputs": "none"}),
    "an attempt beyond all": lambda job: event(job, "claimed", CLAIM, attempt=2**80),
    "an attempt of words": lambda job: event(job, "claimed", CLAIM, attempt="first"),
    "no job": lambda job: event(job, "claimed", CLAIM, job_id=None),
    "a very long id": lambda job: event(job, "claimed", CLAIM, event_id="e" * 1_000_000),
    "no time": lambda job: event(job, "claimed", CLAIM, at="soon"),
    "a time without zone": lambda job: event(job, "claimed", CLAIM, at="2026-11-26T12:00:00"),
    "a fault of words": lambda job: event(job, "released", {"step": 1, "fault": "it broke"}),
    "a fault of nobody": lambda job: event(job, "released", {"fault": {"code": "engine_failed"}}),
    "a fault of lists": lambda job: event(job, "released", {"fault": {"code": [], "worker": "w"}}),
    "a reason that is none": lambda job: event(job, "released", {"reason": ["disk"]}),
    "a curve with holes": lambda job: event(job, "checkpointed", CHECKPOINT | {"curve": [[1, 2.0], []]}),
    "a key of elsewhere": lambda job: event(job, "checkpointed", CHECKPOINT | {"key": "../../etc/passwd"}),
    "a picture of nowhere": lambda job: event(job, "checkpointed", CHECKPOINT | {"picture_key": "a\x00"}),
    "a curve without end": lambda job: event(
        job, "checkpointed", CHECKPOINT | {"curve": [[1.0] * 4] * 10**6}
    ),
    "the end of all time": lambda job: event(job, "claimed", CLAIM, at="9999-12-31T23:59:59-12:00"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_report_is_set_aside_and_the_others_are_applied(
    control: Control, context: WorkerContext, job: Job, name: str
):
    bad = BAD_EVENTS[name](job)
    stream = control.backend.redis.stream
    control.backend.redis.client.xadd(stream.name, {"event": bad})
    work(context, job)
    assert control.round()
    assert read(control, job).status == "succeeded"
    assert (stream.length(), stream.pending(count=10)) == (0, [])
    (aside,) = control.backend.redis.set_aside.entries()
    assert aside.source == stream.name
    assert aside.reason
    assert control.projector.skipped == 1


def test_what_a_claim_tells_beside_the_known_facts_spoils_no_row(control: Control, job: Job):
    weights = {"name": "untrained", "sha256": "ab", "notice": None, "later": float("nan"), "deep": [[]]}
    text_of = event(job, "claimed", CLAIM | {"weights": weights})
    control.backend.redis.client.xadd(control.backend.redis.stream.name, {"event": text_of})
    control.round()
    assert read(control, job).weights == {"name": "untrained", "sha256": "ab", "notice": None}


def test_the_words_of_an_error_may_be_many(control: Control, job: Job):
    error = {"code": "out_of_memory", "title": "t", "detail": "d" * 1_000_000, "retryable": False}
    control.backend.redis.client.xadd(
        control.backend.redis.stream.name, {"event": event(job, "failed", {"error": error})}
    )
    control.round()
    after = read(control, job)
    assert (after.status, after.error["detail"]) == ("failed", "d" * 10_000)


@pytest.mark.parametrize("fields", [{"other": "field"}, {"EVENT": "x"}, {"event": b"\xff\x00"}])
def test_an_entry_without_an_event_is_set_aside(
    control: Control, context: WorkerContext, job: Job, fields: dict[str, Any]
):
    control.backend.redis.client.xadd(control.backend.redis.stream.name, fields)
    work(context, job)
    assert control.round()
    assert read(control, job).status == "succeeded"
    assert control.backend.redis.set_aside.count() == 1


def test_an_entry_with_the_last_of_all_ids_ends_no_reports(
    control: Control, context: WorkerContext, job: Job
):
    stream, client = control.backend.redis.stream, control.backend.redis.client
    control.round()
    last = f"{2**64 - 1}-{2**64 - 1}"
    client.xadd(stream.name, {"event": "junk"}, id=last)
    with pytest.raises(RedisUnavailable):
        report(context, job, EventType.CLAIMED)
    control.round()
    report(context, job, EventType.CLAIMED)
    control.round()
    assert read(control, job).status == "running"
    assert control.backend.redis.set_aside.count() == 1
    assert stream.length() == 0


def test_reports_about_nothing_are_passed_over(control: Control, context: WorkerContext, job: Job):
    for job_id in ("nobody", "", "'; DROP TABLE jobs", "\x00"):
        text_of = event(job, "claimed", CLAIM, job_id=job_id, event_id=f"e{job_id}")
        control.backend.redis.client.xadd(control.backend.redis.stream.name, {"event": text_of})
    work(context, job)
    assert control.round()
    assert read(control, job).status == "succeeded"


def test_a_report_that_cannot_be_applied_spoils_none_of_its_group(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., Job], put: Callable[..., None]
):
    """Thirty reports go into one transaction; that of a row that is damaged fails alone."""
    others = [add() for _ in range(14)]
    damaged = add()
    put(damaged, "version", "not a number")
    for one in (*others[:7], damaged, *others[7:], job):
        report(context, one, EventType.CLAIMED)
    assert control.round()
    assert {read(control, one).status for one in (*others, job)} == {"running"}
    (aside,) = control.backend.redis.set_aside.entries()
    assert damaged.id in aside.entry
    assert control.backend.redis.stream.length() == 0


def test_a_set_aside_report_may_be_requeued_when_its_cause_is_gone(
    control: Control, context: WorkerContext, job: Job, put: Callable[..., None]
):
    put(job, "version", "x")
    report(context, job, EventType.CLAIMED)
    control.round()
    (aside,) = control.backend.redis.set_aside.entries()
    put(job, "version", 1)
    assert control.backend.redis.set_aside.requeue(aside.id)
    control.round()
    assert read(control, job).status == "running"
    assert control.backend.redis.set_aside.count() == 0


@pytest.mark.parametrize("junk", ["no json", "[]", '{"headers": {}}', b"\xff\xfe", "[" * 50_000])
def test_an_entry_of_the_queue_that_is_none_is_set_aside(
    control: Control, context: WorkerContext, clock: Clock, job: Job, junk: str | bytes
):
    names = context.redis.names
    queue = names.queue(DEFAULT_ROUTE)
    context.redis.client.rpush(queue, junk)
    context.redis.client.hset(names.unacked, "tag", junk)
    context.redis.client.zadd(names.unacked_index, {"tag": 5})
    rounds(control, clock)
    assert waiting(context) == 1
    assert context.redis.client.hlen(names.unacked) == 0
    assert {aside.source for aside in control.backend.redis.set_aside.entries()} == {queue, names.unacked}
    context.redis.client.delete(queue)
    rounds(control, clock)
    rounds(control, clock)
    assert waiting(context) == 1, "messages that are lost are still found"


@pytest.mark.parametrize("message_id", ["\ud800:1", "x" * 100_000, "\x00:1", "\x1b[2J:1"])
def test_an_entry_with_an_id_that_no_database_takes_is_set_aside(
    control: Control, context: WorkerContext, clock: Clock, job: Job, message_id: str
):
    names = context.redis.names
    queue = names.queue(DEFAULT_ROUTE)
    entry = envelope(message_id, {}, queue=queue, tag="t")
    context.redis.client.rpush(queue, json.dumps(entry))
    context.redis.client.hset(names.unacked, "tag", json.dumps([entry, "", queue]))
    context.redis.client.zadd(names.unacked_index, {"tag": 5})
    rounds(control, clock)
    assert control.faults == {}
    assert waiting(context) == 1
    assert control.backend.redis.set_aside.count() == 2


@pytest.mark.parametrize("junk", [{"stamp": "9" * 400}, {"stamp": "9" * 5000}, {"age_seconds": float("nan")}])
def test_a_heartbeat_that_is_none_holds_up_no_job(
    control: Control, context: WorkerContext, clock: Clock, job: Job, junk: dict[str, Any]
):
    moment = utc_now().isoformat()
    beat = {"worker_id": "x", "device": "d", "weights": "w", "started_at": moment, "at": moment, **junk}
    context.redis.client.set(context.redis.names.key("worker", "x"), json.dumps(beat))
    rounds(control, clock)
    assert control.faults == {}
    assert waiting(context) == 1
    assert [one.age_seconds for one in context.redis.workers.alive()] in ([], [None])


@pytest.mark.parametrize("fence", ["9" * 5000, "-1", "\u0664", ""])
def test_a_fence_that_is_none_holds_up_no_job(control: Control, context: WorkerContext, job: Job, fence: str):
    context.redis.client.hset(context.redis.names.key("job", job.id), "attempt", fence)
    control.round()
    assert control.faults == {}
    assert waiting(context) == 1


@pytest.mark.parametrize("hours", [24, -24])
def test_a_message_that_was_taken_by_a_wrong_clock_is_sent_again(
    control: Control, context: WorkerContext, clock: Clock, job: Job, hours: int
):
    """Its node was killed before it could claim."""
    control.round()
    names = context.redis.names
    entry = json.loads(context.redis.client.rpop(usual_list(names)))
    context.redis.client.hset(names.unacked, "tag", json.dumps([entry, "", names.queue(DEFAULT_ROUTE)]))
    taken_at = clock.now() + timedelta(hours=hours)
    context.redis.client.zadd(names.unacked_index, {"tag": taken_at.timestamp()})
    rounds(control, clock)
    assert waiting(context) == 1


BAD_OPTIONS = [
    '{"steps": 0}',
    '{"checkpoint_every": 0}',
    '{"size": 1e3}',
    f'{{"steps": {2**60}}}',
    "{not json",
    "",
    "[]",
    "7",
    "null",
    '"text"',
    '{"steps": "many"}',
    '{"size": null}',
]


@pytest.mark.parametrize("value", BAD_OPTIONS)
def test_a_row_of_which_no_message_can_be_made_fails_and_the_others_go(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., Job],
    put: Callable[..., None], value: str,
):  # fmt: skip
    put(job, "options", value)
    other = add()
    assert control.round()
    assert read(control, other).dispatched_at is not None
    assert waiting(context) == 1
    after = read(control, job)
    assert (after.status, after.error["code"], after.error["retryable"]) == (
        "failed",
        "job_unreadable",
        False,
    )
    assert "cannot be read" in after.error["detail"]
    assert history(control, job) == ["queued", "failed"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("origin", "{"),
        ("origin", "[]"),
        ("origin", "{}"),
        ("run_timeout_seconds", "soon"),
        ("attempt", "x"),
        ("queue_rank", "x"),
    ],
)
def test_other_columns_of_a_message(
    control: Control, context: WorkerContext, job: Job, add: Callable[..., Job],
    put: Callable[..., None], column: str, value: str,
):  # fmt: skip
    put(job, column, value)
    other = add()
    for _ in range(2):
        control.round()
    assert control.faults == {}
    assert read(control, other).dispatched_at is not None
    assert waiting(context) == 1
    assert read(control, job).status == "failed"


@pytest.mark.parametrize("column", ["virtual_start", "estimated_seconds", "sends"])
def test_a_place_in_the_queue_that_cannot_be_read_holds_nobody_up(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., Job],
    put: Callable[..., None], column: str,
):  # fmt: skip
    """Neither while the job is due, nor while it lies in the broker, nor when it begins and ends."""
    put(job, column, "x")
    other = add()
    rounds(control, clock)
    put(job, column, "x")
    later = add()
    rounds(control, clock)
    assert control.faults == {}
    assert all(read(control, one).dispatched_at is not None for one in (job, other, later))
    assert waiting(context) == 3
    work(context, read(control, job))
    rounds(control, clock)
    assert control.faults == {}
    assert read(control, job).status == "succeeded"


@pytest.mark.parametrize("column", ["metrics", "outputs", "losses", "weights", "error"])
@pytest.mark.parametrize("value", ["{", "[1]", '"x"', "null", "7"])
def test_whatever_stands_in_a_finished_row_stops_nobody(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., Job],
    put: Callable[..., None], column: str, value: str,
):  # fmt: skip
    work(context, job)
    control.round()
    put(job, column, value)
    follower = add(leader_id=job.id, work_sha256=job.work_sha256)
    other = add()
    rounds(control, clock)
    assert control.faults == {}
    assert read(control, other).dispatched_at is not None
    assert read(control, follower).status in ("queued", "succeeded")
    assert read(control, follower).leader_id is None or read(control, follower).status == "succeeded"


def test_a_running_row_that_cannot_be_read_is_no_harm_to_other_lost_ones(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., Job],
    put: Callable[..., None],
):  # fmt: skip
    other = add()
    rounds(control, clock)
    for one in (job, other):
        report(context, one, EventType.CLAIMED)
    control.round()
    put(job, "version", "x")
    rounds(control, clock)
    assert (read(control, other).status, read(control, other).attempt) == ("queued", 2)
    assert control.rescuer.skipped > 0
    assert control.faults == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"version": 1}'])
def test_a_marker_that_is_none_is_set_aside_and_the_job_goes_on(
    control: Control, context: WorkerContext, clock: Clock, job: Job, content: bytes
):
    rounds(control, clock)
    report(context, job, EventType.CLAIMED)
    control.round()
    context.store.write(marker_key(job.id, 1), content)
    rounds(control, clock)
    assert (read(control, job).status, read(control, job).attempt) == ("queued", 2)
    assert [key for key in context.store.list(f"jobs/{job.id}") if "set-aside" in key]


def test_a_folder_in_the_place_of_a_marker_is_no_harm_to_other_lost_ones(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., Job]
):
    other = add()
    rounds(control, clock)
    for one in (job, other):
        report(context, one, EventType.CLAIMED)
    control.round()
    context.store.write(f"{marker_key(job.id, 1)}/file", b"x")
    rounds(control, clock)
    assert (read(control, other).status, read(control, other).attempt) == ("queued", 2)


@pytest.mark.parametrize("moment", ["nonsense", "0", "2026-13-45 99:99:99"])
def test_a_moment_that_is_none_stops_nobody(
    control: Control, context: WorkerContext, clock: Clock, job: Job, add: Callable[..., Job],
    put: Callable[..., None], moment: str,
):  # fmt: skip
    for column in ("created_at", "queued_at", "queue_deadline"):
        put(job, column, moment)
    other = add()
    rounds(control, clock)
    assert control.faults == {}
    assert read(control, other).dispatched_at is not None
