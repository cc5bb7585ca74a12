"""The fields and bodies of submit, change, retry, extend, fork and share, with their limits."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from sqlalchemy.orm import Session

from shared.status import DEFAULT_PRIORITY, HIGHEST_PRIORITY
from shared.texts import Whole, is_printable
from web.access.limits import require_priority
from web.assets.uploads import MAX_NAME_CHARS
from web.backend import Backend
from web.db.models import Job
from web.webhooks.addresses import MAX_URL_CHARS, WebhookRules
from web.webhooks.outbox import ENDS, Event
from web.webhooks.subscriptions import add_job_webhook, check_job_webhook

MAX_LABELS = 16
MAX_LABEL_KEY_CHARS = 63
MAX_LABEL_VALUE_CHARS = 255
#: 30 days: longer than any job should wait or run.
MAX_TIMEOUT_SECONDS = 30 * 86_400
#: A year: whoever wants a picture to be seen for ever puts it elsewhere.
MAX_SHARE_SECONDS = 365 * 86_400


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("must have no control character, and none that turns the text around")
    return text


_KEY_PATTERN = rf"^[a-z0-9_.\-]{{1,{MAX_LABEL_KEY_CHARS}}}$"


def _label_key(text: str) -> str:
    if not re.fullmatch(_KEY_PATTERN, text):
        raise ValueError(
            f"must be 1 to {MAX_LABEL_KEY_CHARS} characters, each a small letter, a digit, or one of . _ -"
        )
    return text


LabelKey = Annotated[
    str, AfterValidator(_label_key), WithJsonSchema({"type": "string", "pattern": _KEY_PATTERN})
]
LabelValue = Annotated[str, Field(max_length=MAX_LABEL_VALUE_CHARS), AfterValidator(_printable)]
#: 0 can wait longest, 9 goes first.
Priority = Annotated[
    Whole,
    Field(ge=0, le=HIGHEST_PRIORITY),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": HIGHEST_PRIORITY}),
]
Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS, allow_inf_nan=False)]
#: Values of `web.webhooks.outbox.Event`.
EventName = Literal[
    "job.succeeded", "job.failed", "job.canceled", "job.expired", "job.checkpoint", "job.progress"
]
#: Options as they were sent: `parse_options` judges them.
SentOptions = Annotated[Any, WithJsonSchema({"x-ref": "StyleOptions"})]


class JobWebhook(BaseModel):
    """An address that is told what becomes of one job, in place of your webhook `default`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    url: str = Field(max_length=MAX_URL_CHARS, description="An https address of a public machine")
    events: list[EventName] = Field(
        default_factory=lambda: [event.value for event in ENDS],
        min_length=1,
        max_length=20,
        description="What it is told of; as a rule how the job ended",
    )


