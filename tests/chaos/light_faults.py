"""Faults of the light node, each while it holds a fast job: nobody else takes those, and they are short."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from shared.storage.layout import marker_key
from shared.storage.verify import holds_file
from tests.chaos.process import send
from tests.chaos.scene import Fault, Loss, Scene
from tests.support.waiting import wait_until

#: Fast jobs that are handed in for one strike: one may end before anybody looks.
_MOST_TRIES = 40
#: The node may be starting, and the real engine takes seconds to load.
_PATIENCE_SECONDS = 120
_STOPPED = "T"


def kill_light_child(scene: Scene) -> list[Loss]:
    with _held(scene) as losses:
        for pid in scene.cluster.light.children():
            send(pid, signal.SIGKILL)
    return losses


def kill_light_node(scene: Scene) -> list[Loss]:
    with _held(scene) as losses:
        scene.cluster.light.kill()
    _hand_in_drafts(scene)
    sleep(scene.chance.uniform(0, scene.cluster.pace.lease + 1))
    scene.cluster.light.start()
    return losses


def make_light_zombie(scene: Scene) -> list[Loss]:
    """Let its child, or all of it, sleep until its job is due again, and then go on."""
    pace, light = scene.cluster.pace, scene.cluster.light
    is_whole = scene.chance.random() < 0.5
    with _held(scene) as losses:
        if is_whole:
            send(light.pid, signal.SIGSTOP)
        try:
            _hand_in_drafts(scene)
            sleep(pace.lease + pace.rescue + scene.chance.uniform(1, 2))
        finally:
            send(light.pid, signal.SIGCONT)
    return losses


def drain_light_node(scene: Scene) -> list[Loss]:
    """End it as a shutdown does: the one step that its job has is made, so that nothing is lost by that."""
    light = scene.cluster.light
    with _held(scene):
        light.wanted = False
        send(light.pid, signal.SIGTERM)
    wait_until(lambda: not light.is_running(), seconds=30, what=f"{light.name} ends at SIGTERM")
    light.start()
    return []


LIGHT: tuple[Fault, ...] = (kill_light_child, kill_light_node, make_light_zombie, drain_light_node)


def _hand_in_drafts(scene: Scene) -> None:
    """Hand in a draft, and one in its place: while nobody can begin either, so that the first never is."""
    first = scene.load.submit(kind="draft")
    if first.ids:
        scene.load.submit(kind="draft", replaces=first.job_id)


@contextmanager
def _held(scene: Scene) -> Iterator[list[Loss]]:
    """Hold the light node's children in the middle of a fast job, its result not stored; give its leases.

    What ends before it is held is let go, and another one is handed in.
    """
    cluster, light = scene.cluster, scene.cluster.light
    for _ in range(_MOST_TRIES):
        job = scene.load.submit(kind="fast")
        wait_until(
            lambda: light.name in cluster.holders() or (job.ids and cluster.steps_done(job.job_id)),  # noqa: B023
            seconds=_PATIENCE_SECONDS,
            what=f"{light.name} takes a fast job",
        )
        children = light.children()
        for pid in children:
            send(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: all(map(_is_held, children)), seconds=10, what="its children are held")  # noqa: B023
            losses = [loss for loss in scene.losses_of([light]) if not _is_stored(scene, loss)]
            if losses:
                yield losses
                return
        finally:
            for pid in children:
                send(pid, signal.SIGCONT)
    raise TimeoutError(f"{light.name} ended {_MOST_TRIES} fast jobs before it could be struck")


def _is_held(pid: int) -> bool:
    """Whether a process is stopped, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in (_STOPPED, "Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def _is_stored(scene: Scene, loss: Loss) -> bool:
    """Whether the attempt has its result: then nothing of it is computed again, whatever happens."""
    return holds_file(scene.cluster.store, marker_key(loss.job_id, loss.attempt))
