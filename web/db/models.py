"""The tables: jobs with their history, assets and idempotency keys; and the types for moments and JSON.

A value that cannot be read harms its own row alone: a query for many rows returns the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from shared.broker import DEFAULT_ROUTE
from shared.logs import get_logger
from shared.status import DEFAULT_PRIORITY, JobStatus

_log = get_logger(__name__)
#: What a stored moment is read as that is none.
UNREADABLE_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC without zone, since SQLite keeps none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - fixed by SQLAlchemy
        """Turn an aware moment into a naive one in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} names no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - as above
        """Turn a stored moment into an aware one."""
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return a reader that turns what is no moment into the beginning of 1970."""
        return _forgiving(super().result_processor(dialect, coltype), lambda _: UNREADABLE_MOMENT)


class UnreadableJson(str):
    """The text of a stored value that is no JSON. It is neither an object nor a list: who uses it fails."""

    __slots__ = ()


class StoredJson(TypeDecorator[Any]):
    """JSON; a text that is none is read as `UnreadableJson`."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the reader."""
        return _forgiving(super().result_processor(dialect, coltype), lambda value: UnreadableJson(value))


class StoredNumber(TypeDecorator[float]):
    """A number; what is none is read as 0."""

    impl = Double
    cache_ok = True

    def process_result_value(self, value: object, dialect: Dialect) -> float | None:  # noqa: ARG002 - fixed by SQLAlchemy
        """Return the number."""
        if value is None or isinstance(value, int | float):
            return value
        _log.error("value_unreadable", value=repr(value)[:200], reason="it is no number")
        return 0.0


def _forgiving(
    read: Callable[[Any], Any] | None, replace: Callable[[object], object]
) -> Callable[[Any], Any] | None:
    if read is None:
        return None

    def process(value: object) -> object:
        try:
            return read(value)
        except (ValueError, TypeError) as error:
            _log.error("value_unreadable", value=repr(value)[:200], reason=str(error))
            return replace(value)

    return process


class Base(DeclarativeBase):
    """Every table's base; constraints are named, so that migrations can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: StoredJson,
        list[dict[str, Any]]: StoredJson,
        list[list[float]]: StoredJson,
    }


class InstallationRow(Base):
    """The identity of this installation, in one row; its storage carries the same id."""

    __tablename__ = "installation"

    id: Mapped[str] = mapped_column(primary_key=True)
    #: Whether the storage was seen with this id. Until then its file may still have to be written.
    is_confirmed: Mapped[bool] = mapped_column(default=False)
    #: Whether nodes of the first release may still be at work, under names without an id.
    from_first_release: Mapped[bool] = mapped_column(default=False)
    #: Whether there was a token once: from then on every request needs one, though all of them may be gone.
    needs_token: Mapped[bool] = mapped_column(default=False, server_default="0")
    #: What share links are signed with; empty until the first one is made.
    share_secret: Mapped[str | None]
    created_at: Mapped[datetime]
    #: Until then a backup holds all files.
    held_until: Mapped[datetime | None]
    #: When an older database was put back, and the moment after which it knows nothing.
    restored_at: Mapped[datetime | None]
    known_until: Mapped[datetime | None]


class TokenRow(Base):
    """A token, without its text: whose it is, what it may do, until when. One that was revoked stays."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    caller: Mapped[str]
    #: Names of `web.access.tokens.Scope`, with spaces between.
    scopes: Mapped[str]
    #: How it begins.
    shown: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class SessionRow(Base):
    """A browser that is signed in with a token; its cookie holds what this has the SHA-256 of."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    token_id: Mapped[str] = mapped_column(ForeignKey("tokens.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Asset(Base):
    """An uploaded picture; the same bytes from the same caller are the same asset."""

    __tablename__ = "assets"
    __table_args__ = (
        UniqueConstraint("caller", "sha256"),
        # For lists: a caller's pictures in order, and the starred ones.
        Index("ix_assets_caller_id", "caller", "id"),
        Index("ix_assets_caller_starred_at", "caller", "starred_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    filename: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime]
    #: A picture with a star is kept, whether a job uses it or not.
    starred_at: Mapped[datetime | None]


class JobEvent(Base):
    """One entry of a job's history, never changed; `sequence` counts from 1 and is the event stream's id."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    #: status, attempt, checkpoint or output
    type: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class JobAttempt(Base):
    """One attempt: its worker, the step it resumed from, and its outcome (empty while it runs)."""

    __tablename__ = "job_attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str | None]
    device: Mapped[str | None]
    resumed_from_step: Mapped[int | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    #: What decides its bytes beside the job, and whether all steps until its end, also earlier ones, were so.
    numerics: Mapped[str | None]
    is_exact: Mapped[bool | None]


class JobCheckpoint(Base):
    """One checkpoint: the keys of its state and its picture, and the losses of its step and those before.

    One that has given up its state (`web/jobs/thinning.py`) has no key for it, and keeps all else.
    """

    __tablename__ = "job_checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    key: Mapped[str]
    picture_key: Mapped[str]
    sha256: Mapped[str]
    losses: Mapped[dict[str, Any]]
    #: [step, total, content, style] of each step since the previous checkpoint of the same attempt.
    curve: Mapped[list[list[float]]] = mapped_column(default=list, server_default="[]")
    #: What it was computed with, and has to be gone on with for the same bytes.
    numerics: Mapped[str | None]
    created_at: Mapped[datetime]

    @property
    def has_state(self) -> bool:
        """Whether a job can go on from it."""
        return bool(self.key)


class InboxEntry(Base):
    """The id of an applied report, so that it is not applied twice."""

    __tablename__ = "inbox"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)


