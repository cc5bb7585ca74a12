"""The cards of workers and the figures of the queue; the scripts say the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.redis.workers import WorkerBeat, WorkerJob, WorkerState
from web.api.workers import queue_to_json, worker_to_json
from web.jobs.queries import QueueCounts
from web.pages.workers import (
    backlog_words,
    fault_words,
    heard_words,
    memory_words,
    queue_figures,
    room_line,
    room_words,
    wait_words,
    worker_card,
)

NOW = utc_now()


def card(state: WorkerState = WorkerState.IDLE, **changes: object):
    facts = {"worker_id": "a b", "device": "cpu", "weights": "untrained", "started_at": NOW, "at": NOW}
    beat = WorkerBeat(**{**facts, "state": state, **changes})
    return worker_card(worker_to_json(beat, now=NOW, names={"j": "Harbour"}), NOW)


@pytest.mark.parametrize("state", WorkerState)
def test_a_worker_without_a_job_says_what_it_is_about(state):
    assert card(state).rest
    assert card(state).job is None
    assert bool(card(state).drain_url) == (state is not WorkerState.DRAINING)


def test_a_busy_worker_shows_its_job():
    since = NOW - timedelta(seconds=75)
    job = WorkerJob(job_id="j", attempt=2, step=5, steps=20, since=since)
    shown = card(WorkerState.BUSY, job=job).job
    assert (shown.url, shown.name, shown.value) == ("/jobs/j", "Harbour", 0.25)
    assert shown.line == "step 5 of 20, for 1 min 15 s"
    assert shown.thumbnail == "/api/v1/jobs/j/thumbnail?v=2-5"
    other = job.model_copy(update={"job_id": "someone else's"})
    assert card(WorkerState.BUSY, job=other).job.name == "someone else's"


def test_the_methods_it_serves_and_what_its_machine_lacks():
    assert (card().methods, card().not_served) == ("gatys", "")
    light = card(methods=["fast"], not_served={"gatys": "TensorFlow is not installed"})
    assert (light.methods, light.not_served) == ("fast", "gatys: TensorFlow is not installed")


def test_what_its_operator_says_of_it():
    assert card(labels={"zone": "a", "class": "big"}).labels == "class=big, zone=a"
    assert card().labels == ""


def test_it_is_drained_through_the_page_by_its_quoted_name():
    assert card().drain_url == "/workers/a%20b/drain"
    assert card().drain_api == "/api/v1/workers/a%20b/drain"


@pytest.mark.parametrize(
    ("total", "used", "words", "share"),
    [
        (None, None, "not known", 0),
        (25_300_000_000, None, "25.3 GB in all", 0),
        (25_300_000_000, 0, "0 bytes of 25.3 GB", 0),
        (200, 50, "50 bytes of 200 bytes", 0.25),
    ],
)
def test_memory(total, used, words, share):
    assert memory_words(total, used) == words
    assert card(memory_total_bytes=total, memory_used_bytes=used).memory_share == share


def test_a_beat_that_is_not_late_is_just_now():
    assert [heard_words(age) for age in (0, 6.9, 7, 70)] == [
        "just now",
        "just now",
        "7 s ago",
        "1 min 10 s ago",
    ]


def test_figures_name_fields_of_the_api():
    queue = queue_to_json(QueueCounts(depth=3, followers=1, oldest=NOW), [], [], now=NOW)
    figures = queue_figures(queue)
    assert {figure.field for figure in figures} == queue.keys() - {
        "backlog_low_seconds",
        "backlog_high_seconds",
        "told_waits",
        "told_waits_kept",
        "workers",
        "message",
    }
    assert [figure.words for figure in figures] == ["3", "0", "1", "0", "0 s", "unknown"]
    assert (wait_words(None), wait_words(75)) == ("–", "1 min 15 s")
    assert [backlog_words(value) for value in (None, 0.0, 12.4)] == ["unknown", "at once", "in 12 s"]
    assert backlog_words(12.4, 9.0, 20.0) == "in 12 s (9 s to 20 s)"


def test_faults_are_told_where_there_are_some():
    assert [fault_words(count) for count in range(3)] == ["", "1 job handed back", "2 jobs handed back"]


@pytest.mark.parametrize(
    ("free", "total", "words"),
    [
        (None, None, "not known"),
        (12_300_000_000, 80_000_000_000, "12.3 GB free of 80.0 GB"),
        (0, 200, "0 bytes free of 200 bytes"),
    ],
)
def test_the_room_of_the_storage(free, total, words):
    assert room_words({"free_bytes": free, "total_bytes": total}) == words
    assert card(storage_free_bytes=free, storage_total_bytes=total).storage == words


def test_the_room_that_web_sees_in_one_line():
    room = {"free_bytes": 7, "total_bytes": 10}
    unknown = {"free_bytes": None, "total_bytes": None}
    line = room_line({"storage": room, "database": room, "min_free_bytes": 0})
    assert line == "Storage: 7 bytes free of 10 bytes"
    later = {**room, "free_bytes": room["free_bytes"] - 70_000_000}
    assert room_line({"storage": room, "database": later, "min_free_bytes": 0}) == line
    other = {**room, "free_bytes": room["free_bytes"] - 200_000_000}
    assert "database: " in room_line({"storage": room, "database": other, "min_free_bytes": 0})
    line = room_line({"storage": unknown, "database": room, "min_free_bytes": 5})
    assert line == (
        "Storage: not known; database: 7 bytes free of 10 bytes; new work is taken in while 5 bytes are free"
    )
