"""A fleet by a virtual clock: the real dispatcher over real rows and a real Redis, nodes that only wait.

Nodes take messages from the broker's lists as Celery does, each at the moment when it is idle; the dispatcher
has its rounds. What nodes would report is written by the transitions that the projector uses. Printed are how
busy the nodes were while work for them waited, what two callers got who always have jobs waiting, and how
long those waited who came with one job; with `--plots` a picture of each is drawn.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import Any

import click
from sqlalchemy.orm import Session

from benchmarks.plots import Plot, draw
from shared.broker import DEFAULT_ROUTE, Dispatch
from shared.clock import utc_now
from shared.logs import configure_logs
from shared.options import StyleOptions
from shared.picture import PictureFacts
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from web.assets.uploads import Picture, add_asset
from web.backend import Backend
from web.cli.local.redis_server import RedisServer
from web.control.dispatcher import Dispatcher
from web.control.projector import Projector
from web.control.stale import StaleAttempts
from web.db.models import Asset
from web.jobs.actions import next_attempt
from web.jobs.queries import add_job, get_jobs
from web.jobs.routing import queue_rank
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger, save_attempt

_BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
#: Kinds of devices, by how many times as fast as the slowest they are.
_SPEEDS = {"A": 1.0, "B": 2.0, "C": 4.0, "D": 8.0}
#: Seconds that jobs take on the slowest kind: small pictures and drafts of many steps, large ones.
_SECONDS = (40.0, 90.0, 240.0, 600.0, 1800.0)
_SHARES = (30, 30, 25, 12, 3)
#: An estimate is off by up to this factor, either way; the other devices' speed comes on top.
_WRONG_BY = 2.0
#: Of the slowest kind and the others, equally many of each.
_MEAN_SPEED = sum(_SPEEDS.values()) / len(_SPEEDS)
_LEASE_SECONDS = 30.0
_AWAY_SECONDS = 600.0
_LOST_EVERY_SECONDS = 60.0
#: Beats live for half a minute of real time.
_BEAT_EVERY_SECONDS = 8.0
_STEADY = ("steady-1", "steady-2")
_HOUR = 3600.0
#: A line has to form first.
_WARM_MINUTES = 10


@dataclass
class Node:
    """A node: its kind, what it works on, and when it dies; `run` counts its lives."""

    name: str
    kind: str
    dies_at: float
    job_id: str | None = None
    attempt: int = 0
    since: float = 0.0
    is_alive: bool = True


@dataclass
class Record:
    """What is kept of a job that waits or runs."""

    caller: str
    seconds: float
    queued_at: float
    is_lone: bool


@dataclass
class Seen:
    """What was measured."""

    #: By minute: node seconds that were worked, and that could have been while work waited.
    worked: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    idle: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    #: By caller, then by minute: device seconds.
    got: defaultdict[str, defaultdict[int, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    #: (when it came, how long it waited) of those who came with one job.
    lone_waits: list[tuple[float, float]] = field(default_factory=list)
    ended: int = 0
    lost: int = 0
    rounds: list[float] = field(default_factory=list)


class Fleet:
    """Nodes, callers and the dispatcher, moved by `run`."""

    def __init__(
        self, folder: Path, redis_url: str, *, nodes: int, callers: int, seed: int, round_seconds: float
    ) -> None:
        settings = Settings(redis_url=redis_url, data_dir=folder / "data", log_level="error")
        configure_logs(settings)
        self.chance = Random(seed)  # noqa: S311 - a simulation
        self.now_seconds = 0.0
        self.seen = Seen()
        self.backend = Backend.open(settings)
        self._dispatch = Dispatch(settings, self.backend.redis)
        stale = StaleAttempts(self.backend, clock=self.clock)
        self._projector = Projector(self.backend, clock=self.clock)
        self._dispatcher = Dispatcher(self.backend, self._dispatch, stale, clock=self.clock)
        self._round_seconds = round_seconds
        kinds = list(_SPEEDS)
        self.nodes = {
            f"n{number}": Node(f"n{number}", kinds[number % len(kinds)], self._lifetime())
            for number in range(nodes)
        }
        self._lone = [f"caller-{number}" for number in range(callers)]
        self._rate = sum(_SPEEDS[node.kind] for node in self.nodes.values()) / _mean_seconds()
        self._known: dict[str, Record] = {}
        self._waiting: defaultdict[str, int] = defaultdict(int)
        #: (when, number, node, its attempt): ends of jobs.
        self._ends: list[tuple[float, int, str, int]] = []
        self._lost: list[tuple[float, str, int]] = []
        self._numbers = iter(range(10**9))
        self._lists = self.backend.redis.names.queue_lists(DEFAULT_ROUTE)
        self._idle: dict[str, None] = dict.fromkeys(self.nodes)
        self._added = 0
        self._beat_at = self._looked_at = float("-inf")
        with self.backend.database.write() as session:
            picture = Picture("0" * 64, 1, "a.png", PictureFacts("image/png", 64, 48))
            self._asset, _ = add_asset(session, picture, caller="local", now=_BEGINNING)

    def close(self) -> None:
        """Release what is held."""
        self._dispatch.close()
        self.backend.close()

    def clock(self) -> datetime:
        """Return the virtual time."""
        return _BEGINNING + timedelta(seconds=self.now_seconds)

    def run(self, jobs: int) -> None:
        """Let as many jobs be submitted, and stop when no more come."""
        while self._added < jobs:
            self._beat()
            began = monotonic()
            with self.backend.database.write() as session:
                self._arrive(session, jobs)
            if self.now_seconds - self._looked_at >= _LOST_EVERY_SECONDS:
                self._looked_at = self.now_seconds
                self._dispatcher.send_lost(self._projector)
            self._dispatcher.send_due()
            self.seen.rounds.append(monotonic() - began)
            until = self.now_seconds + self._round_seconds
            with self.backend.database.write() as session:
                self._work(session, until)
            self.now_seconds = until

    # Who comes.

    def _arrive(self, session: Session, jobs: int) -> None:
        asset = session.merge(self._asset, load=False)
        for caller in _STEADY:
            while self._waiting[caller] < 2 * len(self.nodes) and self._added < jobs:
                self._add(session, asset, caller)
        # A quarter of what the fleet can do is asked for by those who come with one job each.
        for _ in range(self._poisson(self._rate / 4 * self._round_seconds)):
            if self._added < jobs:
                self._add(session, asset, self.chance.choice(self._lone))

    def _add(self, session: Session, asset: Asset, caller: str) -> None:
        (seconds,) = self.chance.choices(_SECONDS, _SHARES)
        seconds *= self.chance.uniform(0.8, 1.25)
        wrong = _WRONG_BY ** self.chance.uniform(-1, 1)
        job = add_job(
            session, caller=caller, name="", content=asset, style=asset, options=_OPTIONS, labels={},
            max_attempts=100, now=self.clock(), estimated_seconds=seconds / _MEAN_SPEED * wrong,
        )  # fmt: skip
        is_lone = caller not in _STEADY and not self._waiting[caller]
        self._known[job.id] = Record(caller, seconds, self.now_seconds, is_lone)
        self._waiting[caller] += 1
        self._added += 1

    def _poisson(self, mean: float) -> int:
        count, left = 0, self.chance.expovariate(1.0)
        while left < mean:
            count, left = count + 1, left + self.chance.expovariate(1.0)
        return count

    def _lifetime(self) -> float:
        return self.now_seconds + self.chance.expovariate(1 / (4 * _HOUR))

    # What nodes do until a moment.

    def _work(self, session: Session, until: float) -> None:
        moves: list[tuple[float, Trigger, str, str]] = []
        self._find_lost(session, until)
        for node in self.nodes.values():
            if node.is_alive and node.dies_at < until:
                self._die(node)
            elif not node.is_alive and node.dies_at + _AWAY_SECONDS < until:
                node.is_alive, node.dies_at = True, self._lifetime()
                self._idle[node.name] = None
        at = self.now_seconds
        self._take(at, moves)
        while self._ends and self._ends[0][0] < until:
            at, _, name, attempt = heapq.heappop(self._ends)
            node = self.nodes[name]
            if node.job_id is None or node.attempt != attempt or not node.is_alive:
                continue  # it died
            moves.append((at, Trigger.SUCCEEDED, node.job_id, name))
            self._stop(node, at)
            self._idle[name] = None
            self._take(at, moves)
        if any(self._waiting.values()):
            for name in self._idle:
                idle_since = max(self.now_seconds, self.nodes[name].since)
                self.seen.idle[int(self.now_seconds // 60)] += until - idle_since
        self._write(session, moves)

    def _take(self, at: float, moves: list[tuple[float, Trigger, str, str]]) -> None:
        """Let idle nodes take what lies in the broker, the one that has been idle longest first."""
        client = self.backend.redis.client
        while self._idle:
            found = client.lmpop(len(self._lists), *self._lists, direction="RIGHT", count=1)
            if not found:
                return
            name = next(iter(self._idle))
            job_id, attempt = json.loads(found[1][0])["headers"]["id"].rsplit(":", 1)
            record = self._known.get(job_id)
            if record is None:
                continue  # a duplicate of one that has ended
            node = self.nodes[name]
            del self._idle[name]
            node.job_id, node.attempt, node.since = job_id, next(self._numbers), at
            took_seconds = record.seconds / _SPEEDS[node.kind] + 0.5
            heapq.heappush(self._ends, (at + took_seconds, node.attempt, name, node.attempt))
            moves.append((at, Trigger.CLAIMED, job_id, name))
            self._waiting[record.caller] -= 1
            if record.is_lone and int(attempt) == 1:
                self.seen.lone_waits.append((record.queued_at, at - record.queued_at))

    def _die(self, node: Node) -> None:
        node.is_alive = False
        self._idle.pop(node.name, None)
        if node.job_id is not None:
            heapq.heappush(self._lost, (node.dies_at + _LEASE_SECONDS, node.job_id, 0))
            self._stop(node, max(node.since, node.dies_at))

    def _stop(self, node: Node, at: float) -> None:
        record = self._known[str(node.job_id)]
        for minute, seconds in _by_minute(node.since, at):
            self.seen.worked[minute] += seconds
            self.seen.got[record.caller][minute] += seconds
        node.job_id, node.since = None, at

    # What is written of it.

    def _find_lost(self, session: Session, until: float) -> None:
        lost: list[str] = []
        while self._lost and self._lost[0][0] < until:
            lost.append(heapq.heappop(self._lost)[1])
        for job in get_jobs(session, lost).values() if lost else ():
            values = next_attempt(job) | {"queue_rank": queue_rank(job.priority, is_handed_back=True)}
            values["lost_workers"] = job.lost_workers + 1
            apply_trigger(session, job, Trigger.LEASE_LOST, now=self.clock(), values=values)
            self._waiting[job.caller] += 1
            self.seen.lost += 1

    def _write(self, session: Session, moves: Sequence[tuple[float, Trigger, str, str]]) -> None:
        jobs = get_jobs(session, {job_id for _, _, job_id, _ in moves}) if moves else {}
        for at, trigger, job_id, name in moves:
            job, moment = jobs[job_id], _BEGINNING + timedelta(seconds=at)
            values: dict[str, Any] = {"worker_id": name, "device": self.nodes[name].kind}
            if trigger is Trigger.CLAIMED:
                values["started_at"] = moment
                apply_trigger(session, job, trigger, now=moment, values=values)
                save_attempt(session, job_id, job.attempt, started_at=moment, worker_id=name)
            else:
                apply_trigger(session, job, trigger, now=moment, values=values)
                save_attempt(session, job_id, job.attempt, ended_at=moment)
                del self._known[job_id]
                self.seen.ended += 1

    def _beat(self) -> None:
        if monotonic() - self._beat_at < _BEAT_EVERY_SECONDS:
            return
        self._beat_at, now = monotonic(), utc_now()
        for node in self.nodes.values():
            if node.is_alive:
                beat = WorkerBeat(worker_id=node.name, device=node.kind, weights="w", started_at=now, at=now)
                self.backend.redis.workers.beat(beat)


_OPTIONS = StyleOptions(size=64)


def _mean_seconds() -> float:
    return sum(map(float.__mul__, _SECONDS, map(float, _SHARES))) / sum(_SHARES)


def _by_minute(since: float, until: float) -> Iterator[tuple[int, float]]:
    while since < until:
        end = min(until, (since // 60 + 1) * 60)
        yield int(since // 60), end - since
        since = end


# What it comes to.


@dataclass(frozen=True)
class Result:
    """The numbers that are promised."""

    #: Of the time of nodes that could work while work waited.
    busy_share: float
    #: Of what the two steady callers got together, the least and the largest share of the first in any hour.
    share_low: float
    share_high: float
    #: Of those who came with one job: half, one in a hundred, and the longest.
    wait_median_seconds: float
    wait_99_seconds: float
    wait_longest_seconds: float


def judge(seen: Seen, *, warm_minutes: int) -> Result:
    """Return what came of it, without the first minutes, in which a line has to form."""
    minutes = [minute for minute in sorted(seen.worked) if minute >= warm_minutes][:-1]
    worked = sum(seen.worked[minute] for minute in minutes)
    idle = sum(seen.idle[minute] for minute in minutes)
    shares = [share for _, share in hourly_shares(seen, warm_minutes=warm_minutes)]
    waits = sorted(wait for at, wait in seen.lone_waits if at >= warm_minutes * 60) or [0.0]
    return Result(
        busy_share=worked / ((worked + idle) or 1.0),
        share_low=min(shares, default=0.5),
        share_high=max(shares, default=0.5),
        wait_median_seconds=waits[len(waits) // 2],
        wait_99_seconds=waits[min(len(waits) - 1, len(waits) * 99 // 100)],
        wait_longest_seconds=waits[-1],
    )


def hourly_shares(seen: Seen, *, warm_minutes: int, minutes: int = 60) -> list[tuple[int, float]]:
    """Return by the minute at which an hour begins what part the first of the steady callers got in it."""
    last = max(seen.worked) - minutes
    found = []
    for begin in range(warm_minutes, last + 1):
        first, second = (
            sum(seen.got[caller][minute] for minute in range(begin, begin + minutes)) for caller in _STEADY
        )
        if first + second:
            found.append((begin, first / (first + second)))
    return found


@click.command()
@click.option("--nodes", default=1000, show_default=True, help="Nodes, of four kinds.")
@click.option("--jobs", default=100_000, show_default=True, help="Jobs that are submitted.")
@click.option("--callers", default=50, show_default=True, help="Callers who come with one job now and then.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--round-seconds", default=1.0, show_default=True, help="Virtual seconds of a round of control."
)
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Where pictures go.")
def main(nodes: int, jobs: int, callers: int, seed: int, round_seconds: float, plots: Path | None) -> None:
    """Simulate, and print the table."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "redis") as server:
        fleet = Fleet(
            Path(folder), server.url, nodes=nodes, callers=callers, seed=seed, round_seconds=round_seconds
        )
        began_cpu = process_time()
        fleet.run(jobs)
        cpu_seconds = process_time() - began_cpu
        seen, hours = fleet.seen, fleet.now_seconds / _HOUR
        fleet.close()
    said = (
        f"--nodes {nodes} --jobs {jobs} --callers {callers} --seed {seed} --round-seconds {round_seconds:g}"
    )
    click.echo(f"`python -m benchmarks.simulation {said}`\n")
    click.echo(f"| {nodes} nodes, {seen.ended} jobs in {hours:.1f} hours; {seen.lost} nodes died at work | |")
    click.echo("|---|---:|")
    for name, value in _rows(seen):
        click.echo(f"| {name} | {value} |")
    click.echo(f"| processor, each job | {cpu_seconds / max(1, seen.ended) * 1000:.1f} ms |")
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for name, plot in _plots(seen).items():
            (plots / f"{name}.svg").write_text(draw(plot))


