"""The outbox: messages that are written in the transaction of what they tell of, and the log of them.

What is written there is the job's row as it is at that moment. It becomes the message's body when it is first
looked at, by whoever can show a job; from then on the body stays, so that no receiver is told one thing twice
in different words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    DateTime,
    ScalarResult,
    and_,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from shared.protocol import new_id
from shared.status import JobKind, JobStatus
from web.db.models import Asset, Base, Job, JobLabel, UtcDateTime
from web.db.totals import Total, add
from web.db.webhook_models import Delivery, DeliveryAttempt, WebhookRow
from web.webhooks.message import LONGEST_WAIT, LONGEST_WAITS, Answer, NextStep, State

#: The webhook of a caller whose secrets sign what goes to the addresses that jobs bring, in its place.
DEFAULT_NAME = "default"
#: How long a message is tried again.
TRIED_FOR = timedelta(days=1)
_ID_PREFIX = "msg_"
_KNOWN = "callers with webhooks"
# A text: each checkpoint and each end of any job asks it, and as a rule there is none.
_ANY = text("SELECT 1 FROM webhooks WHERE caller = :caller AND ended_at IS NULL LIMIT 1")
_ANSWER_CHARS = 1024


class Event(StrEnum):
    """What a webhook is told of."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"
    CHECKPOINT = "job.checkpoint"
    #: At most every five seconds, and tried once.
    PROGRESS = "job.progress"


#: What is told when nothing else is asked for.
ENDS = (Event.SUCCEEDED, Event.FAILED, Event.CANCELED, Event.EXPIRED)


def events_of(before: JobStatus, after: JobStatus, entries: Sequence[str]) -> list[Event]:
    """Return what a change of a job tells, by the types of its new history entries."""
    told = [Event.CHECKPOINT for entry in entries if entry == "checkpoint"]
    if after.is_final and not before.is_final:
        told.append(Event(f"job.{after.value}"))
    return told


def note_events(session: Session, job: Job, events: Sequence[Event], *, now: datetime) -> None:
    """Write a message for each event and webhook; `job` has its new values."""
    if not events or not _has_webhooks(session, job.caller):
        return
    for webhook in webhooks_of(session, job):
        known = webhook.events.split()
        for event in events:
            if event.value in known:
                add_delivery(session, webhook, job, event, snapshot=take_snapshot(job), now=now)


def _has_webhooks(session: Session, caller: str) -> bool:
    """Whether a caller has any: asked once in a transaction, in which nobody else can make one."""
    known: dict[str, bool] = session.info.setdefault(_KNOWN, {})
    if caller not in known:
        known[caller] = session.connection().execute(_ANY, {"caller": caller}).first() is not None
    return known[caller]


def note_webhook(session: Session, webhook: WebhookRow) -> None:
    """Add a webhook, or a change of one, of which what this transaction does next is to be told."""
    session.add(webhook)
    session.flush()
    session.info.pop(_KNOWN, None)


def webhooks_of(session: Session, job: Job) -> list[WebhookRow]:
    """Return the webhooks that are told of a job: its own, and those of its caller.

    Its own takes the place of the caller's default. Of a draft only its own is told.
    """
    rows = session.scalars(
        select(WebhookRow).where(
            WebhookRow.caller == job.caller,
            or_(WebhookRow.job_id.is_(None), WebhookRow.job_id == job.id),
            WebhookRow.ended_at.is_(None),
            WebhookRow.url.is_not(None),
        )
    ).all()
    own = [row for row in rows if row.job_id is not None]
    if job.kind != JobKind.JOB.value:
        return own
    return own + [row for row in rows if row.job_id is None and not (own and row.name == DEFAULT_NAME)]


def add_delivery(
    session: Session,
    webhook: WebhookRow,
    job: Job,
    event: Event,
    *,
    snapshot: dict[str, Any] | None = None,
    body: str | None = None,
    now: datetime,
) -> Delivery:
    """Write a message that is due now, with what becomes its body, or with its body."""
    delivery = Delivery(
        id=_ID_PREFIX + new_id(),
        caller=webhook.caller,
        webhook_id=webhook.id,
        receiver=receiver_of(webhook.url or ""),
        job_id=job.id,
        job_version=job.version,
        event=event.value,
        created_at=now,
        snapshot=snapshot,
        body=body,
        state=State.PENDING.value,
        attempts=0,
        next_at=now,
        until=now + TRIED_FOR,
    )
    session.add(delivery)
    return delivery


