"""The forms on the page of a job, sent without scripts: what they do, what is refused."""

from __future__ import annotations

import pytest

from shared.storage.layout import checkpoint_key
from tests.support.seen_job import SeenJob

FEW = {"steps": 20, "checkpoint_every": 5, "style_weight": 0.5}
BROWSER = {"Accept": "text/html"}
UNKNOWN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture
def succeeded(submit, bench) -> str:
    job_id: str = submit(options=FEW, name="Harbour", labels={"series": "town"})["id"]
    bench.work(job_id)
    return job_id


def test_pause_resume_cancel_retry_by_forms(submit, see, press, bench):
    job_id = submit(options=FEW)["id"]
    bench.work_until(job_id, 7, lambda: press(job_id, "pause"))
    paused = see(job_id)
    assert "Paused at step 7; its worker is free." in paused.parts["standing"]
    assert paused.actions == ["resume", "change", "cancel", "fork"]
    assert press(job_id, "resume").status_code == 303
    assert see(job_id).actions == ["pause", "change", "cancel", "fork"]
    assert press(job_id, "cancel").status_code == 303
    canceled = see(job_id)
    assert "Canceled at step 7." in canceled.parts["standing"]
    assert canceled.actions == ["retry", "delete", "fork"]
    assert [canceled.fields("retry", 0), canceled.fields("retry", 1)] == [
        {"from": "checkpoint"},
        {"from": "zero"},
    ]
    assert "Retry from step 7" in canceled.parts["actions"]
    assert not canceled.refreshes
    assert press(job_id, "retry", **canceled.fields("retry", 1)).status_code == 303
    engine = bench.work(job_id)
    assert engine.resumed_from is None
    assert "paused, and its device given free" in see(job_id).parts["attempts"]


def test_a_change_by_a_form_and_one_that_is_refused_with_what_was_typed(submit, press, see, bench):
    job_id = submit(options=FEW, name="Harbour", labels={"series": "town"})["id"]
    typed = {"priority": "8", "name": "Pier", "labels": "series: sea\r\nNo Key:x"}
    refused = press(job_id, "change", **typed)
    assert refused.status_code == 400
    assert "each a small letter" in refused.text
    assert "series: sea\nNo Key:x</textarea>" in refused.text.replace("\r", "")
    assert bench.job(job_id)["name"] == "Harbour"
    assert press(job_id, "change", **{**typed, "labels": "series: sea"}).status_code == 303
    changed = bench.job(job_id)
    assert (changed["priority"], changed["name"], changed["labels"]) == (8, "Pier", {"series": "sea"})
    assert "series:sea" in see(job_id).parts["facts"]


def test_a_retry_goes_on_from_the_checkpoint(submit, see, press, bench):
    job_id = submit(options=FEW)["id"]
    bench.work_until(job_id, 7, lambda: press(job_id, "cancel"))
    press(job_id, "retry", **see(job_id).fields("retry"))
    assert bench.work(job_id).resumed_from == 7
    assert "7" in see(job_id).parts["attempts"].split("gpu")[-1]


def test_an_extension_that_is_refused_is_said_at_its_field_with_what_was_typed(succeeded, press):
    for text, said in (
        ("1981", "would be 2001 steps"),
        ("none", "The number of steps must be a whole number."),
        ("0", "The number of steps must be 1 or more."),
    ):
        answer = press(succeeded, "extend", steps=text)
        seen = SeenJob(answer.text)
        assert answer.status_code in (400, 422)
        assert said in seen.parts["actions"]
        assert (seen.invalid, seen.fields("extend")["steps"]) == ({"steps"}, text)
        assert "open" in seen.ids["extend"]
        assert not seen.refreshes


