"""Whom to tell: a caller's webhooks by their names, those of single jobs, and the secrets that sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from shared.errors import (
    InvalidState,
    MalformedRequest,
    NotFound,
    TooManyWebhooks,
    WebhookRefused,
    WebhookSecretMissing,
)
from shared.protocol import new_id
from web.db.webhook_models import Delivery, WebhookRow, WebhookSecretRow
from web.webhooks.addresses import WebhookRules, read_url
from web.webhooks.message import SECRET_PREFIX, State, make_secret
from web.webhooks.outbox import DEFAULT_NAME, Event, note_webhook, receiver_of

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
#: How long a secret is valid beside the one that has replaced it.
OVERLAP = timedelta(days=1)
_MOST_WEBHOOKS = 20
#: How much of a secret is shown again, so that its owner knows it.
_SHOWN_CHARS = len(SECRET_PREFIX) + 4


@dataclass(frozen=True)
class NewSecret:
    """A secret that was made just now: the only moment at which its text is shown."""

    row: WebhookSecretRow
    text: str


def put_webhook(
    session: Session, name: str, *, caller: str, url: str | None, events: Sequence[Event], now: datetime
) -> tuple[WebhookRow, NewSecret | None]:
    """Make a caller's webhook, or change it; return it, and its secret where it is new.

    One that has ended goes on. What waits for it goes to its new address.

    Raises:
        MalformedRequest: when the name is none.
        TooManyWebhooks: when the caller has as many as there may be.
    """
    if not _NAME.fullmatch(name):
        detail = f"'{name[:100]}' is no name; allowed are small letters, digits, _ and -, at most 63"
        raise MalformedRequest.at("/webhook_id", detail)
    words = " ".join(event.value for event in Event if event in events)
    row = session.scalar(_named(caller, name))
    if row is not None:
        row.url, row.events, row.ended_at = url, words, None
        pending = (Delivery.webhook_id == row.id) & (Delivery.state == State.PENDING.value)
        session.execute(update(Delivery).where(pending).values(receiver=receiver_of(url or "")))
        return row, None
    count = select(func.count()).where(WebhookRow.caller == caller, WebhookRow.name.is_not(None))
    if (session.scalar(count) or 0) >= _MOST_WEBHOOKS:
        raise TooManyWebhooks(f"you have {_MOST_WEBHOOKS} webhooks, and may have no more")
    row = WebhookRow(id=new_id(), caller=caller, name=name, url=url, events=words, created_at=now)
    note_webhook(session, row)
    return row, _add_secret(session, row, now=now)


def check_job_webhook(session: Session, url: str, *, caller: str, rules: WebhookRules, now: datetime) -> None:
    """Prove that an address may be told of a job of a caller.

    Raises:
        WebhookRefused: when no webhook may go there.
        WebhookSecretMissing: when the caller has no secret that it could be signed with.
    """
    try:
        read_url(url, rules)
    except WebhookRefused as error:
        raise WebhookRefused.at("/webhook/url", error.detail) from None
    default = session.scalar(_named(caller, DEFAULT_NAME))
    if default is None or not valid_secrets(session, default, now=now):
        raise WebhookSecretMissing.at(
            "/webhook",
            f"what a job's own address is told is signed with the secret of your webhook '{DEFAULT_NAME}', "
            "and there is none",
        )


def add_job_webhook(
    session: Session, job_id: str, *, caller: str, url: str, events: Sequence[Event], now: datetime
) -> None:
    """Let an address that was checked be told of one job."""
    words = " ".join(event.value for event in Event if event in events)
    note_webhook(
        session, WebhookRow(id=new_id(), caller=caller, job_id=job_id, url=url, events=words, created_at=now)
    )


def get_webhook(session: Session, name: str, *, caller: str) -> WebhookRow:
    """Return a caller's webhook by its name.

    Raises:
        NotFound: when there is none.
    """
    row = session.scalar(_named(caller, name))
    if row is None:
        raise NotFound(f"there is no webhook '{name[:100]}'")
    return row


def list_webhooks(session: Session, *, caller: str) -> list[WebhookRow]:
    """Return a caller's webhooks by name, without those of single jobs."""
    query = select(WebhookRow).where(WebhookRow.caller == caller, WebhookRow.name.is_not(None))
    return list(session.scalars(query.order_by(WebhookRow.name)))


def remove_webhook(session: Session, row: WebhookRow) -> None:
    """Remove a webhook, its secrets, what waits for it, and the log of what it was told."""
    session.execute(delete(WebhookRow).where(WebhookRow.id == row.id))


def rotate_secret(session: Session, row: WebhookRow, *, now: datetime) -> NewSecret:
    """Add a secret; the one before it stays valid for a day, any older one ends at once."""
    before = list(session.scalars(_valid(row.id, now).order_by(WebhookSecretRow.id.desc())))
    for number, secret in enumerate(before):
        secret.expires_at = now + OVERLAP if number == 0 else now
    return _add_secret(session, row, now=now)


def end_secret(session: Session, row: WebhookRow, secret_id: str, *, now: datetime) -> None:
    """Let a secret be of no use from now on.

    Raises:
        NotFound: when the webhook has none with this id.
        InvalidState: when it is the newest: there would be none to sign with.
    """
    secrets = list(session.scalars(_valid(row.id, now).order_by(WebhookSecretRow.id.desc())))
    found = next((secret for secret in secrets if secret.id == secret_id), None)
    if found is None:
        raise NotFound(f"webhook '{row.name}' has no secret '{secret_id[:100]}' that is valid")
    if found is secrets[0]:
        raise InvalidState("it is the newest secret; make another one first")
    found.expires_at = now


def valid_secrets(session: Session, row: WebhookRow, *, now: datetime) -> list[WebhookSecretRow]:
    """Return the secrets of a webhook that are valid, newest first: one or two."""
    return list(session.scalars(_valid(row.id, now).order_by(WebhookSecretRow.id.desc())))


def signing_secrets(session: Session, row: WebhookRow, *, now: datetime) -> list[str]:
    """Return what a message to a webhook is signed with; that to a single job's with its caller's default."""
    named = row if row.name is not None else session.scalar(_named(row.caller, DEFAULT_NAME))
    return [] if named is None else [secret.secret for secret in valid_secrets(session, named, now=now)]


def shown_part(secret: WebhookSecretRow) -> str:
    """Return how a secret begins."""
    return secret.secret[:_SHOWN_CHARS]


def remove_all(session: Session, *, caller: str) -> None:
    """Remove all webhooks of a caller, those of single jobs too, with their messages."""
    session.execute(delete(WebhookRow).where(WebhookRow.caller == caller))


def _named(caller: str, name: str) -> Select[WebhookRow]:
    return select(WebhookRow).where(WebhookRow.caller == caller, WebhookRow.name == name)


def _valid(webhook_id: str, now: datetime) -> Select[WebhookSecretRow]:
    is_valid: ColumnElement[bool] = or_(
        WebhookSecretRow.expires_at.is_(None), WebhookSecretRow.expires_at > now
    )
    return select(WebhookSecretRow).where(WebhookSecretRow.webhook_id == webhook_id, is_valid)


def _add_secret(session: Session, row: WebhookRow, *, now: datetime) -> NewSecret:
    text = make_secret()
    secret = WebhookSecretRow(id=new_id(), webhook_id=row.id, secret=text, created_at=now)
    session.add(secret)
    session.flush()
    return NewSecret(secret, text)
