"""The draft on the page of a job, without scripts: shown, asked for by a button, and compared with."""

from __future__ import annotations

import pytest

from tests.support.engines import OneStepEngine
from web.db.models import Job

JOBS = "/api/v1/jobs"


def test_a_jobs_page_has_the_draft_of_its_pictures_from_the_first_second(client, parts, bench, see):
    draft = client.post(JOBS, data=parts(kind="draft")).json
    job = client.post(JOBS, data=parts()).json
    assert "A draft by" not in see(job["id"]).words  # it has no picture yet
    bench.work(draft["id"], OneStepEngine())
    bench.job(draft["id"])
    seen = see(job["id"])
    (url,) = [url for url in seen.pictures if draft["id"] in url]
    assert url.startswith(f"{JOBS}/{draft['id']}/output?v=")
    assert "A draft by the fast method; previews come with the first steps." in seen.words
    assert "Draft of" in see(job["id"], "?view=draft").pictures[url]
    other = client.post(JOBS, data=parts(style=parts()["content"][0].getvalue())).json
    assert not [url for url in see(other["id"]).pictures if draft["id"] in url]
    bench.work(job["id"])
    bench.job(job["id"])
    assert "Result of" in see(job["id"]).words
    assert url in see(job["id"], "?view=draft").pictures  # it stays to be compared with


@pytest.fixture
def light(workshop):
    """A worker of drafts that is connected."""
    workshop.connect("drafts", "cpu", methods=["fast"])


def drafts_of(client) -> list[dict]:
    return client.get(f"{JOBS}?kind=draft").json["jobs"]


def test_a_page_offers_a_draft_only_where_somebody_makes_one(submit, see, workshop):
    job = submit()
    assert "draft" not in see(job["id"]).actions
    assert "Draft" not in see(job["id"]).parts["views"]
    assert "view=draft" not in see(job["id"], "?view=draft").parts["views"]
    workshop.connect("drafts", "cpu", methods=["fast"])
    seen = see(job["id"])
    assert "draft" in seen.actions
    assert seen.parts["views"].split() == ["Result", "Compare", "Draft", "Content", "Style"]


def test_a_look_at_a_page_makes_nothing(client, submit, see, light):
    job = submit()
    for query in ("", "?view=draft", "?view=compare&left=draft"):
        see(job["id"], query)
    assert drafts_of(client) == []


def test_the_button_of_a_jobs_page_makes_a_draft_once(client, submit, see, press, light, bench):
    job = submit(options={"size": 96, "steps": 7, "init": "fast", "style_strength": 0.5})
    for _ in range(2):  # by two windows, or an impatient hand
        answer = press(job["id"], "draft")
        assert (answer.status_code, answer.headers["Location"]) == (
            303,
            f"/jobs/{job['id']}?view=draft",
        )
    (draft,) = drafts_of(client)
    assert draft["options"] == {"method": "fast", "size": 96, "style_strength": 0.5, "detail": 1024}
    assert draft["input"] == job["input"]
    seen = see(job["id"], "?view=draft")
    assert "Making the draft …" in seen.words
    assert "draft" not in seen.actions
    bench.work(draft["id"], OneStepEngine())
    assert press(job["id"], "draft").status_code == 303
    assert len(drafts_of(client)) == 1
    seen = see(job["id"], "?view=draft")
    assert [url for url in seen.pictures if draft["id"] in url]
    assert "draft" not in seen.actions


def test_strength_and_detail_are_not_those_of_a_job_that_starts_from_the_content(
    client, submit, press, light
):
    press(submit(options={"size": 96, "preset": "bold"})["id"], "draft")
    assert drafts_of(client)[0]["options"] == {
        "method": "fast",
        "size": 96,
        "style_strength": 1.0,
        "detail": 1024,
    }


def test_a_job_that_starts_from_the_draft_has_no_other_one(client, submit, see, press, light, bench):
    strong, half = (submit(kind="draft", options={"style_strength": strength}) for strength in (1.0, 0.5))
    for draft in (half, strong):
        bench.work(draft["id"], OneStepEngine())
    job = submit(options={"init": "fast", "style_strength": 0.5})
    shown = "".join(see(job["id"], "?view=draft").pictures)
    assert half["id"] in shown
    assert strong["id"] not in shown
    other = submit(options={"init": "fast", "style_strength": 0.25})
    assert "There is no draft of these pictures." in see(other["id"], "?view=draft").words
    press(other["id"], "draft")
    assert drafts_of(client)[0]["options"]["style_strength"] == 0.25


def test_a_draft_that_cannot_be_read_stops_no_page(services, submit, see, light, bench):
    draft = submit(kind="draft")
    bench.work(draft["id"], OneStepEngine())
    with services.backend.database.write() as session:
        session.get(Job, draft["id"]).options = {"style_strength": "a lot"}
    job = submit(options={"init": "fast"})
    assert "There is no draft of these pictures." in see(job["id"], "?view=draft").words


