"""What pages say of a job: one line, a sentence, its attempts and its history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.clock import to_rfc3339
from web.db.models import JobAttempt, JobEvent
from web.jobs.estimates import about_words
from web.pages.loss_plot import loss_words
from web.words import sentence, span, took

_REASONS = {
    "worker_lost": "Its worker was lost; it goes on from its last checkpoint.",
    "worker_drained": "Its worker was shut down; it goes on from its last checkpoint.",
    "restored": "A backup was put back; it goes on from its last checkpoint.",
    "worker_unfit": "Its worker could not go on; another one goes on from its last checkpoint.",
}
_OUTCOMES = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "canceled",
    "paused": "paused, and its device given free",
    "released": "given back: the worker was shut down",
    "worker_unfit": "given back: the worker could not go on",
    "worker_lost": "the worker was lost",
    "restored": "cut off by a restore of a backup",
}
_STATUS_REASONS = {
    "worker_lost": "its worker was lost",
    "worker_drained": "its worker was shut down",
    "worker_unfit": "its worker could not go on",
    "restored": "a backup was put back",
    "result_missing": "its result is not to be seen in the storage",
}


def job_line(job: Mapping[str, Any]) -> str:
    """Return how far a job is, why it waits, or what came of it; `job` is as the API shows it."""
    progress = job["progress"]
    step = f"step {progress['step']} of {progress['steps']}"
    status = job["status"]
    if status == "queued":
        return _waiting(job["queue"])
    if status == "running" and job["status_reason"] == "pausing":
        return f"pausing at {step}"
    if status == "running":
        return f"{step}, {span(job['eta']['seconds'])} left" if job["eta"] else step
    if status == "canceling":
        return f"stopping at {step}"
    if status == "succeeded":
        return _result(job)
    if status in ("failed", "expired") and job["error"]:
        return str(job["error"]["title"])
    if status == "canceled" and not progress["step"]:
        return "before its first step"
    return f"at {step}"


def _waiting(queue: Mapping[str, Any] | None) -> str:
    if queue is None:
        return "in the queue"
    if queue["message"]:
        return str(queue["message"])
    ahead = (queue["position"] or 1) - 1
    place = "next in line" if ahead == 0 else f"{ahead} {'job' if ahead == 1 else 'jobs'} ahead"
    seconds = queue["ahead_seconds"]
    words = about_words(seconds or 0, queue.get("low_seconds"), queue.get("high_seconds"))
    return f"{place}, {words}" if seconds else place


def _result(job: Mapping[str, Any]) -> str:
    if job["status_reason"] == "reused":
        return "an earlier result"
    seconds = job["metrics"]["run_seconds"]
    return "done" if seconds is None else f"done in {took(seconds)}"


@dataclass(frozen=True)
class Happening:
    """One line of a job's history; `at` is RFC 3339."""

    at: str
    words: str


@dataclass(frozen=True)
class AttemptLine:
    """One attempt; moments are RFC 3339, empty while there is none."""

    number: int
    worker: str
    device: str
    from_step: int
    started_at: str
    ended_at: str
    outcome: str
    numerics: str = ""
    #: What is to be said of an attempt that did not go on where the job was begun.
    moved: str = ""


def page_title(job: Mapping[str, Any]) -> str:
    """Return the title of the tab; `static/js/progress.js` says the same as steps arrive."""
    name = job_name(job)
    if job["status"] in ("running", "canceling", "paused"):
        return f"{int(job['progress']['value'] * 100)} % · {name} · Atelier"
    return f"{job['status'].capitalize()} · {name} · Atelier"


def lead(job: Mapping[str, Any]) -> str:
    """Return in a sentence where a job is: who works on it, why it waits, or what came of it."""
    status, step = job["status"], job["progress"]["step"]
    if status == "running":
        if job["status_reason"] == "pausing":
            return "Pausing: its worker saves a checkpoint, then lets go."
        return _worked_on(job["attempt"])
    if status == "queued":
        return f"{sentence(job_line(job))} {_REASONS.get(job['status_reason'] or '', '')}".strip()
    if status == "canceling":
        return "Canceling: its worker stops at the next step, and saves a checkpoint."
    if status == "paused":
        return f"Paused at step {step}; its worker is free." if step else "Paused before its first step."
    if status == "failed":
        return f"Failed at step {step}." if step else "Failed before its first step."
    if status == "expired":
        return "Expired before its first step."  # the error says why
    if status == "canceled":
        return f"Canceled at step {step}." if step else "Canceled before its first step."
    return sentence(job_line(job))


