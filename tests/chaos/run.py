"""One run: load and faults side by side until all faults are injected and all jobs are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic, sleep, time

import redis

from shared.broker import QUEUE
from shared.coordination.stream import GROUP, STREAM
from tests.chaos.asking import Asking
from tests.chaos.broker_faults import envelope
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.faults import FAULTS
from tests.chaos.load import Load
from tests.chaos.pace import Pace
from tests.chaos.process import wait_until
from tests.chaos.scene import Injection, Scene
from tests.chaos.wishes import FINAL, Wishes

_QUEUES = [QUEUE, *(f"{QUEUE}:{step}" for step in (3, 6, 9))]
_STREAMS_REPLAYED = 300


@dataclass(frozen=True)
class Plan:
    """What a run is to be. Jobs are handed in until there are `jobs`, and until all faults are injected."""

    seed: int
    jobs: int
    workers: int
    #: How many faults, of which kinds; each kind once before any comes twice.
    faults: int
    kinds: tuple[str, ...]
    #: Between two faults, least and most, in seconds.
    gap_seconds: tuple[float, float]
    engine: str
    steps: int
    step_seconds: float
    #: Most jobs that are open at once.
    backlog: int
    pace: Pace
    minutes: float
    #: How many of the jobs have a wish, relative to the shares in `load`.
    wishes: float = 1.0
    wipe_in_the_middle: bool = False
    plant: str = ""


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> tuple[Evidence, list[str]]:
    """Carry out a run; return the evidence, and breaches that were seen on the way."""
    cluster = Cluster(
        folder, workers=plan.workers, engine=plan.engine, step_seconds=plan.step_seconds, pace=plan.pace,
        plant=plan.plant,
    )  # fmt: skip
    breaches: list[str] = []
    with cluster:
        say("all processes are up")
        asking = Asking(cluster.url)
        load = Load(asking, seed=plan.seed, steps=plan.steps, share=plan.wishes)
        scene = Scene(cluster, load, Random(plan.seed))
        injections: list[Injection] = []
        evidence = Evidence(
            cluster.settings, plan.pace, plan.engine, [], injections, scene.damaged, {}, []
        )  # fmt: skip
        wishes = Wishes(load, cluster.statuses, seed=plan.seed)
        try:
            _carry_out(plan, scene, wishes, injections, breaches, say)
            say("all jobs are over")
            _deliver_late(cluster)
            evidence.left_in_redis += _left(cluster)
            _replay(cluster, asking, evidence, Random(plan.seed))
        except TimeoutError as error:
            breaches.append(f"stuck: {error}; open: {_open(cluster)[:10]}")
        finally:
            wishes.close()
            evidence.submitted = list(load.submitted.values())
    breaches += [f"{name} did not end at SIGTERM" for name in cluster.disobedient]
    evidence.read(folder)
    return evidence, breaches


def _carry_out(
    plan: Plan, scene: Scene, wishes: Wishes, injections: list[Injection], breaches: list[str],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    cluster, ends = scene.cluster, monotonic() + plan.minutes * 60
    is_over = [False]
    failed: list[BaseException] = []

    def hand_in() -> None:
        try:
            scene.load.run(
                is_enough=lambda count: (count >= plan.jobs and is_over[0]) or monotonic() > ends,
                has_room=lambda: len(_open(cluster)) < plan.backlog,
                wish=wishes.begin,
            )
        except BaseException as error:
            failed.append(error)
            raise

    thread = Thread(target=hand_in, daemon=True)
    thread.start()
    try:
        wait_until(
            lambda: scene.load.accepted >= min(8, plan.jobs), seconds=60, what="the first jobs are taken"
        )
        _inject(plan, scene, injections, breaches, say, ends)
    finally:
        is_over[0] = True
    left = max(1.0, ends - monotonic())
    wait_until(lambda: not thread.is_alive(), seconds=left, what="all jobs taken")
    breaches += [f"handing in failed: {error!r}" for error in failed]
    _wait_for_the_end(cluster, wishes, breaches, max(1.0, ends - monotonic()))


def _inject(
    plan: Plan, scene: Scene, injections: list[Injection], breaches: list[str], say: Callable[[str], None],
    ends: float,
) -> None:  # fmt: skip
    chance, cluster = scene.chance, scene.cluster
    kinds = list(plan.kinds)
    chance.shuffle(kinds)
    due = [*kinds, *chance.choices(kinds, k=max(0, plan.faults - len(kinds)))][: plan.faults] if kinds else []
    has_middle = plan.wipe_in_the_middle

    def inject(kind: str) -> None:
        done = _done(cluster)
        at = time()
        losses = FAULTS[kind](scene)
        injections.append(Injection(kind, at, time(), losses))
        say(f"{kind} (fault {len(injections)}, {done} jobs done)")

    while (due or has_middle) and monotonic() < ends:
        sleep(chance.uniform(*plan.gap_seconds))
        breaches += _restart_dead(cluster)
        if has_middle and _done(cluster) >= plan.jobs / 2:
            has_middle = False
            inject("wipe_redis")
        elif due:
            inject(due.pop(0))
    if due or has_middle:
        raise TimeoutError(f"{len(due)} faults were not injected in {plan.minutes:g} minutes")


def _wait_for_the_end(cluster: Cluster, wishes: Wishes, breaches: list[str], seconds: float) -> None:
    def is_over() -> bool:
        breaches.extend(_restart_dead(cluster))
        return not wishes.open and not _open(cluster) and _is_quiet(cluster)

    wait_until(is_over, seconds=seconds, what="all jobs ended")


def _restart_dead(cluster: Cluster) -> list[str]:
    found = []
    for process in cluster.died_alone():
        found.append(f"{process.name} ended by itself:\n{process.tail()}")
        process.start()
    return found


def _deliver_late(cluster: Cluster) -> None:
    """Deliver what killed nodes had taken, as the broker does after half a day; it must do nothing."""
    before = cluster.versions()
    texts = cluster.client.hvals("unacked")
    cluster.client.delete("unacked", "unacked_index")
    for text in texts:
        cluster.client.lpush(QUEUE, envelope(text))
    wait_until(
        lambda: _is_quiet(cluster) and not cluster.client.hlen("unacked"), seconds=60,
        what="late messages are dropped",
    )  # fmt: skip
    if cluster.versions() != before:
        raise TimeoutError("a job changed because of a message that came half a day late")


def _left(cluster: Cluster) -> list[str]:
    """Return in words what Redis holds that should be gone."""
    client = cluster.client
    left = [f"{count} messages in {name}" for name in _QUEUES if (count := client.llen(name))]
    left += [f"{count} unacknowledged messages" for count in [client.hlen("unacked")] if count]
    left += [f"{count} entries in the stream" for count in [client.xlen(STREAM)] if count]
    try:
        pending = client.xpending(STREAM, GROUP)["pending"]
    except redis.ResponseError:
        pending = 0  # there is no group yet in a Redis that was wiped
    return left + ([f"{pending} pending entries of the stream"] if pending else [])


def _replay(cluster: Cluster, asking: Asking, evidence: Evidence, chance: Random) -> None:
    ids = sorted(cluster.statuses())
    for job_id in chance.sample(ids, min(_STREAMS_REPLAYED, len(ids))):
        evidence.streams[job_id] = asking.events(job_id)


def _open(cluster: Cluster) -> list[str]:
    return [f"{job_id} {status}" for job_id, status in cluster.statuses().items() if status not in FINAL]


def _done(cluster: Cluster) -> int:
    return sum(status in FINAL for status in cluster.statuses().values())


def _is_quiet(cluster: Cluster) -> bool:
    return not any(cluster.client.llen(name) for name in _QUEUES) and not cluster.client.xlen(STREAM)
