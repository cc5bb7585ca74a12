"""One table of every endpoint: which scope it needs, and what it tells of what is another caller's."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.clock import utc_now
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token
from web.services import Services

PUBLIC = None
READ, SUBMIT, MANAGE, ADMIN = Scope
API = "/api/v1"


@dataclass(frozen=True)
class Row:
    """A method of an address: `{job}` and `{asset}` stand for one that is there, `{token}` for a name."""

    method: str
    address: str
    needed: Scope | None
    body: object = None
    #: Of a page: it is sent as a form.
    is_form: bool = False


JOB = f"{API}/jobs/{{job}}"
ASSET = f"{API}/assets/{{asset}}"
TABLE = {
    "assets.create_asset": [Row("POST", f"{API}/assets", SUBMIT)],
    "assets.index_assets": [Row("GET", f"{API}/assets", READ)],
    "assets.read_asset": [Row("GET", ASSET, READ)],
    "assets.read_content": [Row("GET", f"{ASSET}/content", READ)],
    "assets.star": [Row("PUT", f"{ASSET}/star", SUBMIT)],
    "assets.unstar": [Row("DELETE", f"{ASSET}/star", SUBMIT)],
    "docs.read_docs": [Row("GET", "/docs", PUBLIC)],
    "docs.read_document": [Row("GET", "/openapi.json", PUBLIC)],
    "estimates.read_estimate": [Row("GET", f"{API}/estimate", READ)],
    "events.watch_job": [Row("GET", f"{JOB}/events", READ)],
    "favicon": [Row("GET", "/favicon.ico", PUBLIC)],
    "health.read_health": [Row("GET", "/healthz", PUBLIC)],
    "health.read_readiness": [Row("GET", "/readyz", PUBLIC)],
    "job_actions.cancel": [Row("POST", f"{JOB}/cancel", SUBMIT)],
    "job_actions.change": [Row("PATCH", JOB, SUBMIT, {"name": "x"})],
    "job_actions.delete": [Row("DELETE", JOB, SUBMIT)],
    "job_actions.extend": [Row("POST", f"{JOB}/extend", SUBMIT, {"steps": 1})],
    "job_actions.fork": [Row("POST", f"{JOB}/fork", SUBMIT, {"step": 10})],
    "job_actions.keep": [Row("POST", f"{JOB}/keep", SUBMIT)],
    "job_actions.pause": [Row("POST", f"{JOB}/pause", SUBMIT)],
    "job_actions.resume": [Row("POST", f"{JOB}/resume", SUBMIT)],
    "job_actions.retry": [Row("POST", f"{JOB}/retry", SUBMIT, {"from": "zero"})],
    "job_files.index_attempts": [Row("GET", f"{JOB}/attempts", READ)],
    "job_files.index_checkpoints": [Row("GET", f"{JOB}/checkpoints", READ)],
    "job_files.read_checkpoint": [Row("GET", f"{JOB}/checkpoints/10", READ)],
    "job_files.read_output": [Row("GET", f"{JOB}/output", READ)],
    "job_files.read_preview": [Row("GET", f"{JOB}/preview", READ)],
    "job_page.act": [Row("POST", "/jobs/{job}/cancel", SUBMIT, {}, is_form=True)],
    "job_page.go_back": [Row("GET", "/jobs/{job}/cancel", READ)],
    "job_page.show": [Row("GET", "/jobs/{job}", READ)],
    "job_shares.create": [Row("POST", f"{JOB}/shares", SUBMIT, {"of": "page"})],
    "job_shares.revoke": [Row("DELETE", f"{JOB}/shares", SUBMIT)],
    "jobs.index": [Row("GET", f"{API}/jobs", READ)],
    "jobs.read_job": [Row("GET", JOB, READ), Row("GET", f"{JOB}?", READ)],
    "jobs.submit_job": [Row("POST", f"{API}/jobs", SUBMIT, {"content": "{asset}", "style": "{asset}"})],
    "jobs_page.draw_parts": [Row("GET", "/parts/jobs", READ)],
    "jobs_page.index": [Row("GET", "/", READ)],
    "limits.read_limits": [Row("GET", f"{API}/limits", READ)],
    "metrics.read_metrics": [Row("GET", "/metrics", MANAGE)],
    "new_page.create": [Row("POST", "/new", SUBMIT, {}, is_form=True)],
    "new_page.show": [Row("GET", "/new", READ), Row("GET", "/new?from={job}", READ)],
    # With a link that is one they are asked in test_shares.py.
    "share_page.show": [Row("GET", "/share/nonsense", PUBLIC)],
    "share_page.show_picture": [Row("GET", "/share/nonsense/picture", PUBLIC)],
    "sign_in_page.show": [Row("GET", "/signin", PUBLIC)],
    "sign_in_page.sign_in": [Row("POST", "/signin", PUBLIC, {}, is_form=True)],
    "sign_in_page.sign_out": [Row("POST", "/signout", READ, {}, is_form=True)],
    "static": [Row("GET", "/static/css/workers.css", PUBLIC)],
    "thumbnails.read_job_thumbnail": [Row("GET", f"{JOB}/thumbnail", READ)],
    "thumbnails.read_picture_thumbnail": [Row("GET", f"{ASSET}/thumbnail", READ)],
    "thumbnails.read_step_thumbnail": [Row("GET", f"{JOB}/checkpoints/10/thumbnail", READ)],
    "tokens.create": [Row("POST", f"{API}/tokens", ADMIN, {"name": "x", "caller": "y", "scopes": ["read"]})],
    "tokens.index": [Row("GET", f"{API}/tokens", ADMIN)],
    "tokens.read_own": [Row("GET", f"{API}/token", READ)],
    "tokens.revoke": [Row("DELETE", f"{API}/tokens/nobody", ADMIN)],
    "webhooks.delete": [Row("DELETE", f"{API}/webhooks/nobody", SUBMIT)],
    "webhooks.end_old_secret": [Row("DELETE", f"{API}/webhooks/nobody/secrets/x", SUBMIT)],
    "webhooks.index": [Row("GET", f"{API}/webhooks", READ)],
    "webhooks.index_deliveries": [Row("GET", f"{API}/deliveries", READ)],
    "webhooks.put": [Row("PUT", f"{API}/webhooks/mine", SUBMIT, {})],
    "webhooks.read": [Row("GET", f"{API}/webhooks/nobody", READ)],
    "webhooks.read_delivery": [Row("GET", f"{API}/deliveries/msg_x", READ)],
    "webhooks.redeliver": [Row("POST", f"{API}/deliveries/msg_x/redeliver", SUBMIT)],
    "webhooks.rotate": [Row("POST", f"{API}/webhooks/nobody/secrets", SUBMIT)],
    "workers.drain": [Row("POST", f"{API}/workers/gpu/drain", MANAGE)],
    "workers.list_workers": [Row("GET", f"{API}/workers", READ)],
    "workers.show_queue": [Row("GET", f"{API}/queue", READ)],
    "webhooks_page.delete": [Row("POST", "/webhooks/nobody/delete", SUBMIT, {}, is_form=True)],
    "webhooks_page.put": [Row("POST", "/webhooks", SUBMIT, {"id": "mine"}, is_form=True)],
    "webhooks_page.redeliver": [Row("POST", "/webhooks/messages/msg_x/redeliver", SUBMIT, {}, is_form=True)],
    "webhooks_page.rotate": [Row("POST", "/webhooks/nobody/rotate", SUBMIT, {}, is_form=True)],
    "webhooks_page.show": [Row("GET", "/webhooks", READ)],
    "workers_page.drain": [Row("POST", "/workers/gpu/drain", MANAGE, {}, is_form=True)],
    "workers_page.draw_parts": [Row("GET", "/parts/workers", READ)],
    "workers_page.show": [Row("GET", "/workers", READ)],
}
#: The one that removes what the others are about comes last.
ROWS = sorted(
    (row for rows in TABLE.values() for row in rows),
    key=lambda row: (row.method == "DELETE", row.address == JOB),
)
ABOUT_JOBS_AND_ASSETS = [
    row
    for row in ROWS
    if "{job}" in row.address or "{asset}" in row.address or "{asset}" in json.dumps(row.body)
]
#: It leads back to a page, whether that is there or not.
LEADS_ON = ("GET", "/jobs/{job}/cancel")
UNKNOWN = "01a20000-0000-7000-8000-00000000000a"


@dataclass(frozen=True)
class Ask:
    """Sends a row's request with a caller's token of a scope, about a job and an asset."""

    client: FlaskClient
    tokens: dict[tuple[str, Scope], str]

    def __call__(
        self, row: Row, caller: str = "", scope: Scope = READ, *, job: str = UNKNOWN, asset: str = UNKNOWN
    ) -> TestResponse:
        names = {"{job}": job, "{asset}": asset}
        address, body = row.address, json.dumps(row.body or {})
        for name, meant in names.items():
            address, body = address.replace(name, meant), body.replace(name, meant)
        headers = {"Authorization": f"Bearer {self.tokens[caller, scope]}"} if caller else {}
        if row.address.endswith("/events"):
            headers["Accept"] = "text/event-stream"
        how = {"data": json.loads(body)} if row.is_form else {"json": json.loads(body)}
        if row.method == "GET" or row.body is None:
            how = {}
        return self.client.open(address, method=row.method, headers=headers, **how)


@dataclass(frozen=True)
class Owned:
    """What a caller has: a job that has ended, with a checkpoint, and its content."""

    job: str
    asset: str


@pytest.fixture
def ask(client: FlaskClient, services: Services) -> Ask:
    services.gate.stale_seconds = 0
    tokens = {}
    with services.backend.database.write() as session:
        for caller in ("anna", "ben"):
            for scope in Scope:
                made = create_token(
                    session,
                    name=f"{caller}-{scope}",
                    scopes={scope},
                    caller=caller,
                    expires_at=None,
                    now=utc_now(),
                )
                tokens[caller, scope] = made.text
    return Ask(client, tokens)


@pytest.fixture
def own(
    ask: Ask, client: FlaskClient, workshop: Workshop, make_picture: Callable[..., bytes]
) -> dict[str, Owned]:
    """What both callers have: of the same pictures each."""
    found = {}
    for caller in ("anna", "ben"):
        headers = {"Authorization": f"Bearer {ask.tokens[caller, SUBMIT]}"}
        pictures = {"content": make_picture(seed=1), "style": make_picture(seed=2)}
        files = {part: (io.BytesIO(data), "a.png") for part, data in pictures.items()}
        job = client.post(f"{API}/jobs", data=files, headers=headers)
        assert job.status_code == 202, job.text
        workshop.run_through(job.json["id"])
        found[caller] = Owned(job.json["id"], job.json["input"]["content"]["asset_id"])
    return found


def rank(scope: Scope) -> int:
    return list(Scope).index(scope)


def test_every_endpoint_has_its_row(app: Flask):
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == TABLE.keys()
    for rule in app.url_map.iter_rules():
        methods = {row.method for row in TABLE[rule.endpoint]}
        assert methods == rule.methods - {"HEAD", "OPTIONS"}, rule


def test_without_a_token_only_what_is_for_everybody_is_told(ask: Ask):
    for row in ROWS:
        answer = ask(row)
        if row.address == "/signin" and row.method == "POST":
            assert answer.status_code == 401  # an empty token is none
        elif row.address.startswith("/share/"):
            assert answer.status_code == 404
        elif row.needed is PUBLIC:
            assert answer.status_code in (200, 503), row
        else:
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), row
            assert "Bearer" in answer.headers["WWW-Authenticate"]
        answer.close()


def test_each_scope_may_do_what_is_its_own_and_nothing_more(ask: Ask, own: dict[str, Owned]):
    for row in ROWS:
        for scope in Scope:
            answer = ask(row, "anna", scope, job=own["anna"].job, asset=own["anna"].asset)
            if row.needed is not PUBLIC and rank(scope) < rank(row.needed):
                assert (answer.status_code, answer.json["code"]) == (403, "scope_missing"), (row, scope)
                assert f"'{row.needed}'" in answer.json["detail"]
            elif (row.method, row.address) != ("POST", "/signin"):
                assert answer.status_code not in (401, 403), (row, scope, answer.text)
            answer.close()


@pytest.mark.parametrize("scope", [READ, SUBMIT])
def test_what_is_anothers_is_as_if_it_were_not_there(ask: Ask, own: dict[str, Owned], scope: Scope):
    for row in ABOUT_JOBS_AND_ASSETS:
        foreign = ask(row, "anna", scope, job=own["ben"].job, asset=own["ben"].asset)
        unknown = ask(row, "anna", scope)
        if rank(scope) < rank(row.needed):
            assert foreign.status_code == 403, row
        elif (row.method, row.address) != LEADS_ON:
            assert foreign.status_code == 404, row
        assert foreign.status_code == unknown.status_code, row
        said = foreign.text.replace(own["ben"].job, UNKNOWN).replace(own["ben"].asset, UNKNOWN)
        assert said == unknown.text
        assert {name for name, _ in foreign.headers} == {name for name, _ in unknown.headers}


def test_whoever_manages_does_it_for_its_owner(ask: Ask, own: dict[str, Owned]):
    for row in ABOUT_JOBS_AND_ASSETS:
        answer = ask(row, "anna", MANAGE, job=own["ben"].job, asset=own["ben"].asset)
        if "{asset}" in json.dumps(row.body) or "?from=" in row.address:
            assert answer.status_code == 404, row  # a job of one's own, from pictures of one's own
        else:
            assert answer.status_code not in (401, 403, 404), (row, answer.text)
        answer.close()


def test_whoever_manages_lists_what_is_anothers(ask: Ask, own: dict[str, Owned]):
    for address, names in ((f"{API}/jobs", "job"), (f"{API}/assets", "asset")):
        row = Row("GET", f"{address}?caller=ben", READ)
        for scope in (READ, SUBMIT):
            assert ask(row, "anna", scope).json["code"] == "scope_missing"
        listed = ask(row, "anna", MANAGE).json[f"{names}s"]
        assert getattr(own["ben"], names) in [one["id"] for one in listed]
        assert getattr(own["anna"], names) not in [one["id"] for one in listed]
        # Of oneself everybody may.
        listed = ask(Row("GET", f"{address}?caller=anna", READ), "anna", READ).json[f"{names}s"]
        assert getattr(own["anna"], names) in [one["id"] for one in listed]


def test_that_another_has_uploaded_a_picture_is_not_told(ask: Ask, client: FlaskClient, make_picture):
    def upload(caller: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {ask.tokens[caller, SUBMIT]}"}
        data = {"file": (io.BytesIO(make_picture(seed=3)), "a.png")}
        return client.post(f"{API}/assets", data=data, headers=headers)

    first, second, again = upload("anna"), upload("ben"), upload("ben")
    assert (first.status_code, second.status_code, again.status_code) == (201, 201, 200)
    assert first.json["id"] != second.json["id"] == again.json["id"]