def speed_words(steps_per_second: float | None) -> str:
    """Return how fast a job is: '4.0 steps/s', or '2.5 s a step' where it is slower than one a second."""
    if not steps_per_second or steps_per_second < 0:
        return ""
    if steps_per_second >= 1:
        return f"{steps_per_second:.1f} steps/s"
    return f"{1 / steps_per_second:.1f} s a step"


def attempt_lines(attempts: Iterable[JobAttempt]) -> list[AttemptLine]:
    """Return who carried a job out, and how each attempt ended."""
    return [
        AttemptLine(
            number=attempt.number,
            worker=attempt.worker_id or "–",
            device=attempt.device or "–",
            from_step=attempt.resumed_from_step or 0,
            started_at=to_rfc3339(attempt.started_at) if attempt.started_at else "",
            ended_at=to_rfc3339(attempt.ended_at) if attempt.ended_at else "",
            outcome=_OUTCOMES.get(attempt.outcome, attempt.outcome) if attempt.outcome else "under way",
            numerics=attempt.numerics or "",
            moved="not exact: begun on another kind" if attempt.is_exact is False else "",
        )
        for attempt in attempts
    ]


def history(events: Iterable[JobEvent]) -> list[Happening]:
    """Return a job's events in words, oldest first; checkpoints that follow each other share a line."""
    lines: list[Happening] = []
    steps: list[int] = []
    for event in events:
        if event.type == "checkpoint":
            steps.append(event.data["step"])
            if len(steps) > 1:
                lines.pop()
            lines.append(Happening(to_rfc3339(event.created_at), _checkpoints(steps, event.data)))
            continue
        steps = []
        lines.append(Happening(to_rfc3339(event.created_at), _event_words(event)))
    return lines


def _checkpoints(steps: list[int], data: Mapping[str, Any]) -> str:
    loss = f"loss {loss_words(data.get('losses', {}).get('total'))}"
    if len(steps) == 1:
        return f"checkpoint of step {steps[0]}, {loss}"
    return f"{len(steps)} checkpoints, of step {steps[0]} to {steps[-1]}, {loss}"


def _event_words(event: JobEvent) -> str:
    data = event.data
    if event.type == "status":
        reason = data.get("status_reason")
        if reason == "pausing":
            return "asked to pause"
        return f"{data['status']}: {_STATUS_REASONS.get(reason, reason)}" if reason else str(data["status"])
    if event.type == "attempt":
        at = f", from step {data['resumed_from_step']}" if data.get("resumed_from_step") else ""
        return f"attempt {data['number']} taken by {data['worker_id']} ({data['device']}){at}"
    if event.type == "output":
        return f"result of {data['width']} × {data['height']} px"
    if event.type == "change":
        return "; ".join(_change_words(data))
    return event.type


def _change_words(data: Mapping[str, Any]) -> Iterator[str]:
    if "priority" in data:
        yield f"priority changed to {data['priority']}"
    if "name" in data:
        yield f"renamed “{data['name']}”" if data["name"] else "its name taken away"
    if "labels" in data:
        labels = ", ".join(f"{key}:{value}" for key, value in data["labels"].items())
        yield f"labels changed to {labels}" if labels else "its labels taken away"


def _worked_on(attempt: Mapping[str, Any]) -> str:
    number = f"Attempt {attempt['number']} on" if attempt["number"] > 1 else "On"
    at = f", resumed from step {attempt['resumed_from_step']}" if attempt["resumed_from_step"] else ""
    return f"{number} {attempt['worker_id']} ({attempt['device']}){at}."


def job_name(job: Mapping[str, Any]) -> str:
    """Return what people call a job: its name, else its pictures."""
    pictures = job["input"]
    return job["name"] or f"{pictures['content']['filename']} × {pictures['style']['filename']}"
