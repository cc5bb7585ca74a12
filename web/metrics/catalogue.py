"""The catalogue of all metrics: name, kind, labels, where it is read, and what it says.

docs/metrics.md has the same as a table, which a test compares with this and with a scrape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from types import MappingProxyType

from shared.options import Method
from shared.status import FINAL_STATUSES, JobKind
from web.db.totals import Spread, Total

PREFIX = "atelier_"


class Kind(StrEnum):
    """What Prometheus calls the kinds of metrics."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric; `source` is what has to answer for it to be told: see `web.metrics.reading`."""

    name: str
    kind: Kind
    labels: Sequence[str]
    source: str
    help: str

    @property
    def full_name(self) -> str:
        """The name in a scrape; that of a histogram without `_bucket`, `_sum` and `_count`."""
        return PREFIX + self.name


_WAITS = ("route", "memory_class", "priority")
_WORKER = ("worker",)
_FACTS = ("worker", "host", "device", "version", "build", "protocol", "weights")
_GAUGES = (
    # The service itself.
    ("build_info", ("version", "build"), "web", "The release of the web process; the value is 1."),
    ("source_up", ("source",), "web", "Whether database, redis, storage or outlook answered."),
    ("source_age_seconds", ("source",), "web", "How old what is told of it is."),
    ("scrape_seconds", (), "web", "How long it took to put this answer together."),
    # What waits and runs.
    ("queue_depth", _WAITS, "database", "Jobs that wait for a worker."),
    ("queue_oldest_age_seconds", _WAITS, "database", "How long the first of them has waited."),
    ("queue_backlog_seconds", _WAITS, "database", "How long one device would have work."),
    ("queue_wait_seconds", ("route",), "outlook", "The likely wait of a job submitted now, if known."),
    ("queue_wait_high_seconds", ("route",), "outlook", "What few of them wait longer than."),
    ("jobs", ("status",), "database", "Jobs that the database has, drafts among them."),
    ("jobs_waiting_for_others", (), "database", "Queued jobs that get the result of another one."),
    ("broker_messages", ("route",), "redis", "Messages that lie in the broker: the first of the queue."),
    # Control.
    ("projector_reports", (), "redis", "Reports of workers that are not in the database yet."),
    ("projector_lag_seconds", (), "redis", "How old the first of them is, by Redis' clock."),
    ("set_aside_items", (), "redis", "What could not be read and was set aside: atelier queue set-aside."),
    ("control_up", (), "redis", "Whether control beats."),
    ("control_fault", ("part",), "redis", "A part of control whose last run failed; the value is 1."),
    ("control_part_seconds", (), "redis", "How long control has been at the part that it is at."),
    ("control_skipped", (), "redis", "What control could not read or act on since it was started."),
    ("control_start_time_seconds", (), "redis", "When control was started, in seconds since 1970."),
    # Webhooks.
    ("webhook_messages_pending", (), "database", "Messages to webhooks that are still to be sent."),
    ("webhook_oldest_pending_age_seconds", (), "database", "How old the first of them is."),
    # Disks.
    ("disk_free_bytes", ("part",), "storage", "Room on the disks, as the web host sees them."),
    ("disk_size_bytes", ("part",), "storage", "The size of these disks."),
    ("min_free_bytes", (), "web", "With less room than this no work is taken in: ATELIER_MIN_FREE_BYTES."),
    ("database_size_bytes", (), "database", "What the database takes, with what is written ahead."),
    ("stored_picture_bytes", (), "database", "What uploaded pictures take; a caller each."),
    # Workers.
    ("workers", ("state", "device"), "redis", "Workers that beat, by what they do."),
    ("workers_taking_jobs", ("route",), "redis", "Workers that take jobs of a route."),
    ("worker_info", _FACTS, "redis", "A worker that beats; the value is 1."),
    ("worker_busy", _WORKER, "redis", "Whether it has a job."),
    ("worker_heartbeat_age_seconds", _WORKER, "redis", "How old its heartbeat is, by Redis' clock."),
    ("worker_start_time_seconds", _WORKER, "redis", "When it was started, in seconds since 1970."),
    ("worker_faults", _WORKER, "redis", "Jobs that it handed back as perhaps its own fault."),
    ("worker_memory_size_bytes", _WORKER, "redis", "The memory of its device."),
    ("worker_memory_used_bytes", _WORKER, "redis", "What is used of it, by whomever."),
    ("worker_storage_free_bytes", _WORKER, "redis", "Room in the storage, as the worker sees it."),
)  # fmt: skip
_COUNTERS = {
    Total.JOBS_SUBMITTED: (("kind", "method"), "Jobs that were submitted, forks among them."),
    Total.JOBS_ENDED: (("method", "status"), "Jobs that ended; one that is retried or extended ends again."),
    Total.CLAIMS: (("method",), "Attempts that a worker began."),
    Total.LEASE_LOSSES: (("method",), "Attempts whose worker was lost."),
    Total.RETRIES: (
        ("method", "reason"),
        "Further attempts: after a lost worker, or because somebody asked.",
    ),
    Total.HAND_BACKS: (
        ("method", "reason"),
        "Attempts that a worker gave back: worker_drained, worker_unfit.",
    ),
    Total.CHECKPOINTS: (("method",), "Checkpoints that were recorded."),
    Total.STEPS: (("method",), "Steps that are kept: up to a checkpoint or a result."),
    Total.TOLD_WAITS: (("kept",), "Jobs that began, of those that were told a wait: as told or not."),
    Total.TOLD_ENDS: (("kept",), "Jobs that succeeded, of those whose end was reckoned: within it or not."),
    Total.MESSAGES_ENDED: (("state",), "Messages to webhooks that were delivered, given up or dropped."),
    Total.DELIVERY_ATTEMPTS: (
        ("result",),
        "Attempts to send a message: delivered, no_answer, or the class of the answer.",
    ),
}
_HISTOGRAMS = {
    Spread.WAIT: (("method",), "From a job's submission to its first start."),
    Spread.RUN: (("device", "method"), "The attempt that made a result."),
    Spread.STEP: (("device", "method"), "One step: the mean over an attempt that made a result."),
    Spread.WAIT_ERROR: ((), "How far off the likely wait was that a job was told."),
    Spread.END_ERROR: ((), "How far off the likely end was that was reckoned at the submission."),
}
CATALOGUE: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            *(Metric(name, Kind.GAUGE, labels, source, said) for name, labels, source, said in _GAUGES),
            *(
                Metric(total.value, Kind.COUNTER, labels, "database", said)
                for total, (labels, said) in _COUNTERS.items()
            ),
            *(
                Metric(spread.value, Kind.HISTOGRAM, labels, "database", said)
                for spread, (labels, said) in _HISTOGRAMS.items()
            ),
        )
    }
)
_METHODS = [method.value for method in Method]
_KEPT = ("true", "false")
#: The values of labels that are known beforehand: a counter that begins at 0 shows the first time, too.
_KNOWN: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "kept": _KEPT,
        "kind": [kind.value for kind in JobKind],
        "method": _METHODS,
        "reason": ("worker_lost", "worker_unfit", "worker_drained"),
        "result": ("delivered", "no_answer", "4xx", "5xx"),
        "state": ("delivered", "failed", "dropped"),
        "status": sorted(status.value for status in FINAL_STATUSES),
    }
)


def known_labels(metric: Metric) -> list[dict[str, str]]:
    """Return the labels with which a counter is told although nothing has happened yet."""
    values = [_KNOWN[label] for label in metric.labels]
    return [dict(zip(metric.labels, one, strict=True)) for one in product(*values)]