def test_an_ended_job_whose_draft_is_gone_has_another_one_made(client, submit, see, press, light, bench):
    job = submit(options={"size": 64, "steps": 2})
    bench.work(job["id"])
    assert not see(job["id"]).refreshes
    press(job["id"], "draft")
    assert see(job["id"]).refreshes  # until it is there
    (draft,) = drafts_of(client)
    bench.work(draft["id"], OneStepEngine())
    assert not see(job["id"]).refreshes
    assert "Draft of" in see(job["id"], "?view=draft").pictures[draft_url(see, job, draft)]
    assert client.delete(f"{JOBS}/{draft['id']}").status_code == 204
    assert "draft" in see(job["id"]).actions
    press(job["id"], "draft")
    assert drafts_of(client)[0]["id"] != draft["id"]


def draft_url(see, job, draft) -> str:
    (url,) = [url for url in see(job["id"], "?view=draft").pictures if draft["id"] in url]
    return url


def test_the_draft_is_compared_with_without_scripts(client, parts, see, bench):
    draft = client.post(JOBS, data=parts(kind="draft")).json
    bench.work(draft["id"], OneStepEngine())
    job = client.post(JOBS, data=parts(options={"steps": 4, "checkpoint_every": 2})).json
    assert (
        'data-left="content" data-kind="draft"'
        in client.get(f"/jobs/{job['id']}?view=compare&left=draft").text
    )  # it is no use beside itself
    bench.work(job["id"])
    compared = see(job["id"], "?view=compare&left=draft&step=2")
    both = [alt for url, alt in compared.pictures.items()]
    assert [alt.partition(" of ")[0] for alt in both if " of " in alt] == ["Draft", "Checkpoint"]
    page = client.get(f"/jobs/{job['id']}?view=compare&left=draft&step=2").text
    assert 'href="?view=compare&amp;left=draft&amp;step=2" data-left="draft" aria-current="true"' in page
    assert 'href="?step=4&amp;view=compare&amp;left=draft#stage"' in page


def test_a_draft_too_many_is_refused_on_the_jobs_page(client, submit, press, settings, make_picture, light):
    job = submit()
    for number in range(settings.max_drafts):
        submit(style=make_picture(48, 64, seed=10 + number), kind="draft")
    answer = press(job["id"], "draft")
    assert answer.status_code == 429
    assert f"{settings.max_drafts} of your drafts are under way" in answer.text
    back = client.get(f"/jobs/{job['id']}/draft?view=compare")
    assert (back.status_code, back.headers["Location"]) == (303, f"/jobs/{job['id']}?view=compare")


def test_a_draft_that_failed_says_why_and_may_be_made_again(client, submit, see, press, light, workshop):
    job = submit()
    press(job["id"], "draft")
    (first,) = drafts_of(client)
    workshop.claim(first["id"], worker_id="drafts")
    workshop.fail(first["id"])
    seen = see(job["id"], "?view=draft")
    assert "The device has not enough memory for this working size." in seen.words
    press(job["id"], "draft")
    assert len(drafts_of(client)) == 2


def test_a_canceled_draft_is_none(client, submit, see, press, light):
    job = submit()
    press(job["id"], "draft")
    client.post(f"{JOBS}/{drafts_of(client)[0]['id']}/cancel")
    seen = see(job["id"], "?view=draft")
    assert "There is no draft of these pictures." in seen.words
    assert "draft" in seen.actions


def test_a_fast_job_has_no_draft_beside_it(client, submit, see, press, light):
    job = submit(options={"method": "fast"})
    assert "draft" not in see(job["id"], "?view=draft").actions
    answer = press(job["id"], "draft")
    assert answer.status_code == 409
    assert "there is no draft beside it" in answer.text
    assert drafts_of(client) == []


def test_equal_drafts_of_several_windows_are_computed_once(client, submit, bench, light):
    """What the script of each open page asks for."""
    job = submit()
    wish = {
        "kind": "draft",
        **{part: job["input"][part]["asset_id"] for part in ("content", "style")},
        "options": {"size": job["options"]["size"]},
    }
    first, second = (client.post(JOBS, json=wish).json for _ in range(2))
    assert (first["leader_id"], second["leader_id"]) == (None, first["id"])
    # The window of the first is closed: the other's is computed.
    client.post(f"{JOBS}/{first['id']}/cancel")
    assert bench.control.followers.follow() == 1
    assert bench.job(second["id"])["leader_id"] is None
    third = client.post(JOBS, json=wish).json
    bench.work(second["id"], OneStepEngine())
    bench.control.followers.follow()
    shown = [bench.job(one["id"]) for one in (second, third)]
    assert [one["status"] for one in shown] == ["succeeded", "succeeded"]
    assert shown[1]["status_reason"] == "reused"
    later = client.post(JOBS, json=wish)
    assert (later.status_code, later.json["status_reason"]) == (200, "reused")
