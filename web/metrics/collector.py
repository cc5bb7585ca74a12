"""The collector: a snapshot as Prometheus reads it. It has a registry for one answer, and keeps nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import (
    Metric as Family,
)
from prometheus_client.registry import Collector

from shared.broker import ROUTES
from shared.memory import device_model
from shared.redis.workers import WorkerBeat, WorkerState
from shared.release import Release
from shared.storage.store import Room
from web.db.totals import Spread, Total, Totals
from web.jobs.routing import is_eligible
from web.metrics.catalogue import CATALOGUE, Kind, known_labels
from web.metrics.reading import DatabaseFacts, RedisFacts, Snapshot

#: The two formats.
TEXT_TYPE, OPEN_METRICS_TYPE = "text/plain", "application/openmetrics-text"
_OPEN_METRICS = f"{OPEN_METRICS_TYPE}; version=1.0.0"
_T = TypeVar("_T", GaugeMetricFamily, CounterMetricFamily, HistogramMetricFamily)
#: A sample: the values of the labels in the order of the catalogue, and the value; None is not known.
Sample = tuple[tuple[object, ...], float | None]


def expose(snapshot: Snapshot, *, release: Release, min_free_bytes: int, accept: str) -> tuple[bytes, str]:
    """Return a snapshot in the format that the header `Accept` asks for, and its content type.

    That is OpenMetrics for who knows it at all, as Prometheus does, and else the older text format.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot, release=release, min_free_bytes=min_free_bytes))
    encode, content_type = choose_encoder(_OPEN_METRICS if OPEN_METRICS_TYPE in accept.lower() else "")
    return encode(registry), content_type


class SnapshotCollector(Collector):
    """Tells of one snapshot. Of a source that did not answer nothing is told but that."""

    def __init__(self, snapshot: Snapshot, *, release: Release, min_free_bytes: int) -> None:
        self._snapshot = snapshot
        self._release = release
        self._min_free_bytes = min_free_bytes

    def collect(self) -> Iterator[Family]:
        """Yield all that is known."""
        yield from self._own()
        if self._snapshot.database is not None:
            yield from _of_database(self._snapshot.database)
            yield from _of_totals(self._snapshot.database.totals)
        if self._snapshot.redis is not None:
            yield from _of_redis(self._snapshot.redis)
            yield from _of_workers(self._snapshot.redis.workers)
        yield from self._rooms()
        if self._snapshot.outlook is not None:
            waits = self._snapshot.outlook.waits
            yield _gauge(
                "queue_wait_seconds",
                [((route,), None if wait is None else wait.likely) for route, wait in waits.items()],
            )
            yield _gauge(
                "queue_wait_high_seconds",
                [((route,), None if wait is None else wait.high) for route, wait in waits.items()],
            )

    def _own(self) -> Iterator[Family]:
        seen = self._snapshot
        sources = {
            "database": seen.database, "redis": seen.redis, "storage": seen.storage, "outlook": seen.outlook
        }  # fmt: skip
        yield _gauge("build_info", [((self._release.version, self._release.build), 1)])
        yield _gauge("source_up", [((name,), facts is not None) for name, facts in sources.items()])
        yield _gauge("source_age_seconds", [((name,), age) for name, age in seen.ages.items()])
        yield _gauge("scrape_seconds", [((), seen.seconds)])
        yield _gauge("min_free_bytes", [((), self._min_free_bytes)])

    def _rooms(self) -> Iterator[Family]:
        storage, database = self._snapshot.storage, self._snapshot.database
        rooms = {
            "storage": None if storage is None else storage.room,
            "database": None if database is None else database.room,
        }
        known: Mapping[str, Room] = {part: room for part, room in rooms.items() if room is not None}
        yield _gauge("disk_free_bytes", [((part,), room.free_bytes) for part, room in known.items()])
        yield _gauge("disk_size_bytes", [((part,), room.total_bytes) for part, room in known.items()])


def _of_database(facts: DatabaseFacts) -> Iterator[Family]:
    parts = [((part.route, part.memory_class, part.priority), part) for part in facts.parts]
    yield _gauge("queue_depth", [(labels, part.depth) for labels, part in parts])
    yield _gauge("queue_oldest_age_seconds", [(labels, part.oldest_seconds) for labels, part in parts])
    yield _gauge("queue_backlog_seconds", [(labels, part.backlog_seconds) for labels, part in parts])
    yield _gauge("jobs", [((status,), count) for status, count in facts.jobs.items()])
    yield _gauge("jobs_waiting_for_others", [((), facts.waiting_for_others)])
    yield _gauge("webhook_messages_pending", [((), facts.messages.count)])
    oldest = facts.messages.oldest
    age_seconds = 0.0 if oldest is None else max(0.0, (facts.at - oldest).total_seconds())
    yield _gauge("webhook_oldest_pending_age_seconds", [((), age_seconds)])
    yield _gauge("database_size_bytes", [((), facts.size_bytes)])
    yield _gauge("stored_picture_bytes", [((), facts.picture_bytes)])


