"""Totals: numbers that only grow, written in the transaction of what they count.

A counter of Prometheus must not fall, and rows of jobs are removed after a while; so what is counted is
counted here when it happens. A transaction that is rolled back has counted nothing, one that is repeated
counts once, and a restart of any process changes nothing. Only a backup that is put back takes a total back
to what it was then, which Prometheus takes for a restart.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from web.db.models import MetricTotal

_KEY = "totals"
#: Both SQLite and PostgreSQL know it.
_ADD = text(
    "INSERT INTO metric_totals (name, labels, value) VALUES (:name, :labels, :value) "
    "ON CONFLICT (name, labels) DO UPDATE SET value = metric_totals.value + excluded.value"
)
#: The label of a histogram's bucket, and the one that has all.
_LIMIT, _ALL = "le", "+Inf"
#: What a histogram's rows are called beside its name.
_BUCKET, _SUM = "_bucket", "_sum"


class Total(StrEnum):
    """What is counted; the value is the metric's name without its prefix."""

    #: kind, method
    JOBS_SUBMITTED = "jobs_submitted_total"
    #: method, status
    JOBS_ENDED = "jobs_ended_total"
    #: method
    CLAIMS = "claims_total"
    LEASE_LOSSES = "lease_losses_total"
    #: method, reason: why there is another attempt
    RETRIES = "retries_total"
    #: method, reason
    HAND_BACKS = "hand_backs_total"
    #: method
    CHECKPOINTS = "checkpoints_total"
    STEPS = "steps_total"
    #: kept: whether the job began, or ended, between the moments that were told
    TOLD_WAITS = "told_waits_total"
    TOLD_ENDS = "told_ends_total"
    #: state
    MESSAGES_ENDED = "webhook_messages_ended_total"
    #: result
    DELIVERY_ATTEMPTS = "webhook_attempts_total"


class Spread(StrEnum):
    """What is counted by how long it took, in seconds: a histogram."""

    #: method: from the submission to the first start
    WAIT = "job_wait_seconds"
    #: device, method: the attempt that made the result
    RUN = "job_run_seconds"
    #: device, method: its mean over the steps of an attempt
    STEP = "step_seconds"
    #: What was told less what happened, whichever was longer: how far off the middle of the estimate was.
    WAIT_ERROR = "told_wait_error_seconds"
    END_ERROR = "told_end_error_seconds"


_LONG = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
_SHORT = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
#: The upper limits of the buckets, in seconds. They must not be changed: what was counted stays where it is.
LIMITS: dict[Spread, Sequence[float]] = {
    Spread.WAIT: _LONG,
    Spread.RUN: _LONG,
    Spread.STEP: _SHORT,
    Spread.WAIT_ERROR: _LONG,
    Spread.END_ERROR: _LONG,
}


def add(session: Session, total: Total, amount: float = 1, **labels: str) -> None:
    """Count something; it is written when the transaction ends, with all else that it counts."""
    if amount > 0:
        _note(session, total.value, labels, amount)


def observe(session: Session, spread: Spread, seconds: float, **labels: str) -> None:
    """Count something by how long it took; less than nothing, by clocks that differ, is nothing."""
    seconds = max(0.0, seconds)
    limits = LIMITS[spread]
    place = bisect_left(limits, seconds)
    limit = _ALL if place == len(limits) else f"{limits[place]:g}"
    _note(session, spread.value + _BUCKET, {**labels, _LIMIT: limit}, 1)
    _note(session, spread.value + _SUM, labels, seconds)


def _note(session: Session, name: str, labels: dict[str, str], amount: float) -> None:
    tally: dict[tuple[str, str], float] = session.info.setdefault(_KEY, {})
    key = name, json.dumps(labels, sort_keys=True)
    tally[key] = tally.get(key, 0) + amount


def write_totals(session: Session) -> None:
    """Write what this transaction has counted; called once, right before its commit."""
    tally: dict[tuple[str, str], float] = session.info.pop(_KEY, {})
    if tally:
        # In one order: two transactions that count the same must not wait for each other in a circle.
        rows = [
            {"name": name, "labels": labels, "value": amount}
            for (name, labels), amount in sorted(tally.items())
        ]
        session.connection().execute(_ADD, rows)


@dataclass(frozen=True)
class Counted:
    """One total as it stands, with its labels."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Histogram:
    """One histogram as it stands: (upper limit, how many up to it) in order, and the sum in seconds."""

    labels: dict[str, str]
    buckets: Sequence[tuple[str, float]]
    sum_seconds: float


class Totals:
    """All totals as they were read."""

    def __init__(self, rows: Sequence[tuple[str, str, float]]) -> None:
        """Take rows of the table: name, labels, value."""
        self._rows: dict[str, list[Counted]] = {}
        for name, labels, value in rows:
            self._rows.setdefault(name, []).append(Counted(_read_labels(labels), value))

    def of(self, total: Total) -> list[Counted]:
        """Return a total by its labels; nothing of what has never happened."""
        return self._rows.get(total.value, [])

    def histograms(self, spread: Spread) -> Iterator[Histogram]:
        """Yield a histogram by its labels."""
        for one in self._rows.get(spread.value + _SUM, []):
            found: dict[str, float] = {}
            for bucket in self._rows.get(spread.value + _BUCKET, []):
                rest = {name: value for name, value in bucket.labels.items() if name != _LIMIT}
                if rest == one.labels:
                    found[bucket.labels.get(_LIMIT, _ALL)] = bucket.value
            count, buckets = 0.0, []
            for limit in [*(f"{limit:g}" for limit in LIMITS[spread]), _ALL]:
                count += found.get(limit, 0)
                buckets.append((limit, count))
            yield Histogram(one.labels, buckets, one.value)


def read_totals(session: Session) -> Totals:
    """Return all totals."""
    rows = session.execute(select(MetricTotal.name, MetricTotal.labels, MetricTotal.value))
    return Totals([(row.name, row.labels, row.value) for row in rows])


def _read_labels(text_of_labels: str) -> dict[str, str]:
    try:
        found = json.loads(text_of_labels)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
