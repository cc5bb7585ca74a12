"""The page of webhooks, by its forms."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.support.workshop import Workshop

HOOK = "https://93.184.215.14/hook?key=1"
HTML = {"Accept": "text/html"}


def put(client: FlaskClient, name: str = "ci", url: str = HOOK, events: tuple[str, ...] = ("job.failed",)):
    return client.post("/webhooks", data={"id": name, "url": url, "event": list(events)}, headers=HTML)


def test_a_secret_is_shown_once_and_kept_by_nobody(client: FlaskClient):
    made = put(client)
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", made.text)
    page = client.get("/webhooks", headers=HTML).text
    assert secret not in page
    assert HOOK in page
    changed = put(client, url=f"{HOOK}2")
    assert (changed.status_code, changed.headers["Location"]) == (303, "/webhooks")
    rotated = client.post("/webhooks/ci/rotate", headers=HTML)
    (new,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", rotated.text)
    assert new != secret
    assert "two; the older ends in" in rotated.text
    assert client.post("/webhooks/ci/delete", headers=HTML).status_code == 303
    assert HOOK not in client.get("/webhooks", headers=HTML).text
    assert client.post("/webhooks/ci/delete", headers=HTML).status_code == 303


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"url": "http://10.0.0.1/"}, 422, "begins with &#39;http:&#39;"),
        ({"url": "https://10.0.0.1/"}, 422, "a private address"),
        ({"name": "UPPER"}, 400, "is no name"),
        ({"events": ()}, 400, "of which events"),
    ],
)
def test_a_refusal_is_shown_with_what_was_typed(strict: FlaskClient, changes: dict, status: int, said: str):
    answer = put(strict, **changes)
    assert answer.status_code == status
    assert said in answer.text
    assert f'value="{changes.get("url", HOOK)}"' in answer.text
    assert strict.get("/api/v1/webhooks").json == {"webhooks": []}


def test_messages_are_shown_and_sent_again(
    client: FlaskClient, submit: Callable[..., dict], workshop: Workshop
):
    put(client, events=("job.succeeded",))
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"])
    page = client.get("/webhooks", headers=HTML).text
    assert f'href="/jobs/{job["id"]}"' in page
    (message,) = re.findall(r"/webhooks/messages/([^/]+)/redeliver", page)
    assert client.post(f"/webhooks/messages/{message}/redeliver", headers=HTML).status_code == 303
    unknown = client.post("/webhooks/messages/msg_x/redeliver", headers=HTML)
    assert unknown.status_code == 404
    assert "There is no delivery" in unknown.text
