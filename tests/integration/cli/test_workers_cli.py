"""`atelier workers`, `queue` and `drain` against the real app."""

from __future__ import annotations

import json

import pytest

from shared.clock import utc_now
from shared.protocol import PROTOCOL
from shared.redis.workers import WorkerBeat, WorkerJob, WorkerRegistry, WorkerState
from tests.support.installation import names_of
from web.cli.workers import _lines
from web.jobs.estimates import START_ONE


@pytest.fixture
def registry(redis_client, settings) -> WorkerRegistry:
    return WorkerRegistry(redis_client, names_of(settings))


def beat(worker_id: str, **changes: object) -> WorkerBeat:
    now = utc_now()
    facts = {
        "device": "cuda:0 [x]",
        "weights": "untrained",
        "protocol": PROTOCOL,
        "started_at": now,
        "at": now,
    }
    return WorkerBeat(worker_id=worker_id, **{**facts, **changes})


def test_without_a_worker_they_say_so(atelier):
    for command in ("workers", "queue"):
        result = atelier(command)
        assert (
            result.exit_code,
            START_ONE in result.stderr,
        ) == (0, True)
    assert json.loads(atelier("workers", "--json").stdout)["workers"] == []


def test_workers_are_shown_in_a_table(atelier, registry):
    job = WorkerJob(job_id="j", attempt=1, step=5, steps=20, since=utc_now())
    registry.beat(beat("[bold]a[/]", state=WorkerState.BUSY, job=job, memory_total_bytes=2 * 10**9))
    registry.beat(beat("b", memory_total_bytes=2 * 10**9, memory_used_bytes=10**9))
    lines = atelier("workers").stdout.splitlines()
    assert lines[0].split() == ["id", "state", "device", "memory", "weights", "methods", "heard", "job"]
    assert lines[1].split()[:2] == ["[bold]a[/]", "busy"]
    assert "cuda:0 [x]" in lines[1]
    assert lines[1].rstrip().endswith("j 5/20")
    assert "1.0 of 2.0 GB" in lines[2]


def test_labels_have_a_column_where_a_worker_has_some(atelier, registry):
    registry.beat(beat("a"))
    registry.beat(beat("b", labels={"zone": "a", "class": "big"}))
    head, first, second = atelier("workers").stdout.splitlines()
    assert head.split()[-3:] == ["labels", "heard", "job"]
    assert ("=" in first, "class=big, zone=a" in second) == (False, True)


def test_what_a_worker_lacks_is_said_below_the_table(atelier, registry):
    registry.beat(beat("a"))
    registry.beat(beat("b", methods=["gatys"], not_served={"fast": "the model is [not] installed"}))
    shown = atelier("workers")
    assert "b does not serve fast: the model is [not] installed" in shown.stderr
    assert "a does not serve" not in shown.stderr


def test_a_fast_job_without_a_model_is_refused_and_told_what_to_do(atelier, registry, pictures):
    registry.beat(beat("a", not_served={"fast": "the model is not installed"}))
    refused = atelier("submit", *pictures, "--method", "fast", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["error"]["code"] == "fast_model_unavailable"
    assert "a: the model is not installed" in refused.stderr
    assert "requirements/fast.txt" in refused.stderr
    assert atelier("submit", *pictures).exit_code == 0


def test_the_queue_is_one_line_a_figure(atelier, pictures):
    atelier("submit", *pictures)
    shown = dict(
        line.rsplit(maxsplit=1) for line in atelier("queue").stdout.splitlines() if "oldest" not in line
    )
    assert shown == {
        "depth": "1", "for others": "0", "running": "0", "paused": "0", "backlog": "–", "workers": "0",
    }  # fmt: skip
    assert json.loads(atelier("queue", "--json").stdout)["depth"] == 1


def test_the_wait_is_told_with_its_bounds():
    told = {"backlog_seconds": 90.0, "backlog_low_seconds": 30.0, "backlog_high_seconds": 300.0}
    assert "backlog    1 min 30 s (30 s to 5 min 00 s)" in _lines(told)
    assert "backlog    1 min 30 s" in _lines({"backlog_seconds": 90.0})
    same = {"backlog_seconds": 0.0, "backlog_low_seconds": 0.0, "backlog_high_seconds": 0.0}
    assert "backlog    0 s" in _lines(same)


def test_drain_asks_and_an_unknown_worker_is_refused(atelier, registry):
    first = beat("a")
    registry.beat(first)
    result = atelier("drain", "a")
    assert (result.exit_code, result.stdout) == (0, "draining\n")
    assert registry.is_drain_asked(first)
    assert json.loads(atelier("drain", "a", "--json").stdout)["state"] == "draining"
    refused = atelier("drain", "no/body")
    assert refused.exit_code == 2
    assert refused.stderr


def test_a_worker_may_be_named_by_its_beginning(atelier, registry):
    for name in ("north-1", "north-10", "south"):
        registry.beat(beat(name))
    assert atelier("drain", "south"[:2]).exit_code == 0
    assert json.loads(atelier("drain", "north-1", "--json").stdout)["id"] == "north-1"
    refused = atelier("drain", "north")
    assert (refused.exit_code, "several workers: north-1, north-10" in refused.stderr) == (2, True)
