"""'Share' on the page of a job: a link made and told, refused, and all of them revoked."""

from __future__ import annotations

import re

import pytest

LINK = re.compile(r'id="share-url"[^>]* value="([^"]+)"')


@pytest.fixture
def link_of(services):
    """Return the path of the link that a page tells."""

    def do(html: str) -> str:
        (url,) = LINK.findall(html)
        assert url.startswith(f"{services.backend.settings.public_url}/share/")
        return url.removeprefix(services.backend.settings.public_url)

    return do


def test_a_link_is_told_on_the_page_that_answers_the_form(submit, press, client, link_of):
    job_id = submit()["id"]
    answer = press(job_id, "share", of="page", expires_in_seconds="86400")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert '<details class="menu" id="share" open>' in answer.text
    assert "Link to the page" in answer.text
    assert "http-equiv" not in answer.text  # it does not go by itself
    assert client.get(link_of(answer.text)).status_code == 200
    assert client.get(f"/jobs/{job_id}/share").headers["Location"] == f"/jobs/{job_id}"
    assert not LINK.search(client.get(f"/jobs/{job_id}").text)


def test_the_picture_alone_when_there_is_one(submit, press, client, workshop, link_of):
    job_id = submit()["id"]
    refused = press(job_id, "share", of="output", expires_in_seconds="86400")
    assert refused.status_code == 409
    assert "it has no result yet" in refused.text
    workshop.run_through(job_id)
    answer = press(job_id, "share", of="output", expires_in_seconds="86400")
    assert "Link to the picture" in answer.text
    assert client.get(link_of(answer.text), buffered=True).mimetype == "image/png"


def test_all_of_them_are_revoked(submit, press, client, link_of):
    job_id = submit()["id"]
    path = link_of(press(job_id, "share", of="page", expires_in_seconds="86400").text)
    answer = press(job_id, "unshare")
    assert "All links of this job are revoked." in answer.text
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"of": "page", "expires_in_seconds": "1"}, "must be 60 or more"),
        ({"of": "all", "expires_in_seconds": "86400"}, "must be &#39;page&#39; or &#39;output&#39;"),
        ({}, "Of is missing."),
    ],
)
def test_what_the_form_does_not_offer_is_refused(submit, press, fields, said):
    refused = press(submit()["id"], "share", **fields)
    assert refused.status_code in (400, 422)
    assert said in refused.text


def test_the_page_offers_it_of_every_job(submit, see, press):
    page = see(submit()["id"])
    assert page.fields("share") == {"of": "page", "expires_in_seconds": "604800"}
    assert page.fields("unshare") == {}
