"""What must be true of each job's history: one end an asking, nothing lost, nothing told otherwise."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from shared.options import steps_of
from tests.chaos.evidence import Evidence, is_kept
from tests.chaos.load import DRAFTS, Submitted
from tests.chaos.wishes import EXTENSION_STEPS, FINAL
from web.db.models import Job, JobEvent
from web.jobs.states import TRANSITIONS


def find_breaches(evidence: Evidence) -> list[str]:
    """Return every breach as a sentence."""
    breaches = []
    accepted = evidence.accepted()
    for job in evidence.submitted:
        if len(job.ids) > 1:
            breaches.append(f"number {job.number}: the same key was answered with {sorted(job.ids)}")
        breaches += [f"number {job.number} ({job.kind}): {fault}" for fault in job.faults]
    breaches += [f"{what}: accepted as {i}, and lost" for i, what in evidence.lost().items()]
    breaches += [f"job {i}: nobody was told of it" for i in evidence.jobs if i not in accepted]
    by_id = {job_id: job for job in evidence.submitted for job_id in job.ids}
    replaced = {job.replaces for job in evidence.submitted}
    for job_id, job in evidence.jobs.items():
        events, asked = evidence.events[job_id], by_id.get(job_id)
        faults = [
            *_of_events(job, events),
            *_of_ends(job, events, asked),
            *_of_wishes(job, asked, job_id in replaced),
        ]
        if asked is not None and asked.kind in DRAFTS:
            faults += _of_draft(evidence, job, asked)
        if not is_excused(evidence, job):
            faults += _of_status(evidence, job, asked)
        breaches += [f"job {job_id} ({asked.kind if asked else 'fork'}): {fault}" for fault in faults]
    for job_id, text in evidence.streams.items():
        breaches += [f"job {job_id}: {fault}" for fault in _of_stream(evidence.events[job_id], text)]
    return breaches


def _of_events(job: Job, events: list[JobEvent]) -> list[str]:
    faults = []
    if [event.sequence for event in events] != list(range(1, job.version + 1)):
        faults.append(f"its {len(events)} events are not numbered from 1 to its version {job.version}")
    attempt, seen = 0, Counter[tuple[int, int]]()
    for event in events:
        if event.type == "status":
            if event.data["attempt"] < attempt:
                faults.append(f"attempt {event.data['attempt']} came after {attempt}")
            attempt = event.data["attempt"]
        elif event.type == "checkpoint":
            seen[attempt, event.data["step"]] += 1
    twice = [f"step {step} of attempt {number}" for (number, step), count in seen.items() if count > 1]
    return faults + [f"the checkpoint of {place} was reported twice" for place in twice]


def _of_ends(job: Job, events: list[JobEvent], asked: Submitted | None) -> list[str]:
    faults = []
    statuses = [event.data["status"] for event in events if event.type == "status"]
    legal = {(str(start), str(end)) for (start, _), end in TRANSITIONS.items()}
    # A job that reuses a result at once succeeds as it is submitted.
    legal |= {("queued", "succeeded")} if job.status_reason == "reused" else set()
    faults += [f"{a} → {b} is not in the table" for a, b in pairwise(statuses) if (a, b) not in legal]
    ends, askings = sum(status in FINAL for status in statuses), _askings(asked)
    if ends not in askings or statuses[-1] not in FINAL:
        faults.append(f"it ended {ends} times, asked for {' or '.join(map(str, askings))}: {statuses}")
    successes = statuses.count("succeeded")
    if sum(event.type == "output" for event in events) != successes:
        faults.append(f"it has not one output for each of its {successes} successes")
    return faults


def _of_status(evidence: Evidence, job: Job, asked: Submitted | None) -> list[str]:
    allowed = {"succeeded", "canceled"}
    # A draft waits for some hours at most.
    if asked and (asked.kind == "deadline" or (asked.kind in DRAFTS and evidence.may_be_old(asked))):
        allowed.add("expired")
    return [] if job.status in allowed else [f"it ended {job.status}: {job.error}"]


def _of_draft(evidence: Evidence, job: Job, asked: Submitted) -> list[str]:
    """A draft is one until it is kept, and stays until it is removed for good."""
    faults = []
    if job.kind != ("job" if is_kept(asked) else "draft"):
        faults.append(f"it was {'kept' if is_kept(asked) else 'not kept'}, and is a {job.kind}")
    if asked.was_gone and not any(fault.kind.startswith("restore") for fault in evidence.injections):
        faults.append("its output was not found, although it is there")
    return faults


def is_excused(evidence: Evidence, job: Job) -> bool:
    """Whether a job failed because the very checkpoint that it was to begin with was damaged on purpose."""
    if job.status != "failed" or job.origin is None:
        return False
    source, step = job.origin["job_id"], job.origin["step"]
    damaged = (key for key in evidence.damaged if key.startswith(f"jobs/{source}/"))
    return any(key.endswith(f"-{step:05d}.safetensors") for key in damaged)


def _askings(asked: Submitted | None) -> range:
    """Return how often a job may have ended: once, and once more for each time it was asked for again."""
    least = most = 1
    for what, answer in asked.asked if asked else ():
        if what in ("retry", "extend"):
            least += answer.is_done
            # It may have been granted although that was not heard, and refused when asked again.
            most += answer.is_done or answer.unheard > 0
    return range(least, most + 1)


def _of_wishes(job: Job, asked: Submitted | None, is_replaced: bool) -> list[str]:
    """A granted wish is kept: canceled stays canceled, extended has more steps."""
    if asked is None:
        return []
    granted = {what: answer for what, answer in asked.asked if answer.is_done}
    cancel = granted.get("cancel")
    if cancel is None and job.status == "canceled" and not is_replaced:
        return ["nobody asked to cancel it"]
    # A retry may have been granted although that was not heard, and refused when asked again.
    retried = any(what == "retry" and (answer.is_done or answer.unheard) for what, answer in asked.asked)
    if cancel is not None and not retried:
        allowed = {"canceled"} if cancel.data["status"] == "canceled" else {"canceled", "succeeded"}
        if job.status not in allowed:
            return [f"it was {cancel.data['status']}, and ended {job.status}"]
    steps = steps_of(asked.options) + (EXTENSION_STEPS if "extend" in granted else 0)
    if steps_of(job.options) != steps and not any(answer.unheard for _, answer in asked.asked):
        return [f"it has {steps_of(job.options)} steps, asked for {steps}"]
    return []


def _of_stream(events: list[JobEvent], text: str) -> list[str]:
    """The replayed stream tells what the database's history tells, neither more nor less."""
    told = [_event(block) for block in text.split("\n\n") if "event:" in block]
    numbered = [(number, kind) for number, kind, _ in told]
    expected = [(str(event.sequence), event.type) for event in events]
    if numbered != expected:
        return [f"its stream replays {numbered}, its history is {expected}"]
    for event, (_, _, data) in zip(events, told, strict=True):
        hidden = {"key", "picture_key", "curve"}
        differing = [key for key, value in event.data.items() if key not in hidden and data.get(key) != value]
        if differing:
            return [f"event {event.sequence} differs from its history in {differing}"]
    return []


def _event(block: str) -> tuple[str, str, dict[str, Any]]:
    lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
    return lines.get("id", ""), lines["event"], json.loads(lines["data"])
