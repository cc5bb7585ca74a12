"""One run: load and faults side by side until all faults are injected and all jobs are over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic, sleep, time

from tests.chaos.aftermath import deliver_late, is_quiet, left_in_redis, replay, set_aside_of_ours
from tests.chaos.asking import Asking
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.faults import FAULTS
from tests.chaos.hearing import Hearing
from tests.chaos.load import Load
from tests.chaos.pace import Pace
from tests.chaos.scene import Injection, Scene
from tests.chaos.wishes import FINAL, Wishes
from tests.support.waiting import wait_until

#: After so many of the faults that take leases away nothing else happens until these are seen to.
_QUIET_SHARE = 0.5
#: For so long after Redis refused to write a node may give up, to be started again by its supervisor.
_GIVEN_UP_SECONDS = 30


@dataclass(frozen=True)
class Plan:
    """What a run is to be. Jobs are submitted until there are `jobs`, and until all faults are injected."""

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
    #: Whether the storage is in a bucket.
    has_bucket: bool = False


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> tuple[Evidence, list[str]]:
    """Carry out a run; return the evidence, and breaches that were seen on the way."""
    cluster = Cluster(
        folder, workers=plan.workers, engine=plan.engine, step_seconds=plan.step_seconds, pace=plan.pace,
        plant=plan.plant, has_bucket=plan.has_bucket,
    )  # fmt: skip
    with Hearing(seed=plan.seed) as hearing, cluster:
        hearing.join(cluster.url)
        say("all processes are up")
        load = Load(Asking(cluster.url), seed=plan.seed, steps=plan.steps, share=plan.wishes)
        scene = Scene(cluster, load, Random(plan.seed))
        evidence = Evidence(cluster.settings, plan.pace, plan.engine, damaged=scene.damaged)
        course = _Course(plan, scene, evidence, say)
        try:
            course.run()
            say("all jobs are over")
            deliver_late(cluster)
            evidence.left_in_redis += left_in_redis(cluster)
            evidence.streams |= replay(cluster, load.asking, Random(plan.seed))
        except TimeoutError as error:
            course.breaches.append(f"stuck: {error}; open: {_open(cluster)[:10]}")
            evidence.left_in_redis += set_aside_of_ours(cluster)
        finally:
            course.close()
            evidence.heard = hearing.heard()
            evidence.submitted = list(load.submitted.values())
    evidence.settings = cluster.with_a_folder()
    evidence.read(folder)
    breaches = course.breaches + scene.breaches
    return evidence, breaches + [f"{name} did not end at SIGTERM" for name in cluster.disobedient]


class _Course:
    """The course of a run: what is submitted, and what is done to it meanwhile."""

    def __init__(self, plan: Plan, scene: Scene, evidence: Evidence, say: Callable[[str], None]) -> None:
        self.wishes = Wishes(scene.load, scene.cluster.statuses, seed=plan.seed)
        self.breaches: list[str] = []
        self._plan = plan
        self._scene = scene
        self._cluster = scene.cluster
        self._evidence = evidence
        self._say = say
        self._ends = monotonic() + plan.minutes * 60
        self._all_injected = False

    def run(self) -> None:
        """Run until every job is over; TimeoutError when that takes longer than it may."""
        thread = Thread(target=self._hand_in, daemon=True)
        thread.start()
        first = min(8, self._plan.jobs)
        wait_until(lambda: self._scene.load.accepted >= first, seconds=60, what="the first jobs are taken")
        try:
            self._inject()
        finally:
            self._all_injected = True
        wait_until(lambda: not thread.is_alive(), seconds=self._left(), what="all jobs are taken")
        wait_until(self._is_over, seconds=self._left(), what="all jobs are over")

    def close(self) -> None:
        """Ask for nothing more, whatever state the run is in."""
        self._ends = 0.0
        self.wishes.close()

    def _hand_in(self) -> None:
        try:
            self._scene.load.run(
                is_enough=lambda count: (self._all_injected and count >= self._plan.jobs) or not self._left(),
                has_room=lambda: self._cluster.count(final=False) < self._plan.backlog,
                wish=self.wishes.begin,
            )
        except Exception as error:  # noqa: BLE001 - it would be lost with its thread
            self.breaches.append(f"handing in failed: {error!r}")

    def _inject(self) -> None:
        plan, chance = self._plan, self._scene.chance
        kinds = list(plan.kinds)
        chance.shuffle(kinds)
        due = (
            kinds[: plan.faults] + chance.choices(kinds, k=max(0, plan.faults - len(kinds))) if kinds else []
        )
        has_middle = plan.wipe_in_the_middle
        while (due or has_middle) and self._left():
            sleep(chance.uniform(*plan.gap_seconds))
            self._restart_dead()
            if has_middle and self._cluster.count(final=True) >= plan.jobs / 2:
                has_middle = False
                self._inject_one("wipe_redis")
            elif due:
                self._inject_one(due.pop(0))
        if due or has_middle:
            raise TimeoutError(f"{len(due)} faults were not injected in {plan.minutes:g} minutes")

    def _inject_one(self, kind: str) -> None:
        done, at = self._cluster.count(final=True), time()
        losses = FAULTS[kind](self._scene)
        self._evidence.injections.append(Injection(kind, at, time(), losses))
        self._say(f"{kind} (fault {len(self._evidence.injections)}, {done} jobs done)")
        if losses and self._scene.chance.random() < _QUIET_SHARE:
            sleep(self._cluster.pace.lease + 2)

    def _restart_dead(self) -> None:
        """Start again what ended by itself, as a supervisor does; each kind may for one reason.

        A node, while Redis refuses to write. Web and control when they are started (a kill that was prepared
        may come then) while their storage is not mounted: they refuse to start, and say so.
        """
        for process in self._cluster.died_alone():
            is_node = process in self._cluster.nodes
            if is_node and self._since("full_redis") < _GIVEN_UP_SECONDS:
                self._evidence.restarted.append(process.name)
            elif (
                is_node
                or min(map(self._since, ("unmount_storage", "silent_storage"))) >= _GIVEN_UP_SECONDS
                or not any(code in process.tail() for code in ("identity_missing", "storage failed"))
            ):
                self.breaches.append(f"{process.name} ended by itself:\n{process.tail()}")
            process.start()

    def _since(self, kind: str) -> float:
        """Return for how many seconds the last fault of a kind has been over."""
        ends = [fault.until for fault in self._evidence.injections if fault.kind == kind]
        return time() - max(ends, default=0.0)

    def _is_over(self) -> bool:
        self._restart_dead()
        is_over = not self.wishes.open and not self._cluster.count(final=False)
        return is_over and is_quiet(self._cluster) and not self._cluster.untold()

    def _left(self) -> float:
        return max(0.0, self._ends - monotonic())


def _open(cluster: Cluster) -> list[str]:
    return [f"{job_id} {status}" for job_id, status in cluster.statuses().items() if status not in FINAL]
