"""A second installation on the same Redis: it has all of its own, works for some seconds, and ends.

It lives within its fault, and is judged as the first one is. What breaks is a breach, and no reason to stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from threading import Event, Thread
from time import time

import redis

from shared.errors import RedisUnavailable
from tests.chaos.aftermath import deliver_late, is_quiet, left_in_redis, replay
from tests.chaos.asking import Asking
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence
from tests.chaos.load import PICTURES, Load
from tests.chaos.oracle import judge
from tests.chaos.scene import Fault, Injection, Loss, Scene
from tests.support.waiting import wait_until

_JOBS = 4
_STEPS = 15
_STEP_SECONDS = 0.08
#: Beside some leases: what the kill takes away is rescued.
_PATIENCE_SECONDS = 40
_PATIENCE_LEASES = 4
_STOP_SECONDS = 20
_LOOK_SECONDS = 0.4
_MOST_NAMED = 6


def make_second_installation(kills: Sequence[Fault]) -> Fault:
    """Return the fault; one of `kills` happens to the second installation while it works."""

    def second_installation(scene: Scene) -> list[Loss]:
        first, chance = scene.cluster, scene.chance
        count = len(list(first.folder.glob("second-*")))
        second = Cluster(
            first.folder / f"second-{count}",
            workers=1,
            engine="sleeping",
            step_seconds=_STEP_SECONDS,
            pace=first.pace,
            plant=first.plant,
            redis=first.redis,
            # Nodes of two installations may have one name.
            node_name=chance.choice(("node", "other")),
        )
        kill = chance.choice(kills)
        breaches: list[str] = []
        try:
            with second, _watched(first, second, breaches):
                evidence = _work(second, kill, seed=chance.randrange(10**6))
                breaches += _end(second)
            breaches += [f"{name} did not end at SIGTERM" for name in second.disobedient]
            breaches += _left_for_good(first, second)
            evidence.read(second.folder)
            breaches += judge(evidence, second.folder / "lone").breaches
        except (RuntimeError, TimeoutError) as error:
            breaches.append(str(error))
        scene.breaches += [f"the second installation ({kill.__name__}): {breach}" for breach in breaches]
        return []

    return second_installation


def _work(second: Cluster, kill: Fault, *, seed: int) -> Evidence:
    """Hand jobs in, with pictures that the first one does not have, kill a process, and wait for them."""
    load = Load(Asking(second.url), seed=seed, steps=_STEPS, first_picture=PICTURES)
    scene = Scene(second, load, Random(seed))
    evidence = Evidence(second.settings, second.pace, "sleeping", damaged=scene.damaged)
    evidence.submitted = [load.submit(kind="plain") for _ in range(_JOBS)]
    wait_until(second.holders, seconds=_PATIENCE_SECONDS, what="its first job is begun")
    at = time()
    losses = kill(scene)
    evidence.injections.append(Injection(kill.__name__, at, time(), losses))

    def is_over() -> bool:
        return not second.count(final=False) and is_quiet(second)

    try:
        patience_seconds = _PATIENCE_SECONDS + _PATIENCE_LEASES * second.pace.lease
        wait_until(is_over, seconds=patience_seconds, what="its jobs are over")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {second.statuses()}") from error
    deliver_late(second)
    wait_until(second.answers, seconds=_PATIENCE_SECONDS, what="its web answers")
    evidence.streams |= replay(second, load.asking, Random(seed))
    return evidence


def _end(second: Cluster) -> Iterator[str]:
    """End its node, as an operator does, and yield what Redis then holds that should be gone."""
    for dead in second.died_alone():
        yield f"{dead.name} ended by itself:\n{dead.tail()}"
    for node in second.nodes:
        if not node.stop(_STOP_SECONDS):
            yield f"{node.name} did not end at SIGTERM"
    yield from (f"Redis still holds {what}" for what in left_in_redis(second))
    yield from (
        f"worker {beat.worker_id} has ended, and is still heard of" for beat in second.registry.alive()
    )
    yield from (f"{node} has ended, and still holds {held}" for node, held in second.holders().items())


def _left_for_good(first: Cluster, second: Cluster) -> Iterator[str]:
    """Remove what has a name of the second one in Redis, and yield what of it would not have gone by itself.

    Two keys stay with every installation: the stream, which is empty and has a group of readers, and the mark
    by which a Redis that lost its data is known.
    """
    stays = {second.stream, second.names.key("epoch")}
    for key in list(first.client.scan_iter(match=f"*{second.names.installation_id}*", count=1000)):
        if first.client.ttl(key) == -1 and key not in stays:
            yield f"Redis keeps {key} for good"
        first.client.delete(key)


@contextmanager
def _watched(first: Cluster, second: Cluster, breaches: list[str]) -> Iterator[None]:
    """Look all the time at what the two share: no name in Redis, and no worker."""
    ids = [str(cluster.names.installation_id) for cluster in (first, second)]
    names: set[str] = set()
    workers: set[str] = set()
    ending = Event()

    def watch() -> None:
        while not ending.wait(_LOOK_SECONDS):
            seen = [*first.client.scan_iter(count=1000), *first.client.pubsub_channels()]
            names.update(name for name in seen if not any(one in name for one in ids))
            runs = {beat.run for beat in first.registry.alive()}
            workers.update(beat.worker_id for beat in second.registry.alive() if beat.run in runs)

    def watch_aloud() -> None:
        try:
            watch()
        except (redis.RedisError, RedisUnavailable) as error:  # it would be lost with its thread
            breaches.append(f"Redis could not be watched: {error!r}")

    thread = Thread(target=watch_aloud, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        breaches += [f"worker {name} is heard of in both installations" for name in sorted(workers)]
        if names:
            some = ", ".join(sorted(names)[:_MOST_NAMED])
            breaches.append(f"{len(names)} names in Redis carry no identity: {some}")
