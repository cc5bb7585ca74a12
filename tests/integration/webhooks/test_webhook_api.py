"""Webhooks over the API: made, changed, limited, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from shared.clock import utc_now
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token
from web.db.models import Job
from web.db.webhook_models import WebhookRow
from web.services import Services

API = "/api/v1"
WEBHOOKS, JOBS, DELIVERIES = f"{API}/webhooks", f"{API}/jobs", f"{API}/deliveries"
HOOK = "https://93.184.215.14/hook"
ENDS = ["job.succeeded", "job.failed", "job.canceled", "job.expired"]
ProblemOf = Callable[[TestResponse, int, str], dict]


def test_a_webhook_is_made_once_and_its_secret_is_shown_then_alone(client: FlaskClient):
    made = client.put(f"{WEBHOOKS}/ci", json={"url": HOOK})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    secret = made.json["secret"]
    assert secret.startswith("whsec_")
    shown = {name: value for name, value in made.json.items() if name != "secret"}
    assert (shown["id"], shown["url"], shown["events"], shown["ended_at"]) == ("ci", HOOK, ENDS, None)
    again = client.put(f"{WEBHOOKS}/ci", json={"url": f"{HOOK}2", "events": ["job.failed"]})
    assert again.status_code == 200
    assert (again.json["url"], again.json["events"]) == (f"{HOOK}2", ["job.failed"])
    for text in (again.text, client.get(WEBHOOKS).text, client.get(f"{WEBHOOKS}/ci").text):
        assert secret not in text
        assert secret[:10] in text
    assert client.delete(f"{WEBHOOKS}/ci").status_code == 204
    assert client.get(WEBHOOKS).json == {"webhooks": []}


def test_secrets_are_replaced_one_by_one(client: FlaskClient, problem_of: ProblemOf):
    client.put(f"{WEBHOOKS}/ci", json={"url": HOOK})
    (first,) = client.get(f"{WEBHOOKS}/ci").json["secrets"]
    assert first["expires_at"] is None
    made = [client.post(f"{WEBHOOKS}/ci/secrets").json for _ in range(2)]
    newest, before = client.get(f"{WEBHOOKS}/ci").json["secrets"]
    assert [newest["id"], before["id"]] == [made[1]["id"], made[0]["id"]], "two are valid at once, not three"
    assert newest["expires_at"] is None
    assert before["expires_at"] is not None
    problem_of(client.delete(f"{WEBHOOKS}/ci/secrets/{newest['id']}"), 409, "invalid_state")
    assert client.delete(f"{WEBHOOKS}/ci/secrets/{before['id']}").status_code == 204
    assert [one["id"] for one in client.get(f"{WEBHOOKS}/ci").json["secrets"]] == [newest["id"]]
    problem_of(client.delete(f"{WEBHOOKS}/ci/secrets/{before['id']}"), 404, "not_found")


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("UPPER", {"url": HOOK}, 400, "invalid_request"),
        ("a" * 64, {"url": HOOK}, 400, "invalid_request"),
        ("-a", {"url": HOOK}, 400, "invalid_request"),
        ("a", {"url": "http://93.184.215.14/"}, 422, "webhook_refused"),
        ("a", {"url": "https://127.0.0.1/"}, 422, "webhook_refused"),
        ("a", {"url": "https://0x7f.1/"}, 422, "webhook_refused"),
        ("a", {"url": 7}, 400, "invalid_request"),
        ("a", {"url": HOOK, "events": []}, 400, "invalid_request"),
        ("a", {"url": HOOK, "events": ["job.started"]}, 400, "invalid_request"),
        ("a", {"url": HOOK, "secret": "mine"}, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_nothing(
    name: str, body: object, status: int, code: str, strict: FlaskClient, problem_of: ProblemOf
):
    problem_of(strict.put(f"{WEBHOOKS}/{name}", json=body), status, code)
    assert strict.get(WEBHOOKS).json == {"webhooks": []}


def test_there_are_twenty_at_most(client: FlaskClient, problem_of: ProblemOf):
    for number in range(20):
        assert client.put(f"{WEBHOOKS}/h{number}", json={"url": HOOK}).status_code == 201
    problem_of(client.put(f"{WEBHOOKS}/one-more", json={"url": HOOK}), 409, "too_many_webhooks")
    assert client.put(f"{WEBHOOKS}/h0", json={"url": f"{HOOK}2"}).status_code == 200


@pytest.mark.parametrize("validate", ["", "?validate_only=true"])
@pytest.mark.parametrize(
    ("url", "has_default", "code", "pointer"),
    [
        ("https://10.0.0.1/", True, "webhook_refused", "/webhook/url"),
        (HOOK, False, "webhook_secret_missing", "/webhook"),
    ],
)
def test_a_submit_with_a_webhook_that_cannot_be_told_is_refused_and_leaves_nothing(
    validate: str, url: str, has_default: bool, code: str, pointer: str, strict: FlaskClient,
    parts: Callable[..., dict], services: Services, problem_of: ProblemOf, nothing_left: Callable[[], None],
):  # fmt: skip
    if has_default:
        strict.put(f"{WEBHOOKS}/default", json={})
    problem = problem_of(strict.post(f"{JOBS}{validate}", data=parts(webhook={"url": url})), 422, code)
    assert problem["errors"][0]["pointer"] == pointer
    nothing_left()


def test_a_job_brings_its_address_by_either_way_of_submitting_and_a_fork_its_own(
    client: FlaskClient, submit: Callable[..., dict], workshop: Workshop, services: Services
):
    client.put(f"{WEBHOOKS}/default", json={})
    first = submit(webhook={"url": HOOK, "events": ["job.failed", "job.progress"]})
    ids = {part: first["input"][part]["asset_id"] for part in ("content", "style")}
    second = client.post(JOBS, json={**ids, "reuse": False, "webhook": {"url": f"{HOOK}2"}})
    assert second.status_code == 202, second.text
    workshop.run_through(first["id"])
    fork = client.post(f"{JOBS}/{first['id']}/fork", json={"step": 10, "webhook": {"url": f"{HOOK}3"}})
    assert fork.status_code == 202, fork.text
    with services.backend.database.read() as session:
        rows = session.scalars(select(WebhookRow).where(WebhookRow.job_id.is_not(None)))
        assert {(row.job_id, row.url, row.events) for row in rows} == {
            (first["id"], HOOK, "job.failed job.progress"),
            (second.json["id"], f"{HOOK}2", " ".join(ENDS)),
            (fork.json["id"], f"{HOOK}3", " ".join(ENDS)),
        }


def test_the_same_key_brings_one_job_and_one_address(
    client: FlaskClient, submit: Callable[..., dict], services: Services
):
    client.put(f"{WEBHOOKS}/default", json={})
    first = submit()
    ids = {part: first["input"][part]["asset_id"] for part in ("content", "style")}
    body = {**ids, "reuse": False, "webhook": {"url": HOOK}}
    answers = [client.post(JOBS, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json["id"] == answers[1].json["id"]
    changed = client.post(
        JOBS, json={**body, "webhook": {"url": f"{HOOK}2"}}, headers={"Idempotency-Key": "k"}
    )
    assert changed.status_code == 422
    with services.backend.database.read() as session:
        assert session.scalar(select(func.count()).where(WebhookRow.job_id.is_not(None))) == 1


def test_a_reused_result_is_told_too(
    client: FlaskClient, submit: Callable[..., dict], workshop: Workshop, services: Services
):
    client.put(f"{WEBHOOKS}/default", json={"url": HOOK})
    first = submit()
    workshop.run_through(first["id"])
    ids = {part: first["input"][part]["asset_id"] for part in ("content", "style")}
    given = client.post(JOBS, json={**ids, "webhook": {"url": f"{HOOK}2"}})
    assert (given.status_code, given.json["status"]) == (200, "succeeded")
    told = client.get(DELIVERIES, query_string={"job_id": given.json["id"]}).json["deliveries"]
    assert [one["event"] for one in told] == ["job.succeeded"]
    with services.backend.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 2


def test_messages_are_listed_in_pages_and_by_what_they_are_of(
    client: FlaskClient, submit: Callable[..., dict], workshop: Workshop, problem_of: ProblemOf
):
    client.put(f"{WEBHOOKS}/default", json={"url": HOOK})
    client.put(f"{WEBHOOKS}/ci", json={"url": HOOK, "events": ["job.succeeded"]})
    jobs = [submit() for _ in range(3)]
    for job in jobs:
        workshop.claim(job["id"])
        workshop.succeed(job["id"])
    page = client.get(DELIVERIES, query_string={"page_size": 4}).json
    rest = client.get(DELIVERIES, query_string={"page_token": page["next_page_token"]}).json
    assert (len(page["deliveries"]), len(rest["deliveries"]), rest["next_page_token"]) == (4, 2, None)
    ids = [one["id"] for one in page["deliveries"] + rest["deliveries"]]
    assert ids == sorted(set(ids), reverse=True)

    def count(**query: str) -> int:
        return len(client.get(DELIVERIES, query_string=query).json["deliveries"])

    assert count(job_id=jobs[0]["id"]) == 2
    assert count(webhook_id="ci") == 3
    assert count(webhook_id="ci", job_id=jobs[0]["id"], state="pending") == 1
    assert count(state="delivered") == 0
    problem_of(client.get(DELIVERIES, query_string={"state": "lost"}), 400, "invalid_request")
    problem_of(client.get(DELIVERIES, query_string={"webhook_id": "nobody"}), 404, "not_found")


def test_what_is_anothers_is_as_if_it_were_not_there(
    client: FlaskClient, services: Services, submit: Callable[..., dict], workshop: Workshop
):
    client.put(f"{WEBHOOKS}/ci", json={"url": HOOK})
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    message = client.get(DELIVERIES).json["deliveries"][0]["id"]
    secret = client.get(f"{WEBHOOKS}/ci").json["secrets"][0]["id"]
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        tokens = {
            caller: create_token(
                session, name=caller, scopes={Scope.ADMIN}, caller=caller,
                expires_at=utc_now() + timedelta(days=1), now=utc_now(),
            ).text
            for caller in ("local", "other")
        }  # fmt: skip

    def ask(caller: str, method: str, address: str) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {tokens[caller]}"}
        answer = client.open(address, method=method, headers=headers)
        return answer.status_code, answer.text

    for method, address in (
        ("GET", f"{WEBHOOKS}/ci"),
        ("DELETE", f"{WEBHOOKS}/ci"),
        ("POST", f"{WEBHOOKS}/ci/secrets"),
        ("DELETE", f"{WEBHOOKS}/ci/secrets/{secret}"),
        ("GET", f"{DELIVERIES}/{message}"),
        ("POST", f"{DELIVERIES}/{message}/redeliver"),
        ("GET", f"{DELIVERIES}?webhook_id=ci"),
    ):
        foreign = ask("other", method, address)
        unknown = ask(
            "other", method, address.replace("/ci", "/xx").replace("=ci", "=xx").replace(message, "msg_x")
        )
        assert foreign[0] == unknown[0] == 404, address
        assert message not in unknown[1]
    for address in (WEBHOOKS, DELIVERIES, f"{DELIVERIES}?job_id={job['id']}"):
        status, text = ask("other", "GET", address)
        assert status == 200
        assert job["id"] not in text
        assert HOOK not in text
    assert ask("other", "PUT", f"{WEBHOOKS}/ci")[0] == 201, "each caller has names of their own"
    assert ask("local", "GET", f"{WEBHOOKS}/ci")[0] == 200
