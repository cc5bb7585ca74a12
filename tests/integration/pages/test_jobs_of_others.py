"""The pages for who manages everybody's jobs: whose they show, and where what is done there leads."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.clock import utc_now
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token
from web.services import Services

HTML = {"Accept": "text/html"}
ORIGIN = {"Origin": "http://localhost", **HTML}
OPTION = re.compile(r'<option value="(.*?)"( selected)?>(.*?)</option>')


@pytest.fixture
def tokens(services: Services) -> dict[str, str]:
    services.gate.stale_seconds = 0
    made = {}
    with services.backend.database.write() as session:
        for caller, scope in (("anna", Scope.MANAGE), ("ben", Scope.SUBMIT), ("carl", Scope.ADMIN)):
            token = create_token(
                session, name=caller, scopes={scope}, caller=caller, expires_at=None, now=utc_now()
            )
            made[caller] = token.text
    return made


@pytest.fixture
def sign_in(client: FlaskClient, tokens: dict[str, str]) -> Callable[[str], None]:
    def do(caller: str) -> None:
        client.delete_cookie("atelier_session")
        assert client.post("/signin", data={"token": tokens[caller]}, headers=ORIGIN).status_code == 303

    return do


@pytest.fixture
def job(client: FlaskClient, tokens: dict[str, str], make_picture: Callable[..., bytes]) -> str:
    """A job of ben's, with a label."""
    pictures = {"content": make_picture(seed=1), "style": make_picture(seed=2)}
    files = {part: (io.BytesIO(data), f"{part}.png") for part, data in pictures.items()}
    answer = client.post(
        "/api/v1/jobs",
        data={**files, "name": "Harbour", "labels": '{"project": "x"}'},
        headers={"Authorization": f"Bearer {tokens['ben']}"},
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def get(client: FlaskClient, address: str) -> TestResponse:
    return client.get(address, headers=HTML)


def links(text: str) -> list[str]:
    return [html.unescape(address) for address in re.findall(r'(?:href|data-parts)="(/[^"]*)"', text)]


def csrf(text: str) -> str:
    return re.findall(r'name="csrf-token" content="(\w+)"', text)[0]


@pytest.mark.parametrize("caller", ["anna", "carl"])
def test_who_manages_chooses_whose_jobs_are_shown_and_every_link_of_the_page_keeps_it(
    client, sign_in, job, caller
):
    sign_in(caller)
    own = get(client, "/")
    assert "Harbour" not in own.text
    choices = OPTION.findall(own.text)
    names = [name for name in ("anna", "ben", "carl") if name != caller]
    assert choices == [("", " selected", f"me ({caller})"), *((name, "", name) for name in names)]

    page = get(client, "/?caller=ben&status=queued&label=project:x&name=harb")
    assert "<h1>Jobs of ben</h1>" in page.text
    assert f'<span class="quiet">{caller}</span>' in page.text  # who is signed in stays so
    assert f'data-job="{job}"' in page.text
    assert [name for name, chosen, _ in OPTION.findall(page.text) if chosen] == ["ben"]
    lists = [address for address in links(page.text) if urlsplit(address).path in ("/", "/parts/jobs")]
    kept = [address for address in lists if urlsplit(address).query]
    assert len(kept) > 5
    assert all("caller=ben" in urlsplit(address).query for address in kept)
    (parts_url,) = [address for address in lists if address.startswith("/parts/jobs")]
    assert f'data-job="{job}"' in get(client, parts_url).text
    assert f'data-job="{job}"' in get(client, f"/parts/jobs?caller=ben&id={job}").text
    assert f'data-job="{job}"' not in get(client, f"/parts/jobs?id={job}").text


def test_pages_of_others_are_turned_in_their_jobs(client, sign_in, tokens, job, monkeypatch):
    monkeypatch.setattr("web.pages.gallery.PAGE_SIZE", 1)
    headers = {"Authorization": f"Bearer {tokens['ben']}"}
    pictures = client.get(f"/api/v1/jobs/{job}", headers=headers).json["input"]
    body = {part: pictures[part]["asset_id"] for part in ("content", "style")}
    second = client.post("/api/v1/jobs", json={**body, "name": "Second", "reuse": False}, headers=headers)
    assert second.status_code == 202
    sign_in("anna")
    first = get(client, "/?caller=ben")
    (older,) = [address for address in links(first.text) if "page_token" in address]
    page = get(client, older)
    assert "Harbour" in page.text
    (newer,) = [address for address in links(page.text) if "newer_than" in address]
    assert "Second" in get(client, newer).text


def test_without_that_scope_there_is_no_choice_and_asking_is_refused(client, sign_in, job):
    sign_in("ben")
    page = get(client, "/?caller=")
    assert (page.status_code, 'name="caller"' in page.text) == (200, False)
    assert get(client, "/?caller=ben").status_code == 200
    for address in ("/?caller=anna", "/parts/jobs?caller=anna"):
        refused = get(client, address)
        assert refused.status_code == 403
        assert "manage" in refused.text


def test_of_who_has_nothing_the_page_says_so(client, sign_in, job):
    sign_in("anna")
    for name in ("carl", "nobody"):
        page = get(client, f"/?caller={name}")
        assert f"{name} has none" in page.text
        assert (name, " selected", name) in OPTION.findall(page.text)
    assert "None of ben’s jobs is like that." in get(client, "/?caller=ben&name=zz").text
    damaged = get(client, "/?caller=ben&label=zz")
    assert damaged.status_code == 400
    assert ("ben", " selected", "ben") in OPTION.findall(damaged.text)


def test_the_page_of_anothers_job_says_whose_it_is_and_what_is_done_there_leads_back(
    client, sign_in, job, workshop: Workshop
):
    sign_in("anna")
    page = get(client, f"/jobs/{job}")
    assert "It is ben’s" in page.text
    assert '<span class="quiet">anna</span>' in page.text
    assert "/?caller=ben" in links(page.text)
    assert "/?label=project%3Ax&caller=ben" in links(page.text)
    assert f"/new?from={job}" not in links(page.text)

    def press(action: str, **fields: str) -> str:
        sent = {"csrf_token": csrf(page.text), **fields}
        answer = client.post(f"/jobs/{job}/{action}", data=sent, headers=ORIGIN)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["Location"])

    assert press("cancel") == f"/jobs/{job}"
    assert press("delete") == "/?caller=ben&note=deleted"
    assert "The job is deleted" in get(client, "/?caller=ben&note=deleted").text


def test_ones_own_job_is_shown_as_before(client, sign_in, job):
    sign_in("ben")
    page = get(client, f"/jobs/{job}")
    assert "It is ben’s" not in page.text
    assert f"/new?from={job}" in links(page.text)
    assert "/?label=project%3Ax" in links(page.text)
