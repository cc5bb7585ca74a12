"""A node that fails everything: its engine breaks in every run, or it sees none of the jobs' pictures."""

from __future__ import annotations

import signal
from time import sleep

from shared.redis.workers import WorkerBeat, WorkerState
from tests.chaos.cluster import Cluster
from tests.chaos.failing_engine import Failing, fail_from_now_on, switch_of
from tests.chaos.process import Process, send
from tests.chaos.scene import Loss, Scene
from tests.support.waiting import wait_until
from worker.health import MOST_FAULTS

#: The real engine is loaded anew after each failure, and compiles anew.
_PATIENCE_SECONDS = 300
_MOST_STEPS = 4


def failing_node(scene: Scene) -> list[Loss]:
    """Let a node fail whatever it takes until it takes no more, then start it again without its trouble.

    It is the same node each time: what two nodes in turn cannot carry out fails, and rightly.
    """
    cluster, chance = scene.cluster, scene.chance
    node = cluster.nodes[-1]
    switch = switch_of(cluster.folder, node.name)
    told = _heard(cluster, node)
    most_faults = (told.faults if told else 0) + 4 * MOST_FAULTS
    fail_from_now_on(switch, chance.choice(tuple(Failing)), steps=chance.randint(0, _MOST_STEPS))
    try:
        told = wait_until(
            lambda: _heard_idle(cluster, node, most_faults=most_faults),
            seconds=_PATIENCE_SECONDS,
            what=f"{node.name} is unhealthy after {MOST_FAULTS} failures in a row",
        )
        sleep(chance.uniform(0.5, 2))
        now = _heard(cluster, node)
        if now is not None and (now.run, now.faults) != (told.run, told.faults):
            scene.breaches.append(f"{node.name} went on to fail jobs although it was unhealthy: {now}")
    finally:
        switch.unlink()
    # As a supervisor does it, when somebody has mended the machine.
    node.wanted = False
    send(node.pid, signal.SIGTERM)
    wait_until(lambda: not node.is_running(), seconds=30, what=f"{node.name} ends at SIGTERM")
    node.start()
    wait_until(
        lambda: (beat := _heard(cluster, node)) and beat.takes_jobs,
        seconds=_PATIENCE_SECONDS,
        what=f"{node.name} takes jobs again",
    )
    return []


def _heard(cluster: Cluster, node: Process) -> WorkerBeat | None:
    return next((beat for beat in cluster.registry.alive() if beat.worker_id == node.name), None)


def _heard_idle(cluster: Cluster, node: Process, *, most_faults: int) -> WorkerBeat | None:
    """Return the beat in which a node says that it takes no more jobs, and why.

    Raises:
        TimeoutError: when it goes on for too long.
    """
    beat = _heard(cluster, node)
    if beat is None:
        return None
    if f"failed {MOST_FAULTS} jobs in a row" in (beat.reason or ""):
        # It is shown as unhealthy when it has handed the last one back.
        return beat if beat.state is WorkerState.UNHEALTHY else None
    if beat.faults >= most_faults:
        raise TimeoutError(f"{node.name} failed {beat.faults} jobs, and takes the next one")
    return None