def _rows(seen: Seen) -> Iterator[tuple[str, str]]:
    found, rounds = judge(seen, warm_minutes=_WARM_MINUTES), sorted(seen.rounds)
    waits = (found.wait_median_seconds, found.wait_99_seconds, found.wait_longest_seconds)
    slow = [1000 * rounds[len(rounds) * part // 100] for part in (50, 99)]
    yield "busy while work waits", f"{found.busy_share:.1%}"
    yield "one of two steady callers, in any hour", f"{found.share_low:.1%} to {found.share_high:.1%}"
    yield "who comes with one job waits: half, 99 %, longest", ", ".join(f"{wait:.1f} s" for wait in waits)
    yield "control, with what was submitted, a round: half, 99 %", ", ".join(f"{one:.0f} ms" for one in slow)


def _plots(seen: Seen) -> dict[str, Plot]:
    minutes = sorted(seen.worked)[:-1]
    busy = [
        (minute / 60, 100 * seen.worked[minute] / (seen.worked[minute] + seen.idle[minute]))
        for minute in minutes
        if seen.worked[minute]
    ]
    shares = [(begin / 60, 100 * share) for begin, share in hourly_shares(seen, warm_minutes=_WARM_MINUTES)]
    waits = [(at / _HOUR, wait) for at, wait in seen.lone_waits]
    return {
        "busy": Plot("Busy while work waits", "hours", "% of nodes' time", busy, low=0, high=100),
        "shares": Plot(
            "What one of two got in the hour after", "hours", "%", shares, low=40, high=60, marks=(45, 55)
        ),
        "waits": Plot("Waits of who came with one job", "hours", "seconds", waits, has_points=True),
    }


if __name__ == "__main__":
    main()