class IdempotencyKey(Base):
    """One key of a caller: the hash of its request, and the answer once there is one."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    #: SHA-256 of the request, to tell a repeat from another request with the same key.
    request_sha256: Mapped[str]
    #: status, headers and body; empty while the first request is still being answered.
    answer: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(index=True)


def _partial(name: str, *columns: str, where: str) -> Index:
    """Return an index of some rows. It answers a query that has the condition in the same words."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


#: What waits for a worker, of all kinds; its place in the line is counted by this index.
IN_LINE_WORDS = "status = 'queued' AND leader_id IS NULL"
ENDED_WELL_WORDS = "status = 'succeeded' AND started_at IS NOT NULL"
#: Its seconds cover all of its steps.
COMPLETE_RUN_WORDS = (
    "status = 'succeeded' AND kind = 'job' AND attempt = 1 AND resumed_from_step IS NULL AND origin IS NULL"
)


class Job(Base):
    """A job. `version` is the number of its last event; `attempt` is its current one, and the fence."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_created_at", "status", "created_at"),
        # For lists: the jobs in order, those of one status, and the counts of all.
        Index("ix_jobs_caller_kind_id", "caller", "kind", "id"),
        Index("ix_jobs_caller_kind_status_id", "caller", "kind", "status", "id"),
        # For lists of what is younger than a moment.
        Index("ix_jobs_age", "caller", "kind", "created_at", "id"),
        # For estimates: the last succeeded jobs. For the pruner: jobs that ended long ago.
        Index("ix_jobs_status_completed_at", "status", "completed_at"),
        # For what became of the waits that were told.
        Index("ix_jobs_started_at", "started_at"),
        # For reuse: the job that was started last, with the current weights and engine version.
        Index("ix_jobs_route_started_at", "route", "started_at"),
        # For deadlines: those that are over, however much is queued.
        Index("ix_jobs_status_queue_deadline", "status", "queue_deadline"),
        # For the dispatcher: what is due, in the order of the queue, and what lies in the broker.
        Index(
            "ix_jobs_queue",
            *("status", "leader_id", "route", "dispatched_at"),
            *("queue_rank", "virtual_start", "created_at", "id"),
        ),
        # For places in the queue, and for how many wait since when.
        _partial(
            "ix_jobs_line", "route", "queue_rank", "virtual_start", "created_at", "id", where=IN_LINE_WORDS
        ),
        # For fairness: the first and the last that waits of a caller.
        _partial("ix_jobs_flow", "caller", "route", "queue_rank", "virtual_start", where=IN_LINE_WORDS),
        _partial("ix_jobs_waiting", "kind", "queued_at", where=IN_LINE_WORDS),
        # For estimates: the last runs of each route.
        _partial("ix_jobs_recent", "route", "completed_at", where=ENDED_WELL_WORDS),
        _partial("ix_jobs_runs", "route", "created_at", where=COMPLETE_RUN_WORDS),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    caller: Mapped[str]
    #: See `shared.status.JobKind`.
    kind: Mapped[str] = mapped_column(default="job", server_default="job")
    name: Mapped[str]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    version: Mapped[int]
    attempt: Mapped[int]
    #: How many workers may be lost since the submit, or the last resume, retry or extend.
    max_attempts: Mapped[int]
    lost_workers: Mapped[int] = mapped_column(default=0, server_default="0")
    #: The first attempt whose checkpoints may be resumed from.
    checkpoints_since: Mapped[int] = mapped_column(default=1, server_default="1")
    #: job_id, step, key, sha256 of the checkpoint that a forked or extended job starts from.
    origin: Mapped[dict[str, Any] | None] = mapped_column(StoredJson(none_as_null=True))
    #: SHA-256 of all that decides the result, except weights and engine version.
    work_sha256: Mapped[str | None] = mapped_column(index=True)
    #: The job with the same work that this one waits for, or whose result it got.
    leader_id: Mapped[str | None] = mapped_column(index=True)
    #: A job still queued at this moment expires.
    queue_deadline: Mapped[datetime | None]
    run_timeout_seconds: Mapped[float | None]
    #: 0 can wait longest, 9 goes first.
    priority: Mapped[int] = mapped_column(default=DEFAULT_PRIORITY)
    #: Which nodes may take it: see `shared.broker.ROUTES`.
    route: Mapped[str] = mapped_column(default=DEFAULT_ROUTE, server_default="any")
    #: Lower goes first, then what has the lower virtual start: see `web.jobs.routing.queue_rank`.
    queue_rank: Mapped[int] = mapped_column(default=0, server_default="0")
    #: In seconds of its caller's flow: see `web.jobs.fairness`. Then what is older goes first.
    virtual_start: Mapped[float] = mapped_column(StoredNumber, default=0.0, server_default="0")
    #: The device seconds that it was reckoned with when it was submitted.
    estimated_seconds: Mapped[float] = mapped_column(StoredNumber, default=0.0, server_default="0")
    batch_id: Mapped[str | None] = mapped_column(index=True)
    content_asset_id: Mapped[str] = mapped_column(ForeignKey("assets.id"), index=True)
    style_asset_id: Mapped[str] = mapped_column(ForeignKey("assets.id"), index=True)
    options: Mapped[dict[str, Any]]
    #: name, sha256, notice of the weights in use; set by the claim.
    weights: Mapped[dict[str, Any] | None]
    engine_version: Mapped[str | None]
    #: What the checkpoint that it would go on from, or its result, was computed with.
    numerics: Mapped[str | None]
    #: Whether all its steps were; None where nobody knows.
    is_exact: Mapped[bool | None]
    #: The numerics whose nodes alone see its message, since it was last sent.
    pinned_to: Mapped[str | None]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    #: When the message of this attempt was sent to the broker; empty while it is due.
    dispatched_at: Mapped[datetime | None]
    #: How often a message was sent: one that was may lie in the broker.
    sends: Mapped[int] = mapped_column(default=0, server_default="1")
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    worker_id: Mapped[str | None]
    device: Mapped[str | None]
    resumed_from_step: Mapped[int | None]
    #: The step of the last checkpoint or result, and the losses there.
    step: Mapped[int] = mapped_column(default=0)
    losses: Mapped[dict[str, Any] | None]
    outputs: Mapped[list[dict[str, Any]]]
    error: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, Any]]
    #: The trace of the request that submitted it, as `shared.trace` has it; None of an older release.
    traceparent: Mapped[str | None]

    content: Mapped[Asset] = relationship(foreign_keys=content_asset_id, lazy="joined")
    style: Mapped[Asset] = relationship(foreign_keys=style_asset_id, lazy="joined")
    labels: Mapped[list[JobLabel]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="selectin", order_by="JobLabel.key"
    )

    @property
    def job_status(self) -> JobStatus:
        """The status as its type."""
        return JobStatus(self.status)


class Flow(Base):
    """What the jobs of one caller in one line at one priority have got, in virtual seconds.

    See `web.jobs.fairness`. `line` is the first route of the line.
    """

    __tablename__ = "flows"
    __table_args__ = (Index("ix_flows_virtual_start", "line", "priority", "virtual_start"),)

    line: Mapped[str] = mapped_column(primary_key=True)
    priority: Mapped[int] = mapped_column(primary_key=True)
    caller: Mapped[str] = mapped_column(primary_key=True)
    #: The virtual time of its line and priority when a job of it began last.
    virtual_start: Mapped[float] = mapped_column(default=0.0)
    #: Where what it has begun ends.
    virtual_finish: Mapped[float] = mapped_column(default=0.0)


class MetricTotal(Base):
    """A number that only grows, however many rows of jobs are removed: see `web.db.totals`."""

    __tablename__ = "metric_totals"

    name: Mapped[str] = mapped_column(primary_key=True)
    #: A JSON object of the labels, by name.
    labels: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


class JobLabel(Base):
    """One label of a job: a key and a value that the caller chose.

    It comes with the job, in the same transaction, and goes with it, or is changed by `write_change`:
    `web.jobs.counts` relies on that.
    """

    __tablename__ = "job_labels"
    __table_args__ = (Index("ix_job_labels_key_value_job_id", "key", "value", "job_id"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class JobShare(Base):
    """The version that the share links of a job have to name; of a job that is not here it is 1.

    There is no row for a link: raising the version revokes all links of the job.
    """

    __tablename__ = "job_shares"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int]


class JobName(Base):
    """What search reads of a job that has a name; the name in small letters, as Python makes them.

    SQLite's triggers keep it, and the index `job_search` of its names: see `web/db/derived.py`. On another
    database it is empty.
    """

    __tablename__ = "job_names"
    __table_args__ = (
        UniqueConstraint("job_id"),
        # All that a search reads, newest jobs at one end.
        Index("ix_job_names_newest", "caller", "kind", "job_id", "status", "name"),
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str]
    caller: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str]
    name: Mapped[str]


class JobChange(Base):
    """One change of what lists count: a job came, moved or went; SQLite's triggers write it.

    `kind_before` and `status_before` are empty of a job that came, the others of one that went. Without a
    `job_id` something has changed that the other columns do not tell. Sequences have no gaps; only the newest
    some thousands are kept.
    """

    __tablename__ = "job_changes"

    sequence: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str | None]
    caller: Mapped[str | None]
    kind_before: Mapped[str | None]
    status_before: Mapped[str | None]
    kind_after: Mapped[str | None]
    status_after: Mapped[str | None]