class JobFields(BaseModel):
    """What there is beside pictures and options, of every new job."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS), AfterValidator(_printable)] | None = Field(
        None, description="For people, and for the name of the downloaded file"
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=MAX_LABELS,
        description=f"For finding jobs again; at most {MAX_LABELS}",
    )
    priority: Priority | None = Field(
        None,
        description=f"{HIGHEST_PRIORITY} goes first, 0 can wait longest; {DEFAULT_PRIORITY} is usual. "
        "Jobs of one priority go by their age",
    )
    queue_timeout_seconds: Timeout | None = Field(
        None, description="A job that no worker has started by then expires"
    )
    run_timeout_seconds: Timeout | None = Field(
        None, description="An attempt that runs for longer fails with the code `timeout`"
    )

    webhook: JobWebhook | None = Field(
        None,
        description="An address that is told what becomes of the job; signed with the secret of `default`",
    )

    def priority_within(self, most: int, *, usual: int = DEFAULT_PRIORITY) -> int:
        """Return the priority of a job that is added with these fields, where `most` is the highest allowed.

        Raises:
            PriorityNotAllowed: when a higher one is asked for.
        """
        if self.priority is None:
            return min(usual, most)
        require_priority(self.priority, most)
        return self.priority

    def deadline_columns(self, now: datetime) -> dict[str, datetime | float | None]:
        """Return the columns of a job that is added now with these fields."""
        wait = self.queue_timeout_seconds
        return {
            "queue_deadline": None if wait is None else now + timedelta(seconds=wait),
            "run_timeout_seconds": self.run_timeout_seconds,
        }

    def require_webhook(self, backend: Backend, *, caller: str, now: datetime) -> None:
        """Prove that the job's own address, if it brings one, may be told.

        Raises:
            WebhookRefused: when no webhook may go there.
            WebhookSecretMissing: when the caller has no secret that it could be signed with.
        """
        if self.webhook is not None:
            rules = WebhookRules.of(backend.settings)
            with backend.database.read() as session:
                check_job_webhook(session, self.webhook.url, caller=caller, rules=rules, now=now)

    def add_webhook(self, session: Session, job: Job, *, now: datetime) -> None:
        """Add the address that a job brings, if it brings one; it was proved."""
        if self.webhook is not None:
            events = [Event(name) for name in self.webhook.events]
            add_job_webhook(session, job.id, caller=job.caller, url=self.webhook.url, events=events, now=now)


def timeouts_of(job: Job) -> dict[str, float]:
    """Return in seconds what a job was given of its fields' timeouts: the reverse of `deadline_columns`."""
    wait = None if job.queue_deadline is None else (job.queue_deadline - job.created_at).total_seconds()
    seconds = {"queue_timeout_seconds": wait, "run_timeout_seconds": job.run_timeout_seconds}
    return {name: value for name, value in seconds.items() if value is not None}


class SubmitFields(JobFields):
    """The fields of a new job beside pictures and options."""

    kind: Literal["job", "draft"] = Field(
        "job",
        description="A `draft` is a quick look by the method `fast`: lists leave it out unless they are "
        "asked for it, and it is removed after a day unless it is kept",
    )
    replaces: str | None = Field(
        None, max_length=100, description="A draft of yours that this one replaces: it is canceled"
    )
    reuse: bool = Field(
        True,
        description="Whether the result of an earlier or running job of yours with the same pictures and "
        "options will do; false computes it anyway",
    )


class SubmitBody(SubmitFields):
    """A job whose pictures were uploaded before."""

    content: str = Field(description="Asset id of the picture whose content is kept")
    style: str = Field(description="Asset id of the picture whose style is taken")
    options: SentOptions = Field(default_factory=dict)


class RetryBody(BaseModel):
    """Where a retry begins."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    start: Literal["checkpoint", "zero"] = Field(
        "checkpoint", alias="from", description="The last checkpoint, or nothing but the pictures"
    )


class ExtendBody(BaseModel):
    """How much longer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    steps: Whole = Field(ge=1, description="How many steps more; all together as many as a job may have")


class ForkBody(JobFields):
    """A new job that begins with a checkpoint, or with a fast picture; what is not given is the parent's."""

    step: Annotated[Whole, Field(ge=1), WithJsonSchema({"type": "integer", "minimum": 1})] | None = Field(
        None,
        description="A step of which the parent keeps a checkpoint; a job of the method `fast` has none, and "
        "is forked without one",
    )
    options: SentOptions = Field(
        default_factory=dict,
        description="What is to be different. `size` cannot be, and `steps` must be more than `step`",
    )


class ChangeBody(BaseModel):
    """What is to be different of a job that has not begun; what is not given stays."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    priority: Priority | None = Field(None, description="Its new place in the queue")
    name: Annotated[str, Field(max_length=MAX_NAME_CHARS), AfterValidator(_printable)] | None = Field(
        None, description="Its new name; an empty one takes it away"
    )
    labels: dict[LabelKey, LabelValue] | None = Field(
        None, max_length=MAX_LABELS, description="All of its labels: those that are not given are gone"
    )


class ShareBody(BaseModel):
    """What a link shows, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    of: Literal["page", "output"] = Field(
        description="`page` is the job with its pictures, `output` the final picture alone"
    )
    expires_in_seconds: Whole = Field(
        7 * 86_400, ge=60, le=MAX_SHARE_SECONDS, description="From then on the link is of no use"
    )