def _of_totals(totals: Totals) -> Iterator[Family]:
    for total in Total:
        metric = CATALOGUE[total.value]
        names = sorted(metric.labels)
        counted = {tuple(sorted(labels.items())): 0.0 for labels in known_labels(metric)}
        for one in totals.of(total):
            # What another release counts by other labels is not ours to tell.
            if sorted(one.labels) == names:
                counted[tuple(sorted(one.labels.items()))] = one.value
        counter = _family(CounterMetricFamily, total.value)
        for labels, value in counted.items():
            given = dict(labels)
            counter.add_metric([given[name] for name in metric.labels], value)
        yield counter
    for spread in Spread:
        metric = CATALOGUE[spread.value]
        histogram = _family(HistogramMetricFamily, spread.value)
        for found in totals.histograms(spread):
            if sorted(found.labels) == sorted(metric.labels):
                values = [found.labels[name] for name in metric.labels]
                histogram.add_metric(values, list(found.buckets), found.sum_seconds)
        yield histogram


def _of_redis(facts: RedisFacts) -> Iterator[Family]:
    yield _gauge("broker_messages", [((route,), count) for route, count in facts.messages.items()])
    yield _gauge("projector_reports", [((), facts.reports.count)])
    yield _gauge("projector_lag_seconds", [((), facts.reports.oldest_seconds)])
    yield _gauge("set_aside_items", [((), facts.set_aside)])
    control = facts.control
    yield _gauge("control_up", [((), control is not None)])
    yield _gauge("control_fault", [((part,), 1) for part in sorted(control.faults)] if control else [])
    if control is not None:
        yield _gauge("control_part_seconds", [((), control.part_seconds)])
        yield _gauge("control_skipped", [((), control.skipped)])
        yield _gauge("control_start_time_seconds", [((), control.started_at.timestamp())])


def _of_workers(beats: Iterable[WorkerBeat]) -> Iterator[Family]:
    beats = list(beats)
    states = {(state.value, device): 0 for state in WorkerState for device in _models(beats)}
    for beat in beats:
        states[beat.state.value, device_model(beat.device)] += 1
    yield _gauge("workers", states.items())
    takers = {route: sum(is_eligible(beat, route) for beat in beats) for route in ROUTES}
    yield _gauge("workers_taking_jobs", [((route,), count) for route, count in takers.items()])
    # Two with one name, as in the lobby and not, would be told twice.
    named = {beat.worker_id: beat for beat in beats}
    yield _gauge(
        "worker_info",
        [
            (
                (name, beat.host, beat.device, beat.version, beat.build, beat.protocol, beat.weights),
                1,
            )
            for name, beat in named.items()
        ],
    )
    yield _gauge("worker_busy", [((name,), beat.job is not None) for name, beat in named.items()])
    yield _gauge(
        "worker_heartbeat_age_seconds", [((name,), beat.age_seconds) for name, beat in named.items()]
    )
    yield _gauge(
        "worker_start_time_seconds", [((name,), beat.started_at.timestamp()) for name, beat in named.items()]
    )
    yield _gauge("worker_faults", [((name,), beat.faults) for name, beat in named.items()])
    yield _gauge(
        "worker_memory_size_bytes", [((name,), beat.memory_total_bytes) for name, beat in named.items()]
    )
    yield _gauge(
        "worker_memory_used_bytes", [((name,), beat.memory_used_bytes) for name, beat in named.items()]
    )
    yield _gauge(
        "worker_storage_free_bytes", [((name,), beat.storage_free_bytes) for name, beat in named.items()]
    )


def _models(beats: Iterable[WorkerBeat]) -> list[str]:
    return sorted({device_model(beat.device) for beat in beats})


def _gauge(name: str, samples: Iterable[Sample]) -> Family:
    family = _family(GaugeMetricFamily, name)
    for labels, value in samples:
        if value is not None:
            family.add_metric([str(label) for label in labels], value)
    return family


def _family(kind: type[_T], name: str) -> _T:
    metric = CATALOGUE[name]
    # The counter's own name has no `_total`; it is added to that of each sample.
    full_name = metric.full_name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.full_name
    return kind(full_name, metric.help, labels=list(metric.labels))
