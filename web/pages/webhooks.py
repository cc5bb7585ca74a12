"""The page of webhooks: who is told what, and what became of the messages; without scripts.

A secret is shown in the answer to the form that made it, and nowhere else: that answer is no redirect, and
nobody keeps it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from shared.clock import utc_now
from shared.errors import AtelierError, InvalidState, MalformedRequest, NotFound, Refusal
from web.address import link
from web.api.problems import status_of
from web.api.webhooks import send_again_as_asked
from web.db.webhook_models import Delivery, DeliveryAttempt, WebhookRow
from web.pages.layout import page
from web.security import current_caller
from web.services import get_backend
from web.webhooks.addresses import WebhookRules, read_url
from web.webhooks.outbox import ENDS, Event, last_attempts, list_deliveries
from web.webhooks.subscriptions import (
    get_webhook,
    list_webhooks,
    put_webhook,
    remove_webhook,
    rotate_secret,
    valid_secrets,
)
from web.words import ago, sentence, span

_SHOWN_MESSAGES = 50
_EVENT_WORDS = {
    Event.SUCCEEDED: "succeeded",
    Event.FAILED: "failed",
    Event.CANCELED: "canceled",
    Event.EXPIRED: "expired",
    Event.CHECKPOINT: "a checkpoint was kept",
    Event.PROGRESS: "progress, every five seconds",
}
webhooks_page = Blueprint("webhooks_page", __name__)


@dataclass(frozen=True)
class WebhookCard:
    """A webhook as the page shows it."""

    id: str
    url: str
    events: str
    #: When its receiver said that it is gone; empty while it is in use.
    ended: str
    secrets: str


@dataclass(frozen=True)
class MessageLine:
    """A message as the page shows it; `outcome` is that of its last attempt."""

    id: str
    event: str
    job_url: str
    job_id: str
    to: str
    state: str
    made: str
    attempts: int
    outcome: str
    answer: str
    #: When it is tried next; empty when it is not.
    next: str


@webhooks_page.get("/webhooks")
def show() -> Response:
    """Show the page."""
    return _page()


@webhooks_page.post("/webhooks")
def put() -> AnyResponse:
    """Make a webhook, or change it, and show its secret if it is new; a refusal is shown at the form."""
    sent, backend = request.form, get_backend()
    name, url = sent.get("id", "").strip(), sent.get("url", "").strip() or None
    events = [event for event in Event if event.value in sent.getlist("event")]
    try:
        if url is not None:
            read_url(url, WebhookRules.of(backend.settings))
        if not events:
            raise MalformedRequest.at("/event", "say of which events it is to be told")
        with backend.database.write() as session:
            row, made = put_webhook(
                session, name, caller=current_caller(), url=url, events=events, now=utc_now()
            )
            name = row.name or name
    except Refusal as error:
        return _page(error, typed={"id": name, "url": url or "", "events": {one.value for one in events}})
    return _secretly(name, made.text) if made is not None else redirect(url_for("webhooks_page.show"), 303)


@webhooks_page.post("/webhooks/<webhook_id>/delete")
def delete(webhook_id: str) -> AnyResponse:
    """Delete a webhook; one that is gone already is as good."""
    with suppress(NotFound), get_backend().database.write() as session:
        remove_webhook(session, get_webhook(session, webhook_id, caller=current_caller()))
    return redirect(url_for("webhooks_page.show"), 303)


@webhooks_page.post("/webhooks/<webhook_id>/rotate")
def rotate(webhook_id: str) -> AnyResponse:
    """Make a new secret, and show it."""
    try:
        with get_backend().database.write() as session:
            row = get_webhook(session, webhook_id, caller=current_caller())
            made = rotate_secret(session, row, now=utc_now())
    except NotFound as error:
        return _page(error)
    return _secretly(webhook_id, made.text)


@webhooks_page.post("/webhooks/messages/<delivery_id>/redeliver")
def redeliver(delivery_id: str) -> AnyResponse:
    """Send a message again."""
    try:
        with get_backend().database.write() as session:
            send_again_as_asked(session, delivery_id)
    except (NotFound, InvalidState) as error:
        return _page(error)
    return redirect(f"{url_for('webhooks_page.show')}#messages", 303)


def _secretly(name: str, secret: str) -> Response:
    response = _page(secret={"id": name, "text": secret})
    response.headers["Cache-Control"] = "no-store"
    return response


def _page(
    error: AtelierError | None = None,
    *,
    typed: dict[str, Any] | None = None,
    secret: dict[str, str] | None = None,
) -> Response:
    now, caller = utc_now(), current_caller()
    with get_backend().database.read() as session:
        rows = list_webhooks(session, caller=caller)
        names = {row.id: row.name for row in rows}
        cards = [_card(session, row, now) for row in rows]
        found = list_deliveries(session, caller=caller, limit=_SHOWN_MESSAGES).all()
        last = last_attempts(session, found)
        messages = [_line(row, last.get(row.id), names.get(row.webhook_id), now) for row in found]
    return page(
        "webhooks.html",
        status=200 if error is None else status_of(type(error)),
        fault=sentence(error.detail) if error is not None else "",
        cards=cards,
        messages=messages,
        events=[(event.value, words) for event, words in _EVENT_WORDS.items()],
        typed=typed or {"id": "" if rows else "default", "url": "", "events": {one.value for one in ENDS}},
        secret=secret,
    )


def _card(session: Session, row: WebhookRow, now: datetime) -> WebhookCard:
    secrets = valid_secrets(session, row, now=now)
    old = [secret.expires_at for secret in secrets if secret.expires_at is not None]
    known = {event.value: words for event, words in _EVENT_WORDS.items()}
    return WebhookCard(
        id=row.name or "",
        url=row.url or "",
        events=", ".join(known[word] for word in row.events.split() if word in known),
        ended="" if row.ended_at is None else ago(row.ended_at, now),
        secrets="one" if not old else f"two; the older ends in {span((old[0] - now).total_seconds())}",
    )


def _line(row: Delivery, last: DeliveryAttempt | None, name: str | None, now: datetime) -> MessageLine:
    outcome = "" if last is None else f"{last.status or last.error} after {last.seconds:g} s"
    is_due = row.next_at is not None and row.next_at <= now
    return MessageLine(
        id=row.id,
        event=row.event.removeprefix("job."),
        job_url=link(f"/jobs/{row.job_id}"),
        job_id=row.job_id,
        to=name or row.receiver,
        state=row.state,
        made=ago(row.created_at, now),
        attempts=row.attempts,
        outcome=outcome,
        answer=(last.answer or "") if last is not None else "",
        next=""
        if row.next_at is None
        else ("now" if is_due else f"in {span((row.next_at - now).total_seconds())}"),
    )