def test_a_checkpoint_is_shown_by_its_step_and_forked_from_there(succeeded, see, press, bench):
    seen = see(succeeded, "?step=10")
    checkpoint = f"/api/v1/jobs/{succeeded}/checkpoints/10"
    assert seen.pictures[checkpoint] == "Checkpoint of Harbour, step 10"
    assert "Checkpoint of step 10 · total" in seen.words
    assert "Fork from here" in seen.words
    fields = seen.fields("fork")
    assert (fields["step"], fields["options.steps"], fields["name"]) == ("10", "20", "")
    assert "options.size" not in fields
    answer = press(succeeded, "fork", **{**fields, "options.style_weight": "0.75"})
    assert answer.status_code == 303
    fork_id = answer.headers["Location"].rsplit("/", 1)[-1]
    fork, parent = bench.job(fork_id), bench.job(succeeded)
    assert fork["origin"] == {"job_id": succeeded, "step": 10}
    assert fork["options"] == {**parent["options"], "style_weight": 0.75}
    assert fork["name"] == "Harbour"
    assert "Forked from another job at step 10." in see(fork_id).parts["standing"]


def test_a_fork_of_the_last_step_offers_more_steps(succeeded, see):
    fields = see(succeeded).fields("fork")
    assert (fields["step"], fields["options.steps"]) == ("20", "40")


def test_a_fork_that_is_refused_is_said_at_its_fields_with_what_was_typed(succeeded, see, press):
    fields = {
        **see(succeeded, "?step=10").fields("fork"),
        "options.steps": "10",
        "options.style_weight": "-1",
    }
    answer = press(succeeded, "fork", **fields)
    seen = SeenJob(answer.text)
    assert answer.status_code == 422
    assert seen.invalid == {"options.style_weight"}
    assert "Style weight is -1" in seen.parts["fork"]
    assert seen.fields("fork")["options.steps"] == "10"
    again = SeenJob(press(succeeded, "fork", **{**fields, "options.style_weight": "1"}).text)
    assert again.invalid == {"options.steps"}
    assert "it must be more than 10" in again.parts["fork"]


def test_a_checkpoint_that_is_gone_is_refused_in_the_apis_words(succeeded, see, press, services):
    services.backend.storage.delete_tree(checkpoint_key(succeeded, 1, 10).rsplit("/", 1)[0])
    answer = press(succeeded, "fork", **see(succeeded, "?step=10").fields("fork"))
    assert answer.status_code == 409
    assert "The file of the checkpoint of step 10 is gone" in SeenJob(answer.text).words


def test_a_deleted_job_leads_to_the_jobs_with_a_note(succeeded, press, client):
    answer = press(succeeded, "delete")
    assert answer.status_code == 303
    assert "The job is deleted" in client.get(answer.headers["Location"]).text
    assert client.get(f"/jobs/{succeeded}", headers=BROWSER).status_code == 404


def test_what_is_not_legal_any_more_is_refused_on_the_page(succeeded, see, press):
    for action in ("pause", "resume", "cancel", "retry"):
        answer = press(succeeded, action)
        assert answer.status_code == 409, action
        seen = SeenJob(answer.text)
        assert "The job is succeeded" in seen.words
        assert "allowed now: extend, fork, delete" in seen.words
    assert "Done" in see(succeeded).parts["standing"]


def test_a_running_job_is_not_deleted(submit, press, workshop):
    job_id = submit()["id"]
    workshop.claim(job_id)
    answer = press(job_id, "delete")
    assert (answer.status_code, "only when it has ended" in answer.text) == (409, True)


def test_reloading_a_refused_form_leads_to_the_page(succeeded, client):
    answer = client.get(f"/jobs/{succeeded}/extend", headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/jobs/{succeeded}")
    assert client.get(f"/jobs/{succeeded}/nothing", headers=BROWSER).status_code == 404
    assert client.post(f"/jobs/{succeeded}/nothing", headers=BROWSER).status_code == 404


def test_another_sites_form_changes_nothing(succeeded, client, bench):
    headers = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
    assert client.post(f"/jobs/{succeeded}/delete", headers=headers).status_code == 403
    assert bench.job(succeeded)["status"] == "succeeded"
