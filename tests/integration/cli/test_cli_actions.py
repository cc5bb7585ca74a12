"""pause, resume, retry, extend, fork and delete against the real app; only the engine is one for tests."""

from __future__ import annotations

import json

import pytest

from shared.status import JobStatus
from tests.support.engines import WeighingEngine

_FEW = ("-O", "steps=20", "-O", "checkpoint_every=5", "-O", "style_weight=0.5")


def test_pause_resume_extend_fork_and_delete(service, atelier, pictures, gate, tmp_path):
    service.work(WeighingEngine(gate))
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    assert gate.reached.wait(20)
    service.wait_for(job_id, JobStatus.RUNNING)
    assert atelier("pause", job_id).stdout == "pausing: its worker saves a checkpoint after this step\n"
    gate.opened.set()
    service.wait_for(job_id, JobStatus.PAUSED)
    assert atelier("pause", job_id).stdout == "paused at step 3 of 20\n"
    refused = atelier("delete", job_id)
    assert refused.exit_code == 2
    assert "the job is paused; it can be deleted only when it has ended" in refused.stderr
    assert atelier("resume", job_id).stdout == "queued: goes on from step 3 of 20\n"
    assert atelier("watch", job_id).exit_code == 0
    assert atelier("extend", job_id, 10).stdout == "queued: 10 more from step 20, 30 in all\n"
    assert atelier("watch", job_id).exit_code == 0
    shown = atelier("status", job_id).stdout
    assert "origin     step 20 of itself" in shown
    assert "attempt    3" in shown
    forked = atelier("fork", job_id, 10, "-O", "style_weight=0.9", "--name", "bolder", "--label", "a=b")
    fork_id = forked.stdout.strip()
    assert f"atelier watch {fork_id}" in forked.stderr
    assert atelier("watch", fork_id).exit_code == 0
    fork = json.loads(atelier("status", fork_id, "--json").stdout)
    assert (fork["name"], fork["labels"], fork["progress"]["step"]) == ("bolder", {"a": "b"}, 30)
    assert f"origin     step 10 of {job_id}" in atelier("status", fork_id).stdout
    assert atelier("delete", job_id).stdout == "deleted\n"
    assert atelier("status", job_id).exit_code == 2
    assert atelier("download", fork_id, "-o", tmp_path / "fork.png").exit_code == 0
    assert json.loads(atelier("delete", fork_id, "--json").stdout) == {"job_id": fork_id, "deleted": True}


@pytest.mark.parametrize(("words", "step"), [((), 3), (("--from-zero",), 0)])
def test_retry(service, atelier, pictures, gate, words, step):
    service.work(WeighingEngine(gate))
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    assert gate.reached.wait(20)
    service.wait_for(job_id, JobStatus.RUNNING)
    atelier("cancel", job_id)
    gate.opened.set()
    assert atelier("watch", job_id).exit_code == 3
    assert atelier("retry", job_id, *words).stdout == f"queued: attempt 2, from step {step} of 20\n"
    assert atelier("watch", job_id).exit_code == 0


def test_what_is_refused_is_said_once(atelier, pictures):
    job_id = atelier("submit", *pictures, *_FEW).stdout.strip()
    for words, message in (
        (("resume", job_id), "the job is queued; 'resume' is allowed only when it is paused"),
        (("extend", job_id, 5), "allowed now: cancel, pause"),
        (("fork", job_id, 5), "has no checkpoint of step 5; no other is kept"),
        (("fork", job_id, 5, "-O", "size=64"), "a fork keeps the 512 px"),
        (("fork", job_id, 5, "-O", "sise"), "is not of the form name=value"),
        (("pause", "no/body"), "there are no jobs whose id begins with 'no/body'"),
        (("extend", job_id, 0), "0 is not in the range x>=1"),
    ):
        refused = atelier(*words)
        assert refused.exit_code == 2, words
        assert message in " ".join(refused.stderr.split()), refused.stderr


def test_change_and_priority(service, atelier, pictures):
    first = atelier("submit", *pictures, *_FEW, "--no-reuse").stdout.strip()
    urgent = atelier("submit", *pictures, *_FEW, "--no-reuse", "--priority", 8).stdout.strip()
    assert "priority" not in atelier("status", first).stdout
    assert "priority   8" in atelier("status", urgent).stdout
    changed = atelier("change", first, "--priority", 9, "--name", "harbour", "--label", "a:1")
    assert changed.stdout == "queued: priority 9, place 1 of the queue\n"
    shown = json.loads(atelier("status", first, "--json").stdout)
    assert (shown["name"], shown["labels"], shown["priority"]) == ("harbour", {"a": "1"}, 9)
    asked = json.loads(atelier("estimate", "--priority", 8, "--json").stdout)
    assert asked["queue"]["position"] == 3
    emptied = json.loads(atelier("change", first, "--name", "", "--no-labels", "--json").stdout)
    assert (emptied["name"], emptied["labels"], emptied["priority"]) == (None, {}, 9)
    for words, message in (
        ((first,), "there is nothing to change"),
        ((first, "--label", "a:1", "--no-labels"), "give one of both"),
        ((first, "--priority", 10), "10 is not in the range 0<=x<=9"),
    ):
        refused = atelier("change", *words)
        assert refused.exit_code == 2
        assert message in refused.stderr
