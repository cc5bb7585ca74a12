"""`atelier webhook` and `submit --webhook` against the real app."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from tests.support.engines import SteadyEngine

Call = Callable[..., Result]
#: Nobody is asked anything there: no deliverer runs.
HOOK = "https://93.184.215.14/hook"


def told(atelier: Call, *words: str) -> list[dict]:
    return json.loads(atelier("webhook", "told", "--json", *words).stdout)["deliveries"]


def test_a_webhook_is_made_changed_and_deleted(atelier: Call):
    assert "There is no webhook." in atelier("webhook", "list").stderr
    made = atelier("webhook", "put", "ci", HOOK)
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    assert "only time" in made.stderr
    changed = atelier("webhook", "put", "ci", f"{HOOK}2", "--event", "job.failed", "--event", "job.progress")
    assert changed.stdout.strip() == "ci is changed"
    shown = atelier("webhook", "show", "ci")
    assert f"address   {HOOK}2" in shown.stdout
    assert "told of   job.failed job.progress" in shown.stdout
    assert f"{secret[:10]}…  valid" in shown.stdout
    assert secret not in shown.stdout + atelier("webhook", "list").stdout
    assert atelier("webhook", "delete", "ci").exit_code == 0
    gone = atelier("webhook", "show", "ci")
    assert gone.exit_code != 0
    assert "there is no webhook 'ci'" in gone.stderr


def test_a_secret_is_replaced_and_the_old_one_ended(atelier: Call):
    atelier("webhook", "put", "ci", HOOK)
    (old,) = json.loads(atelier("webhook", "show", "ci", "--json").stdout)["secrets"]
    assert atelier("webhook", "rotate", "ci").stdout.startswith("whsec_")
    assert atelier("webhook", "show", "ci").stdout.count("secret ") == 2
    assert atelier("webhook", "end-secret", "ci", old["id"]).exit_code == 0
    assert atelier("webhook", "show", "ci").stdout.count("secret ") == 1


def test_a_job_brings_an_address_and_its_end_is_listed_and_sent_again(
    atelier: Call, service, pictures: list[str]
):
    refused = atelier("submit", *pictures, "--webhook", HOOK)
    assert refused.exit_code != 0
    assert "PUT /webhooks/default" in refused.stderr
    atelier("webhook", "put", "default")
    service.work(SteadyEngine())
    words = ["--webhook", HOOK, "--webhook-event", "job.succeeded", "--wait", "-O", "steps=3"]
    job_id = json.loads(atelier("submit", *pictures, *words, "--json").stdout)["id"]
    (one,) = told(atelier, "--job", job_id[:13])
    assert (one["event"], one["receiver"], one["webhook_id"]) == (
        "job.succeeded", "https://93.184.215.14", None,
    )  # fmt: skip
    assert told(atelier, "--state", "failed") == told(atelier, "--webhook", "default") == []
    line = atelier("webhook", "told").stdout
    assert "job.succeeded" in line
    assert "job.succeeded of job" in atelier("webhook", "message", one["id"]).stdout
    assert atelier("webhook", "redeliver", one["id"]).stdout.strip() == f"{one['id']} is sent again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("webhook", "put", "CI", HOOK), "is no name"),
        (("webhook", "put", "ci", "http://example.com/"), "ATELIER_WEBHOOK_HTTP"),
        (("webhook", "put", "ci", "https://[::1]/"), "this machine itself"),
        (("webhook", "put", "ci", HOOK, "--event", "job.started"), "job.started"),
        (("webhook", "message", "msg_x"), "there is no delivery"),
        (("webhook", "redeliver", "msg_x"), "there is no delivery"),
        (("submit", "asset:a", "asset:b", "--webhook-event", "job.failed"), "there is none"),
    ],
)
def test_what_is_wrong_is_said(atelier: Call, words: tuple[str, ...], said: str):
    result = atelier(*words)
    assert result.exit_code != 0
    assert said in result.stderr
