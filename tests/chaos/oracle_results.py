"""What must be true of results: one output, as it lies in the store, equal to the lone run's."""

from __future__ import annotations

import hashlib

from shared.options import steps_of
from shared.protocol import read_marker
from shared.storage.layout import marker_key
from tests.chaos.evidence import Evidence
from tests.chaos.lone_run import LoneRuns, state_sha256
from web.db.models import Job


def find_breaches(evidence: Evidence, lone: LoneRuns) -> list[str]:
    """Return every breach as a sentence."""
    breaches = []
    fetched = {job.job_id: job.fetched for job in evidence.submitted if job.ids and job.fetched}
    for job in evidence.jobs.values():
        faults = _of_checkpoints(evidence, job, lone)
        if job.status == "succeeded":
            faults += [*_of_output(evidence, job, lone), *_of_steps(evidence, job)]
        expected = lone.base(job) if job.origin and job.origin["job_id"] == job.id else lone.result(job)
        if fetched.get(job.id, expected.output) not in (expected.output, lone.result(job).output):
            faults.append("what was fetched when it had succeeded is not the lone run's output")
        breaches += [f"job {job.id}: {fault}" for fault in faults]
    return breaches


def _of_output(evidence: Evidence, job: Job, lone: LoneRuns) -> list[str]:
    if len(job.outputs) != 1:
        return [f"it has {len(job.outputs)} outputs"]
    output, path = job.outputs[0], evidence.storage / job.outputs[0]["key"]
    if not path.exists():
        return ["its output is not there"]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != output["sha256"]:
        return ["its output has other bytes than its row says"]
    faults = []
    if sha256 != lone.result(job).output:
        faults.append("its output is not that of the lone run")
    if job.status_reason != "reused":
        # Not that of the row's attempt: a restore may have counted that up.
        attempt = int(output["key"].split("/attempt-")[1].split("/")[0])
        marker = evidence.storage / marker_key(job.id, attempt)
        if not marker.exists():
            faults.append("its marker is not there")
        elif read_marker(marker.read_bytes()).outputs[0].model_dump() != output:
            faults.append("its marker tells of another output")
    return faults


def _of_checkpoints(evidence: Evidence, job: Job, lone: LoneRuns) -> list[str]:
    """Checkpoints at steps where a lone run has them, too, are its checkpoints to the bit."""
    if not evidence.checkpoints[job.id]:
        return []
    known = dict(lone.result(job).checkpoints)
    if job.origin is not None and job.origin["job_id"] == job.id:
        known = lone.base(job).checkpoints | known
    faults = []
    for checkpoint in evidence.checkpoints[job.id]:
        path = evidence.storage / checkpoint.key
        if checkpoint.key in evidence.damaged or not path.is_file():
            continue  # the store's own check names it if it should be there
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != checkpoint.sha256:
            faults.append(f"its checkpoint of step {checkpoint.step} has other bytes than its row says")
        elif state_sha256(data) != known.get(checkpoint.step, state_sha256(data)):
            faults.append(f"its checkpoint of step {checkpoint.step} is not that of the lone run")
    return faults


def _of_steps(evidence: Evidence, job: Job) -> list[str]:
    """All steps were made, by whatever nodes; none of a job that was given another one's result."""
    made = {step for run in evidence.runs.get(job.id, ()) for step in run.made}
    begun = job.origin["step"] if job.origin and job.origin["job_id"] != job.id else 0
    expected = set() if job.status_reason == "reused" else set(range(begun + 1, steps_of(job.options) + 1))
    faults = []
    if made != expected and job.status_reason != "reused":
        faults.append(
            f"it succeeded without the steps {sorted(expected - made)}, with {sorted(made - expected)}"
        )
    if job.step != steps_of(job.options):
        faults.append(f"it succeeded at step {job.step} of {steps_of(job.options)}")
    return faults
