"""What a job's page says: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from web.db.models import JobAttempt, JobEvent
from web.pages.job_text import attempt_lines, history, lead, page_title, speed_words

NOW = datetime(2026, 11, 23, 8, 47, 41, 120_000, tzinfo=UTC)


def job(status: str, **changes: object) -> dict:
    return {
        "status": status,
        "status_reason": None,
        "name": "Harbour",
        "input": {"content": {"filename": "a.png"}, "style": {"filename": "b.png"}},
        "progress": {"value": 0.479, "step": 47, "steps": 100},
        "attempt": {"number": 1, "worker_id": "gpu-a", "device": "cuda:0", "resumed_from_step": None},
        "queue": {"position": 4, "ahead_seconds": 240.0, "message": None},
        "metrics": {"run_seconds": 83.0},
        "error": None,
        "eta": None,
        **changes,
    }


def event(sequence: int, kind: str, **data: object) -> JobEvent:
    at = NOW + timedelta(seconds=sequence)
    return JobEvent(job_id="j", sequence=sequence, type=kind, data=data, created_at=at)


@pytest.mark.parametrize(
    ("status", "title"),
    [("running", "47 % · Harbour · Atelier"), ("paused", "47 % · Harbour · Atelier"),
     ("queued", "Queued · Harbour · Atelier"), ("failed", "Failed · Harbour · Atelier")],
)  # fmt: skip
def test_the_tab_tells_how_far_it_is(status: str, title: str):
    assert page_title(job(status)) == title


def test_a_job_without_a_name_is_called_by_its_pictures():
    assert page_title(job("queued", name=None)) == "Queued · a.png × b.png · Atelier"


ERROR = {"title": "The device has not enough memory.", "suggestion": None}
RESUMED = {"number": 2, "worker_id": "gpu-b", "device": "cpu", "resumed_from_step": 40}


@pytest.mark.parametrize(
    ("status", "changes", "words"),
    [
        ("queued", {}, "3 jobs ahead, about 4 min."),
        ("queued", {"queue": {"position": 1, "ahead_seconds": None, "message": "no worker is connected"}},
         "No worker is connected."),
        ("queued", {"status_reason": "worker_lost"},
         "3 jobs ahead, about 4 min. Its worker was lost; it goes on from its last checkpoint."),
        ("running", {}, "On gpu-a (cuda:0)."),
        ("running", {"attempt": RESUMED}, "Attempt 2 on gpu-b (cpu), resumed from step 40."),
        ("running", {"status_reason": "pausing"}, "Pausing: its worker saves a checkpoint, then lets go."),
        ("paused", {}, "Paused at step 47; its worker is free."),
        ("paused", {"progress": {"step": 0, "steps": 10, "value": 0}}, "Paused before its first step."),
        ("canceling", {}, "Canceling: its worker stops at the next step, and saves a checkpoint."),
        ("canceled", {}, "Canceled at step 47."),
        ("succeeded", {}, "Done in 1 min 23 s."),
        ("succeeded", {"metrics": {"run_seconds": 0.34}}, "Done in 0.3 s."),
        ("succeeded", {"status_reason": "reused"}, "An earlier result."),
        ("failed", {"error": ERROR}, "Failed at step 47."),
        ("expired", {"error": ERROR}, "Expired before its first step."),
    ],
)  # fmt: skip
def test_the_lead_says_where_a_job_is(status: str, changes: dict, words: str):
    assert lead(job(status, **changes)) == words


@pytest.mark.parametrize(
    ("speed", "words"), [(4.04, "4.0 steps/s"), (0.4, "2.5 s a step"), (None, ""), (0, ""), (-1.0, "")]
)
def test_speed_in_words(speed: float | None, words: str):
    assert speed_words(speed) == words


def test_the_history_is_told_in_order_and_checkpoints_share_a_line():
    events = [
        event(1, "status", status="queued", status_reason=None, attempt=1),
        event(2, "attempt", number=1, worker_id="gpu-a", device="cuda:0", resumed_from_step=None),
        event(3, "status", status="running", status_reason=None, attempt=1),
        event(4, "checkpoint", step=10, losses={"total": 2.0}),
        event(5, "checkpoint", step=20, losses={"total": 1.5}),
        event(6, "checkpoint", step=30, losses={"total": 1.0}),
        event(7, "status", status="queued", status_reason="worker_lost", attempt=2),
        event(8, "attempt", number=2, worker_id="gpu-b", device="cpu", resumed_from_step=30),
        event(9, "checkpoint", step=40, losses={"total": 0.9}),
        event(10, "output", width=512, height=342),
        event(11, "later", anything=1),
    ]
    assert [line.words for line in history(events)] == [
        "queued",
        "attempt 1 taken by gpu-a (cuda:0)",
        "running",
        "3 checkpoints, of step 10 to 30, loss 1.00",
        "queued: its worker was lost",
        "attempt 2 taken by gpu-b (cpu), from step 30",
        "checkpoint of step 40, loss 0.900",
        "result of 512 × 342 px",
        "later",
    ]
    assert history(events)[3].at == "2026-11-23T08:47:47.120Z"


def test_attempts_are_told_by_how_they_ended():
    rows = [
        JobAttempt(job_id="j", number=1, worker_id="gpu-a", device="cuda:0", started_at=NOW, ended_at=NOW,
                   outcome="worker_lost"),
        JobAttempt(job_id="j", number=2, worker_id=None, device=None, resumed_from_step=30, started_at=NOW),
        JobAttempt(job_id="j", number=3, outcome="something new"),
    ]  # fmt: skip
    lines = attempt_lines(rows)
    assert [(line.worker, line.from_step, line.outcome) for line in lines] == [
        ("gpu-a", 0, "the worker was lost"), ("–", 30, "under way"), ("–", 0, "something new"),
    ]  # fmt: skip
    assert (lines[0].ended_at, lines[1].ended_at) == ("2026-11-23T08:47:41.120Z", "")