def receiver_of(url: str) -> str:
    """Return what of an address says whose machine it is: all up to its path."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].lower()}"


def take_snapshot(job: Job) -> dict[str, Any]:
    """Return a job's row with its pictures and labels as JSON; `restore_snapshot` is the reverse."""
    return {
        "job": _columns(job),
        "content": _columns(job.content),
        "style": _columns(job.style),
        "labels": {label.key: label.value for label in job.labels},
    }


def restore_snapshot(snapshot: Mapping[str, Any]) -> Job:
    """Return the job that a snapshot was taken of, as an object of no session.

    Columns that this release does not know are passed over; those that another one did not have are empty.
    """
    job = Job(**_values(Job, snapshot["job"]))
    job.content = Asset(**_values(Asset, snapshot["content"]))
    job.style = Asset(**_values(Asset, snapshot["style"]))
    job.labels = [JobLabel(key=key, value=value) for key, value in snapshot["labels"].items()]
    return job


def _columns(row: Base) -> dict[str, Any]:
    values = {column.key: getattr(row, column.key) for column in row.__table__.columns}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }


def _values(table: type[Base], stored: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column in table.__table__.columns:
        value = stored.get(column.key, getattr(column.default, "arg", None))
        is_moment = isinstance(getattr(column.type, "impl", column.type), DateTime)
        values[column.key] = datetime.fromisoformat(value) if is_moment and value is not None else value
    return values


@dataclass(frozen=True)
class DueMessage:
    """A message that is to be sent: read, and held by no session."""

    delivery: Delivery
    webhook: WebhookRow


def find_due(
    session: Session, *, busy: Mapping[str, int], most_each: int, except_for: Sequence[str], now: datetime
) -> list[DueMessage]:
    """Return the messages that are due, oldest first, of each receiver as many as it may have at once.

    Args:
        session: Reads.
        busy: How many are on their way already, by receiver.
        most_each: How many a receiver may have on their way at once.
        except_for: The ids of those that are on their way.
        now: The present.
    """
    found: list[DueMessage] = []
    for receiver in _receivers(session):
        room = most_each - busy.get(receiver, 0)
        if room <= 0:
            continue
        query = (
            select(Delivery, WebhookRow)
            .join(WebhookRow, WebhookRow.id == Delivery.webhook_id)
            .where(_PENDING, Delivery.receiver == receiver, _is_due(now))
            .where(Delivery.id.not_in(except_for))
            .order_by(Delivery.next_at, Delivery.id)
            .limit(room)
        )
        found += [DueMessage(delivery, webhook) for delivery, webhook in session.execute(query)]
    return found


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a message's time has come.

    The clock may have been wrong when that was written: then it is later than any message waits, or the last
    attempt has yet to come. That is looked up only of those that wait for longer than they do as a rule.
    """
    usual = {number: literal(now + wait, UtcDateTime) for number, wait in LONGEST_WAITS.items()}
    waits_long = Delivery.next_at > case(usual, value=Delivery.attempts, else_=now + LONGEST_WAIT)
    is_from_a_wrong_clock = or_(
        Delivery.next_at > now + LONGEST_WAIT,
        and_(waits_long, _LAST_ATTEMPT.where(DeliveryAttempt.started_at > now).exists()),
    )
    return or_(Delivery.next_at <= now, Delivery.attempts == 0, is_from_a_wrong_clock)


_LAST_ATTEMPT = select(DeliveryAttempt.number).where(
    DeliveryAttempt.delivery_id == Delivery.id, DeliveryAttempt.number == Delivery.attempts
)
_PENDING = Delivery.state == State.PENDING.value


def _receivers(session: Session) -> Iterator[str]:
    """Yield who has messages waiting, one look at the index for each."""
    last = ""
    while True:
        query = select(Delivery.receiver).where(_PENDING, Delivery.receiver > last)
        receiver = session.scalar(query.order_by(Delivery.receiver).limit(1))
        if receiver is None:
            return
        yield receiver
        last = receiver


@dataclass(frozen=True)
class Backlog:
    """How many messages are still to be sent, and when the first of them came."""

    count: int = 0
    oldest: datetime | None = None


def count_pending(session: Session) -> Backlog:
    """Return how many messages are still to be sent."""
    count, oldest = session.execute(select(func.count(), func.min(Delivery.created_at)).where(_PENDING)).one()
    return Backlog(count, oldest)


def next_moment(session: Session, *, after: datetime) -> datetime | None:
    """Return when the first message is due after a moment; None when none is."""
    moments = []
    for receiver in _receivers(session):
        query = select(Delivery.next_at).where(
            _PENDING, Delivery.receiver == receiver, Delivery.next_at > after
        )
        moments.append(session.scalar(query.order_by(Delivery.next_at).limit(1)))
    return min((moment for moment in moments if moment is not None), default=None)


def keep_body(session: Session, delivery_id: str, body: str) -> None:
    """Store what a message says, in place of what it was made of."""
    session.execute(update(Delivery).where(Delivery.id == delivery_id).values(body=body, snapshot=None))


def note_attempt(
    session: Session,
    delivery: Delivery,
    answer: Answer,
    step: NextStep,
    *,
    started_at: datetime,
    seconds: float,
    now: datetime,
) -> None:
    """Write what came of an attempt, and what becomes of the message, and of its webhook."""
    number = delivery.attempts + 1
    session.merge(
        DeliveryAttempt(
            delivery_id=delivery.id,
            number=number,
            started_at=started_at,
            seconds=round(seconds, 3),
            status=answer.status,
            error=answer.error,
            answer=answer.text[:_ANSWER_CHARS],
        )
    )
    session.execute(
        update(Delivery)
        .where(Delivery.id == delivery.id)
        .values(attempts=number, state=step.state.value, next_at=step.next_at)
    )
    add(session, Total.DELIVERY_ATTEMPTS, result=_result_of(answer, step))
    if step.state is not State.PENDING:
        add(session, Total.MESSAGES_ENDED, state=step.state.value)
    if step.ends_webhook:
        end_webhook(session, delivery.webhook_id, now=now)


def _result_of(answer: Answer, step: NextStep) -> str:
    """Return what metrics call an attempt: `delivered`, the class of the answer, or `no_answer`."""
    if step.state is State.DELIVERED:
        return State.DELIVERED.value
    return "no_answer" if answer.status is None else f"{answer.status // 100}xx"


def end_webhook(session: Session, webhook_id: str, *, now: datetime) -> None:
    """Send nothing more to a webhook: what waits for it is dropped."""
    session.execute(update(WebhookRow).where(WebhookRow.id == webhook_id).values(ended_at=now))
    dropped = session.execute(
        update(Delivery)
        .where(Delivery.webhook_id == webhook_id, _PENDING)
        .values(state=State.DROPPED.value, next_at=None)
    )
    count = cast(CursorResult[Any], dropped).rowcount
    add(session, Total.MESSAGES_ENDED, count, state=State.DROPPED.value)


def send_again(delivery: Delivery, *, now: datetime) -> None:
    """Let a message be tried anew, from now on for a day."""
    delivery.state, delivery.next_at, delivery.until = State.PENDING.value, now, now + TRIED_FOR


def list_deliveries(
    session: Session,
    *,
    caller: str,
    job_id: str | None = None,
    webhook_id: str | None = None,
    state: State | None = None,
    before: str | None = None,
    limit: int,
) -> ScalarResult[Delivery]:
    """Return a caller's messages, newest first; `before` is the id after which a page begins."""
    query = select(Delivery).where(Delivery.caller == caller)
    if job_id is not None:
        query = query.where(Delivery.job_id == job_id)
    if webhook_id is not None:
        query = query.where(Delivery.webhook_id == webhook_id)
    if state is not None:
        query = query.where(Delivery.state == state.value)
    if before is not None:
        query = query.where(Delivery.id < before)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(limit))


