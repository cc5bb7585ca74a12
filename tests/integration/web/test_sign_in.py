"""Browsers sign in with a token: the session, its cookie, what forms have to show, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text, update
from werkzeug.test import TestResponse

from shared.clock import utc_now
from web.access.sessions import COOKIE
from web.access.tokens import Scope, create_token, revoke_token
from web.app import create_app
from web.db.models import SessionRow
from web.pages.sign_in import _path
from web.services import Services, services_of

HTML = {"Accept": "text/html"}
ORIGIN = {"Origin": "http://localhost", **HTML}


@pytest.fixture
def token(services: Services) -> str:
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        return create_token(
            session, name="anna", scopes={Scope.SUBMIT}, caller="anna", expires_at=None, now=utc_now()
        ).text


@pytest.fixture
def sign_in(client: FlaskClient) -> Callable[..., TestResponse]:
    def do(token: str, **fields: str) -> TestResponse:
        return client.post("/signin", data={"token": token, **fields}, headers=ORIGIN)

    return do


def csrf_of(page: str) -> str:
    (token,) = set(re.findall(r'name="csrf-token" content="(\w+)"', page))
    assert f'name="csrf_token" value="{token}"' in page
    return token


def test_a_page_leads_to_the_form_and_the_form_back_to_the_page(client, token, sign_in):
    asked = client.get("/workers?x=1", headers=HTML)
    assert (asked.status_code, asked.headers["Location"]) == (303, "/signin?next=/workers?x%3D1")
    form = client.get(asked.headers["Location"], headers=HTML)
    assert 'name="next" value="/workers?x=1"' in form.text
    assert form.headers["Cache-Control"] == "no-store"
    done = sign_in(token, next="/workers?x=1")
    assert (done.status_code, done.headers["Location"]) == (303, "/workers?x=1")
    page = client.get("/workers?x=1", headers=HTML)
    assert page.status_code == 200
    assert "anna" in page.text


def test_its_cookie_is_for_this_service_alone_and_holds_no_token(client, token, sign_in, services):
    sign_in(token)
    cookie = client.get_cookie(COOKIE)
    assert (cookie.http_only, cookie.same_site, cookie.path, cookie.secure) == (True, "Strict", "/", False)
    with services.backend.database.read() as session:
        stored = session.execute(text("SELECT * FROM sessions")).mappings().one()
    assert token not in (cookie.value, *map(str, stored.values()))
    assert cookie.value not in map(str, stored.values())


def test_behind_https_and_below_a_path_it_is_sent_nowhere_else(settings, token):
    app = create_app(settings.model_copy(update={"url": "https://styles.example/styles"}))
    client = app.test_client()
    origin = {"Origin": "https://styles.example"}
    done = client.post("/styles/signin", data={"token": token}, headers=origin)
    assert done.headers["Location"] == "/styles/"
    for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/styles/"):
        assert word in done.headers["Set-Cookie"]
    services_of(app).close()


def test_the_api_takes_the_cookie_too(client, token, sign_in):
    sign_in(token)
    assert client.get("/api/v1/token").json["caller"] == "anna"
    # A token that is sent says it more plainly.
    shown = client.get("/api/v1/token", headers={"Authorization": "Bearer nonsense"})
    assert shown.status_code == 401


def test_what_changes_something_shows_that_it_comes_from_a_page(client, token, sign_in, parts, problem_of):
    sign_in(token)
    csrf = csrf_of(client.get("/new", headers=HTML).text)
    for headers in ({}, {"X-CSRF-Token": "x" * 64}, {"X-CSRF-Token": "ä"}):
        problem_of(client.post("/api/v1/jobs", data=parts(), headers=headers), 403, "csrf_missing")
    job = client.post("/api/v1/jobs", data=parts(), headers={"X-CSRF-Token": csrf})
    assert job.status_code == 202
    refused = client.post(f"/jobs/{job.json['id']}/cancel", headers=ORIGIN)
    assert refused.status_code == 403
    assert client.get(job.json["urls"]["self"]).json["status"] == "queued"
    done = client.post(f"/jobs/{job.json['id']}/cancel", data={"csrf_token": csrf}, headers=ORIGIN)
    assert done.status_code == 303, done.text
    assert client.get(job.json["urls"]["self"]).json["status"] == "canceled"


def test_a_form_with_pictures_shows_it_too(client, token, sign_in, parts):
    sign_in(token)
    csrf = csrf_of(client.get("/new", headers=HTML).text)
    assert client.post("/new", data=parts(), headers=ORIGIN).status_code == 403
    assert client.get("/api/v1/assets").json["assets"] == []
    done = client.post("/new", data={**parts(), "csrf_token": csrf}, headers=ORIGIN)
    assert done.status_code == 303, done.text


def test_every_form_of_every_page_shows_it(client, token, sign_in, parts, workshop):
    sign_in(token)
    csrf = csrf_of(client.get("/new", headers=HTML).text)
    job = client.post("/api/v1/jobs", data=parts(), headers={"X-CSRF-Token": csrf}).json
    workshop.connect()
    addresses = ["/", "/new", "/workers", f"/jobs/{job['id']}"]
    workshop.run_through(job["id"])
    for address in [*addresses, f"/jobs/{job['id']}"]:
        page = client.get(address, headers=HTML).text
        forms = re.findall(r'<form[^>]*method="post"[^>]*>(.*?)</form>', page, re.DOTALL)
        assert forms, address
        for form in forms:
            assert f'name="csrf_token" value="{csrf}"' in form, form


def test_a_program_with_a_token_shows_nothing_more(client, token, parts):
    shown = {"Authorization": f"Bearer {token}"}
    assert client.post("/api/v1/jobs", data=parts(), headers=shown).status_code == 202


def test_signing_out_ends_the_session_and_not_the_token(client, token, sign_in):
    sign_in(token)
    copy = client.get_cookie(COOKIE).value
    csrf = csrf_of(client.get("/workers", headers=HTML).text)
    assert client.post("/signout", headers=ORIGIN).status_code == 403
    out = client.post("/signout", data={"csrf_token": csrf}, headers=ORIGIN)
    assert (out.status_code, out.headers["Location"]) == (303, "/signin")
    assert client.get_cookie(COOKIE) is None
    client.set_cookie(COOKIE, copy)
    again = client.get("/api/v1/token")
    assert (again.status_code, again.json["detail"]) == (401, "this browser is not signed in any more")
    assert client.get("/api/v1/token", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_it_ends_with_its_token_and_after_some_days(client, token, sign_in, services):
    sign_in(token)
    with services.backend.database.write() as session:
        session.execute(update(SessionRow).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert client.get("/api/v1/token").status_code == 401
    sign_in(token)
    with services.backend.database.read() as session:
        assert session.execute(text("SELECT count(*) FROM sessions")).scalar() == 1  # the other one is gone
    assert client.get("/api/v1/token").status_code == 200
    with services.backend.database.write() as session:
        revoke_token(session, "anna", now=utc_now())
    assert client.get("/api/v1/token").status_code == 401


def test_what_is_no_token_signs_nobody_in_and_may_not_be_tried_for_ever(client, token, sign_in):
    for number in range(10):
        refused = sign_in(f"guess {number}")
        assert refused.status_code == 401
        assert "is not known here" in refused.text
    refused = sign_in(token)
    assert refused.status_code == 429
    assert "10 attempts from this address failed" in refused.text
    assert client.get_cookie(COOKIE) is None


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "evil",
        "",
        "javascript:x",
        "/a\nb",
        "\\\\e",
    ],
)
def test_it_leads_nowhere_else(wanted: str):
    assert _path(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/jobs/x?view=draft", "/new?from=a%20b"])
def test_it_leads_back_to_pages_of_the_service(wanted: str):
    assert _path(wanted) == wanted


def test_without_a_token_nobody_has_to_sign_in(client):
    page = client.get("/workers", headers=HTML)
    assert page.status_code == 200
    assert "csrf" not in page.text
