"""The views of webhooks: who is told what, the secrets, and the log of what was told."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.errors import (
    DatabaseUnavailable,
    InvalidState,
    MalformedRequest,
    NotFound,
    TooManyWebhooks,
    WebhookRefused,
)
from web.address import link
from web.api import API_PATH
from web.api.http import json_answer, read_body, read_query, refuse_body
from web.api.openapi import JSON, Answer, Operation, Parameter, query_parameters
from web.api.schemas import Moment
from web.db.webhook_models import Delivery, DeliveryAttempt, WebhookRow, WebhookSecretRow
from web.jobs.fields import EventName
from web.security import current_caller
from web.services import get_backend
from web.webhooks.addresses import MAX_URL_CHARS, WebhookRules, read_url
from web.webhooks.message import State
from web.webhooks.outbox import ENDS, Event, list_attempts, list_deliveries, send_again
from web.webhooks.subscriptions import (
    NewSecret,
    end_secret,
    get_webhook,
    list_webhooks,
    put_webhook,
    remove_webhook,
    rotate_secret,
    shown_part,
    valid_secrets,
)

webhooks = Blueprint("webhooks", __name__, url_prefix=API_PATH)


class WebhookBody(BaseModel):
    """What a webhook is."""

    model_config = ConfigDict(frozen=True, strict=True)

    url: str | None = Field(
        None,
        max_length=MAX_URL_CHARS,
        description="An https address of a public machine. `default` may do without one: then its secret "
        "alone is of use, for the addresses that jobs bring",
    )
    events: list[EventName] = Field(
        default_factory=lambda: [event.value for event in ENDS],
        min_length=1,
        max_length=20,
        description="What it is told of; as a rule how jobs ended",
    )


class SecretOut(BaseModel):
    """A secret that is valid, without its text."""

    id: str
    shown: str = Field(description="How it begins")
    created_at: Moment
    expires_at: Moment | None = Field(description="When it ends, once another one has replaced it")


class NewSecretOut(SecretOut):
    """A secret that was made just now."""

    secret: str = Field(description="Its text: shown this once")


class WebhookOut(BaseModel):
    """A webhook of yours."""

    id: str
    url: str | None
    events: list[EventName]
    created_at: Moment
    ended_at: Moment | None = Field(
        description="When its receiver said that it is gone (410): nothing is sent until it is put again"
    )
    secrets: list[SecretOut] = Field(description="Those that are valid, newest first: one or two")


class NewWebhookOut(WebhookOut):
    """A webhook that was made just now."""

    secret: str = Field(description="The text of its secret: shown this once")


class WebhooksOut(BaseModel):
    """Your webhooks, by their ids."""

    webhooks: list[WebhookOut]


class DeliveryOut(BaseModel):
    """A message to a webhook."""

    id: str = Field(description="The receiver sees it as `webhook-id`, the same each time")
    webhook_id: str | None = Field(description="The webhook's id; `null` of a job's own address")
    receiver: str = Field(description="Scheme, host and port that it goes to")
    job_id: str
    job_version: int
    event: EventName
    state: Literal["pending", "delivered", "failed", "dropped"] = Field(
        description="`failed`: it was tried for a day, or once if it tells of progress; `dropped`: its "
        "receiver is gone"
    )
    created_at: Moment
    attempts: int = Field(description="How many there were")
    next_at: Moment | None = Field(description="When it is tried next; null when it is not")


class DeliveryAttemptOut(BaseModel):
    """One attempt to send a message."""

    number: int
    started_at: Moment
    seconds: float
    status: int | None = Field(description="What the receiver answered; null where there was no answer")
    error: str | None = Field(description="Why there was none")
    answer: str | None = Field(description="The first 1 kB of the answer's body")


class DeliveryLogOut(DeliveryOut):
    """A message with what is sent, and its attempts."""

    body: str | None = Field(description="What is sent; null before the first attempt")
    log: list[DeliveryAttemptOut] = Field(description="The attempts, first to last")


class DeliveriesOut(BaseModel):
    """Messages, newest first."""

    deliveries: list[DeliveryOut]
    next_page_token: str | None = Field(description="For the next page; null on the last one")


class PageQuery(BaseModel):
    """How much of a list."""

    model_config = ConfigDict(frozen=True, strict=True)

    page_size: int = Field(50, ge=1, le=200, description="How many at once")


_STATES = [state.value for state in State]


@webhooks.get("/webhooks")
@Operation(
    "List webhooks",
    "webhooks",
    answers={200: Answer("Your webhooks", (WebhooksOut,))},
    refusals=(DatabaseUnavailable,),
)
def index() -> Response:
    """List your webhooks. The addresses that single jobs brought are not among them."""
    with get_backend().database.read() as session:
        found = [webhook_out(session, row) for row in list_webhooks(session, caller=current_caller())]
    return json_answer(WebhooksOut(webhooks=found).model_dump(mode="json"))


@webhooks.get("/webhooks/<webhook_id>")
@Operation(
    "Read a webhook",
    "webhooks",
    answers={200: Answer("The webhook", (WebhookOut,))},
    refusals=(NotFound, DatabaseUnavailable),
)
def read(webhook_id: str) -> Response:
    """Read one of your webhooks."""
    with get_backend().database.read() as session:
        found = webhook_out(session, get_webhook(session, webhook_id, caller=current_caller()))
    return json_answer(found.model_dump(mode="json"))


@webhooks.put("/webhooks/<webhook_id>")
@Operation(
    "Make or change a webhook",
    "webhooks",
    answers={
        201: Answer("It is new; here is its secret", (NewWebhookOut,)),
        200: Answer("It was changed", (WebhookOut,)),
    },
    refusals=(MalformedRequest, WebhookRefused, TooManyWebhooks, DatabaseUnavailable),
    bodies={JSON: WebhookBody},
    needs_body=False,
)
def put(webhook_id: str) -> Response:
    """Make a webhook with an id of your choice, or change it: it is told of all your jobs, not of drafts.

    Each message is a POST with `type`, `timestamp` and `data`, the job as `GET /jobs/{id}` shows it, signed
    as Standard Webhooks has it. It is sent at least once, and tried again for a day until it is answered with
    2xx; the secret is in the answer to the first PUT and nowhere else.
    """
    body, backend = read_body(WebhookBody), get_backend()
    if body.url is not None:
        try:
            read_url(body.url, WebhookRules.of(backend.settings))
        except WebhookRefused as error:
            raise WebhookRefused.at("/url", error.detail) from None
    events = [Event(name) for name in body.events]
    with backend.database.write() as session:
        row, made = put_webhook(
            session, webhook_id, caller=current_caller(), url=body.url, events=events, now=utc_now()
        )
        shown = webhook_out(session, row)
    if made is None:
        return json_answer(shown.model_dump(mode="json"))
    return _secretly(NewWebhookOut(**shown.model_dump(), secret=made.text))


@webhooks.delete("/webhooks/<webhook_id>")
@Operation(
    "Delete a webhook",
    "webhooks",
    answers={204: Answer("It is gone")},
    refusals=(MalformedRequest, NotFound, DatabaseUnavailable),
)
def delete(webhook_id: str) -> Response:
    """Delete a webhook with its secrets, what waits for it, and the log of what it was told."""
    refuse_body()
    with get_backend().database.write() as session:
        remove_webhook(session, get_webhook(session, webhook_id, caller=current_caller()))
    return Response(status=204)


@webhooks.post("/webhooks/<webhook_id>/secrets")
@Operation(
    "Replace a webhook's secret",
    "webhooks",
    answers={201: Answer("The new secret, with its text", (NewSecretOut,))},
    refusals=(MalformedRequest, NotFound, DatabaseUnavailable),
)
def rotate(webhook_id: str) -> Response:
    """Make a new secret. The one before stays valid for a day: messages have a signature of each."""
    refuse_body()
    with get_backend().database.write() as session:
        row = get_webhook(session, webhook_id, caller=current_caller())
        made = rotate_secret(session, row, now=utc_now())
        shown = new_secret_out(made)
    return _secretly(shown)


@webhooks.delete("/webhooks/<webhook_id>/secrets/<secret_id>")
@Operation(
    "End a webhook's old secret",
    "webhooks",
    answers={204: Answer("It is of no use any more")},
    refusals=(MalformedRequest, NotFound, InvalidState, DatabaseUnavailable),
)
def end_old_secret(webhook_id: str, secret_id: str) -> Response:
    """End a secret at once that another one has replaced, as when it has leaked."""
    refuse_body()
    with get_backend().database.write() as session:
        row = get_webhook(session, webhook_id, caller=current_caller())
        end_secret(session, row, secret_id, now=utc_now())
    return Response(status=204)


@webhooks.get("/deliveries")
@Operation(
    "List what webhooks were told",
    "webhooks",
    answers={200: Answer("A page of messages, newest first", (DeliveriesOut,))},
    refusals=(MalformedRequest, NotFound, DatabaseUnavailable),
    parameters=(
        Parameter("job_id", "Only of this job"),
        Parameter("webhook_id", "Only to this webhook"),
        Parameter("state", "Only those at this state", schema={"type": "string", "enum": _STATES}),
        *query_parameters(PageQuery),
        Parameter("page_token", "`next_page_token` of the page before"),
    ),
)
def index_deliveries() -> Response:
    """List what your webhooks were told, or are to be told; it is kept for a week as a rule."""
    query, asked, caller = read_query(PageQuery, request.args), request.args, current_caller()
    state = asked.get("state")
    if state is not None and state not in _STATES:
        raise MalformedRequest.at("/state", f"state is '{state[:100]}'; allowed are {', '.join(_STATES)}")
    with get_backend().database.read() as session:
        named = asked.get("webhook_id")
        rows = list_deliveries(
            session,
            caller=caller,
            job_id=asked.get("job_id"),
            webhook_id=None if named is None else get_webhook(session, named, caller=caller).id,
            state=None if state is None else State(state),
            before=asked.get("page_token"),
            limit=query.page_size + 1,
        ).all()
        names = {row.id: row.name for row in list_webhooks(session, caller=caller)}
        shown = [delivery_out(row, names.get(row.webhook_id)) for row in rows[: query.page_size]]
    token = shown[-1].id if len(rows) > query.page_size else None
    return json_answer(DeliveriesOut(deliveries=shown, next_page_token=token).model_dump(mode="json"))


@webhooks.get("/deliveries/<delivery_id>")
@Operation(
    "Read what a webhook was told",
    "webhooks",
    answers={200: Answer("The message, with its attempts", (DeliveryLogOut,))},
    refusals=(NotFound, DatabaseUnavailable),
)
def read_delivery(delivery_id: str) -> Response:
    """Read one message: what is sent, and what was answered."""
    with get_backend().database.read() as session:
        shown = _log_out(session, _get_delivery(session, delivery_id))
    return json_answer(shown.model_dump(mode="json"))


@webhooks.post("/deliveries/<delivery_id>/redeliver")
@Operation(
    "Send a message again",
    "webhooks",
    answers={202: Answer("It is sent again, with the same id and body", (DeliveryOut,))},
    refusals=(MalformedRequest, NotFound, InvalidState, DatabaseUnavailable),
)
def redeliver(delivery_id: str) -> Response:
    """Send a message again, whatever became of it, for a day; to the address that the webhook has now."""
    refuse_body()
    with get_backend().database.write() as session:
        shown = send_again_as_asked(session, delivery_id)
    return json_answer(shown.model_dump(mode="json"), 202, headers={"Location": _delivery_url(delivery_id)})


def send_again_as_asked(session: Session, delivery_id: str) -> DeliveryOut:
    """Let a message of the caller be sent again, and return it as it is shown.

    Raises:
        NotFound: when there is none.
        InvalidState: when its webhook has ended, or has no address.
    """
    row = _get_delivery(session, delivery_id)
    webhook = session.get_one(WebhookRow, row.webhook_id)
    if webhook.ended_at is not None or webhook.url is None:
        raise InvalidState("its receiver is gone: put the webhook again first, with an address")
    send_again(row, now=utc_now())
    return delivery_out(row, webhook.name)


def webhook_out(session: Session, row: WebhookRow) -> WebhookOut:
    """Return a webhook as it is shown."""
    return WebhookOut.model_validate(
        {
            "id": row.name,
            "url": row.url,
            "events": _known(row.events),
            "created_at": row.created_at,
            "ended_at": row.ended_at,
            "secrets": [_secret_out(secret) for secret in valid_secrets(session, row, now=utc_now())],
        }
    )


def new_secret_out(made: NewSecret) -> NewSecretOut:
    """Return a secret that was made just now, with its text."""
    return NewSecretOut(**_secret_out(made.row).model_dump(), secret=made.text)


def delivery_out(row: Delivery, name: str | None) -> DeliveryOut:
    """Return a message as it is shown; `name` is that of its webhook."""
    return DeliveryOut.model_validate(
        {
            "id": row.id,
            "webhook_id": name,
            "receiver": row.receiver,
            "job_id": row.job_id,
            "job_version": row.job_version,
            "event": row.event,
            "state": row.state,
            "created_at": row.created_at,
            "attempts": row.attempts,
            "next_at": row.next_at,
        }
    )


def _log_out(session: Session, row: Delivery) -> DeliveryLogOut:
    webhook = session.get_one(WebhookRow, row.webhook_id)
    attempts = [_attempt_out(attempt) for attempt in list_attempts(session, row.id)]
    return DeliveryLogOut(**delivery_out(row, webhook.name).model_dump(), body=row.body, log=attempts)


def _attempt_out(row: DeliveryAttempt) -> DeliveryAttemptOut:
    return DeliveryAttemptOut(
        number=row.number,
        started_at=row.started_at,
        seconds=row.seconds,
        status=row.status,
        error=row.error,
        answer=row.answer,
    )


def _secret_out(row: WebhookSecretRow) -> SecretOut:
    return SecretOut(id=row.id, shown=shown_part(row), created_at=row.created_at, expires_at=row.expires_at)


def _known(words: str) -> list[str]:
    """Return the events among words; one of a later release is left out."""
    known = {event.value for event in Event}
    return [word for word in words.split() if word in known]


def _get_delivery(session: Session, delivery_id: str) -> Delivery:
    row = session.get(Delivery, delivery_id)
    if row is None or row.caller != current_caller():
        raise NotFound(f"there is no delivery '{delivery_id[:100]}'")
    return row


def _delivery_url(delivery_id: str) -> str:
    return link(f"{API_PATH}/deliveries/{delivery_id}")


def _secretly(shown: BaseModel) -> Response:
    """Return an answer that holds a secret, and that nobody keeps."""
    answer = json_answer(shown.model_dump(mode="json"), 201)
    answer.headers["Cache-Control"] = "no-store"
    return answer