def list_attempts(session: Session, delivery_id: str) -> ScalarResult[DeliveryAttempt]:
    """Return the attempts of a message, first to last."""
    query = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery_id)
    return session.scalars(query.order_by(DeliveryAttempt.number))


def last_attempts(session: Session, deliveries: Iterable[Delivery]) -> dict[str, DeliveryAttempt]:
    """Return by id the last attempt of those messages that were tried, in one question."""
    ids = [delivery.id for delivery in deliveries]
    query = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(ids))
    return {row.delivery_id: row for row in session.scalars(query.order_by(DeliveryAttempt.number))}


def remove_old(session: Session, *, before: datetime, limit: int) -> int:
    """Remove messages that ended and were made before a moment; return how many.

    With them go the webhooks of single jobs that nothing is to be told of any more.
    """
    ended = [state.value for state in State if state is not State.PENDING]
    old = select(Delivery.id).where(Delivery.state.in_(ended), Delivery.created_at < before).limit(limit)
    ids = list(session.scalars(old))
    session.execute(delete(Delivery).where(Delivery.id.in_(ids)))
    is_over = and_(
        WebhookRow.job_id.is_not(None),
        WebhookRow.created_at < before,
        ~select(Delivery.id).where(Delivery.webhook_id == WebhookRow.id).exists(),
        ~select(Job.id).where(Job.id == WebhookRow.job_id).exists(),
    )
    gone = list(session.scalars(select(WebhookRow.id).where(is_over).limit(limit)))
    session.execute(delete(WebhookRow).where(WebhookRow.id.in_(gone)))
    return len(ids) + len(gone)
