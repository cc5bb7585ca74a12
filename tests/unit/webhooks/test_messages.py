"""Messages: signed as receivers verify them, and tried again as was decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from shared.clock import utc_now
from shared.status import JobStatus
from web.webhooks.message import (
    BACKOFF_SECONDS,
    Answer,
    NextStep,
    State,
    decide_next,
    headers_of,
    make_body,
    make_secret,
)
from web.webhooks.outbox import Event, events_of

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
UNTIL = NOW + timedelta(days=1)


def decide(answer: Answer, **changes: object) -> NextStep:
    how = {"attempt": 1, "until": UNTIL, "is_once": False, "now": NOW, "chance": 0.5}
    return decide_next(answer, **{**how, **changes})


def test_a_receiver_verifies_a_message_with_either_of_two_secrets_and_with_no_other():
    old, new = make_secret(), make_secret()
    body = make_body("job.succeeded", {"id": "a", "version": 7}, at=NOW).encode()
    headers = dict(headers_of([new, old], message_id="msg_1", at=utc_now(), body=body))
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["data"] == {"id": "a", "version": 7}
    for wrong in (body.replace(b"7", b"8"), body + b" "):
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(wrong, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, {**headers, "webhook-id": "msg_2"})


def test_a_message_says_what_happened_and_when():
    told = json.loads(make_body("job.failed", {"id": "a"}, at=NOW))
    assert told == {"type": "job.failed", "timestamp": "2026-11-27T12:00:00.000Z", "data": {"id": "a"}}


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_what_was_taken_is_delivered(status: int):
    assert decide(Answer(status)) == NextStep(State.DELIVERED)


@pytest.mark.parametrize("answer", [Answer(500), Answer(404), Answer(303), Answer(error="no connection")])
def test_what_was_not_is_tried_again_ever_later(answer: Answer):
    waits = []
    for attempt in range(1, len(BACKOFF_SECONDS) + 3):
        step = decide(answer, attempt=attempt)
        assert step.state is State.PENDING
        waits.append((step.next_at - NOW).total_seconds())
    assert waits == [*BACKOFF_SECONDS, BACKOFF_SECONDS[-1], BACKOFF_SECONDS[-1]]


def test_what_failed_together_is_not_tried_together():
    waits = {decide(Answer(500), chance=chance).next_at for chance in (0.0, 0.3, 1.0)}
    assert waits == {NOW + timedelta(seconds=each) for each in (4, 4.6, 6)}


def test_a_receiver_may_ask_for_more_time_up_to_an_hour():
    assert decide(Answer(429, retry_after_seconds=90)).next_at == NOW + timedelta(seconds=90)
    assert decide(Answer(503, retry_after_seconds=1)).next_at == NOW + timedelta(seconds=5)
    assert decide(Answer(503, retry_after_seconds=1e9)).next_at == NOW + timedelta(hours=1)


def test_it_is_given_up_when_its_time_is_over():
    assert decide(Answer(500), until=NOW + timedelta(seconds=4)) == NextStep(State.FAILED)
    assert decide(Answer(500), until=NOW + timedelta(seconds=5)).state is State.PENDING


def test_progress_is_tried_once():
    assert decide(Answer(500), is_once=True) == NextStep(State.FAILED)
    assert decide(Answer(200), is_once=True) == NextStep(State.DELIVERED)


def test_a_receiver_that_is_gone_is_told_nothing_more():
    assert decide(Answer(410)) == NextStep(State.DROPPED, ends_webhook=True)


def test_what_a_change_tells():
    queued, running, done = JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED
    assert events_of(running, done, ["output", "status"]) == [Event.SUCCEEDED]
    assert events_of(running, running, ["checkpoint"]) == [Event.CHECKPOINT]
    assert events_of(queued, JobStatus.EXPIRED, ["status"]) == [Event.EXPIRED]
    assert events_of(JobStatus.CANCELING, JobStatus.CANCELED, ["status"]) == [Event.CANCELED]
    assert events_of(running, JobStatus.FAILED, ["status"]) == [Event.FAILED]
    assert events_of(queued, running, ["attempt", "status"]) == []
    assert events_of(done, queued, ["status"]) == []
    assert events_of(done, done, []) == []
