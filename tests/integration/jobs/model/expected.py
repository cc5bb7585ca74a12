"""What is expected of a job: an independent model, written from the design's table, of the rules of its row.

Knows the product's words for statuses and reports, and nothing of its code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

STATUSES = ("queued", "running", "canceling", "paused", "succeeded", "failed", "canceled", "expired")
FINAL = ("succeeded", "failed", "canceled", "expired")
HELD = ("running", "canceling")

REPORTS = ("claimed", "succeeded", "failed", "canceled", "released", "paused")
REQUESTS = ("cancel", "pause", "resume", "retry", "extend")
CONTROL = ("expire", "lease_lost", "attempts_exhausted")

#: Rows: the status before. Columns: reports, requests and control's triggers, in the order above.
GRID = """
queued    : running   succeeded failed    -        queued   -        | canceled  paused  -      -      -      | expired -        -
running   : running   succeeded failed    -        queued   paused   | canceling running -      -      -      | -       queued   failed
canceling : canceling succeeded failed    canceled canceled canceled | canceling -       -      -      -      | -       canceled canceled
paused    : -         -         -         -        -        -        | canceled  paused  queued -      -      | -       -        -
succeeded : -         -         -         -        -        -        | -         -       -      -      queued | -       -        -
failed    : -         -         -         -        -        -        | -         -       -      queued -      | -       -        -
canceled  : -         -         -         -        -        -        | canceled  -       -      queued -      | -       -        -
expired   : -         -         -         -        -        -        | -         -       -      queued -      | -       -        -
"""  # noqa: E501 - a table


def read_grid() -> dict[tuple[str, str], str]:
    """Return the status that follows, by status and trigger; what is not there must be refused."""
    table = {}
    for line in GRID.strip().splitlines():
        status, cells = line.split(":")
        for trigger, after in zip(REPORTS + REQUESTS + CONTROL, cells.replace("|", "").split(), strict=True):
            if after != "-":
                table[status.strip(), trigger] = after
    return table


TABLE = read_grid()
#: Requests that change nothing, not even the reason, of a job at this status.
ASKED_BEFORE = (("cancel", "canceling"), ("cancel", "canceled"), ("pause", "paused"))


class Refused(Exception):
    """The request is not possible in this status."""


class NotKept(Exception):
    """The checkpoint that the request needs is not there."""


@dataclass
class Expected:
    """One job as it ought to be."""

    max_attempts: int
    steps: int
    deadline: datetime | None = None
    status: str = "queued"
    reason: str | None = None
    attempt: int = 1
    lost_workers: int = 0
    step: int = 0
    checkpoints: dict[int, int] = field(default_factory=dict)
    checkpoints_since: int = 1
    origin_step: int | None = None
    output_attempt: int | None = None
    is_dispatched: bool = False
    is_started: bool = False
    worker: str | None = None
    seen: set[str] = field(default_factory=set)
    history: list[str] = field(default_factory=lambda: ["queued"])

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def report(
        self, kind: str, attempt: int, event_id: str, *, step: int = 0, worker: str | None = None
    ) -> bool:
        """Take a worker's report; return whether it may change anything."""
        if event_id in self.seen:
            return False
        self.seen.add(event_id)
        if attempt != self.attempt or self.is_final:
            return False
        if kind == "checkpointed":
            self.step, self.checkpoints[step] = step, attempt
            self.history.append("checkpoint")
            return True
        pausing = self.reason == "pausing"
        if kind == "released" and self.status == "running" and pausing:
            kind = "paused"
        if (self.status, kind) not in TABLE:
            return False
        self.is_started |= kind == "claimed"
        if kind == "claimed" and (self.status == "queued" or worker != self.worker):
            self.worker = worker
            self.history.append("attempt")
        if kind == "succeeded":
            self.history.append("output")
        if kind == "released":
            self.is_dispatched = False  # it is sent anew, before all others
        self._move(kind, {"released": "worker_drained", "claimed": "pausing" if pausing else None}.get(kind))
        if kind == "succeeded":
            self.step, self.output_attempt = step, attempt
        return True

    def request(self, name: str, *, from_zero: bool = False, more: int = 0) -> None:
        """Take what a person asks for; raise `Refused` or `NotKept` otherwise."""
        if name == "extend" and self.step not in self.checkpoints:
            raise NotKept if (self.status, name) in TABLE else Refused
        if (name, self.status) in ASKED_BEFORE or (name == "pause" and self.reason == "pausing"):
            return
        self._move(name, "pausing" if name == "pause" and self.status == "running" else None)
        if name in ("resume", "retry", "extend"):
            self._next_attempt()
            self.lost_workers, self.deadline = 0, None
        if name == "retry" and from_zero:
            self.checkpoints, self.step, self.checkpoints_since = {}, 0, self.attempt
            self.origin_step = None
        if name == "extend":
            self.origin_step, self.steps, self.checkpoints_since = self.step, self.steps + more, self.attempt

    def lose_worker(self) -> None:
        """Take it that nobody holds the lease, and that the attempt was not committed."""
        self.lost_workers += 1
        if self.status == "running" and self.reason == "pausing":
            self._move("paused", "worker_lost")
        elif self.status == "running" and self.lost_workers >= self.max_attempts:
            self._move("attempts_exhausted", "worker_lost")
        else:
            self._move("lease_lost", "worker_lost")
            if self.status == "queued":
                self._next_attempt()

    def expire(self, now: datetime) -> None:
        """Take it that control looks at the clock; a job that was started has kept its deadline."""
        is_over = self.deadline is not None and self.deadline <= now
        if self.status == "queued" and not self.is_started and is_over:
            self._move("expire", None)

    def _move(self, trigger: str, reason: str | None) -> None:
        if (self.status, trigger) not in TABLE:
            raise Refused
        before = self.status, self.reason
        self.status, self.reason = TABLE[self.status, trigger], reason
        if before != (self.status, self.reason):
            self.history.append(self.status)

    def _next_attempt(self) -> None:
        self.attempt += 1
        self.is_dispatched, self.worker = False, None
