"""The faults, each a function of the scene; it returns when it is over, with the leases that it took away."""

from __future__ import annotations

import signal
from pathlib import PurePosixPath
from threading import Thread
from time import sleep, time

from shared.storage.layout import job_folder
from shared.storage.store import ArtifactStore
from tests.chaos import broker_faults
from tests.chaos.commit_deaths import COMMIT_POINTS, CommitDeaths
from tests.chaos.deaths import HEADER, POINTS
from tests.chaos.disk import Disk, set_disk
from tests.chaos.failing_node import failing_node
from tests.chaos.jumping_clock import set_shift
from tests.chaos.light_faults import LIGHT
from tests.chaos.long_full_disk import long_full_disk
from tests.chaos.outside_faults import OUTSIDE
from tests.chaos.process import Process, send
from tests.chaos.restore_faults import RESTORES
from tests.chaos.scene import Fault, Loss, Scene
from tests.chaos.second_installation import make_second_installation
from tests.chaos.upgrade_faults import upgrade
from tests.support.mortal_disk import LEAST_POINTS
from tests.support.waiting import wait_until

_SLOW_DEATHS = 4
_PATIENCE_SECONDS = 120


def kill_child(scene: Scene) -> list[Loss]:
    node = scene.busy_node()
    losses = scene.losses_of([node])
    for pid in node.children():
        send(pid, signal.SIGKILL)
    return losses


def kill_at_commit(scene: Scene) -> list[Loss]:
    """Kill a child at each change of the disk that the end of a job makes, a job for each; some at a time.

    The real engine takes seconds to load again, so that a round of it has a few of them only.
    """
    most = LEAST_POINTS if scene.cluster.is_quick else _SLOW_DEATHS
    points = [scene.next_of(COMMIT_POINTS) for _ in range(most)]
    deaths = CommitDeaths(scene.cluster.commit_deaths / f"round-{time():.3f}")
    deaths.want(points)
    try:
        wait_until(
            lambda: len(deaths.taken()) == most, seconds=_PATIENCE_SECONDS, what=f"{most} commits are killed"
        )
    finally:
        deaths.close()
    return [Loss(one.at, one.node, one.job_id, one.attempt) for one in deaths.taken() if one.came]


def kill_node(scene: Scene) -> list[Loss]:
    node = scene.busy_node()
    losses = scene.losses_of([node])
    _restart(node, scene.chance.uniform(0, scene.cluster.pace.lease + 1))
    return losses


def drain_node(scene: Scene) -> list[Loss]:
    """End a node as a shutdown does; it hands its job back, so that nothing is lost by that."""
    node = scene.busy_node()
    node.wanted = False
    send(node.pid, signal.SIGTERM)
    wait_until(lambda: not node.is_running(), seconds=30, what=f"{node.name} ends at SIGTERM")
    node.start()
    return []


def make_zombie(scene: Scene) -> list[Loss]:
    """Stop a node, or only its child, until its job is another's, then let it go on."""
    cluster, node = scene.cluster, scene.busy_node()
    losses = scene.losses_of([node])
    stopped = node.children() if scene.chance.random() < 0.5 else [node.pid, *node.children()]
    for pid in stopped:
        send(pid, signal.SIGSTOP)
    sleep(cluster.pace.lease + cluster.pace.rescue + scene.chance.uniform(1, 2))
    for pid in stopped:
        send(pid, signal.SIGCONT)
    return losses


def kill_control(scene: Scene) -> list[Loss]:
    _restart(scene.cluster.control, scene.chance.uniform(0, 1))
    return []


def kill_web(scene: Scene) -> list[Loss]:
    _restart(scene.cluster.web, scene.chance.uniform(0, 1))
    return []


def _kill_web_at(point: str) -> Fault:
    def kill(scene: Scene) -> list[Loss]:
        web = scene.cluster.web
        wait_until(scene.cluster.answers, seconds=30, what="web is there to be killed")
        web.wanted = False
        kind = scene.chance.choice(("plain", "pictures", "reuse"))
        submit = Thread(target=scene.load.submit, kwargs={"kind": kind, "once": {HEADER: point}})
        submit.start()
        wait_until(lambda: not web.is_running(), seconds=30, what=f"web dies at {point} of a submit")
        web.kill()  # whatever is left of its group
        sleep(scene.chance.uniform(0, 1))
        web.start()
        submit.join()
        return []

    kill.__name__ = f"kill_web_at_{point.replace('-', '_')}"
    return kill


def _damage(how: str) -> Fault:
    def damage(scene: Scene) -> list[Loss]:
        """Damage the newest checkpoints of jobs that are worked on, and kill the children that do."""
        store = scene.cluster.store
        losses = scene.losses_of(scene.chance.sample(scene.cluster.nodes, min(3, len(scene.cluster.nodes))))
        for loss in losses:
            keys = [key for key in store.list(job_folder(loss.job_id)) if key.endswith(".safetensors")]
            keys = sorted((key for key in keys if "/checkpoint-" in key), key=_step_of)
            if keys:
                scene.damaged.add(keys[-1])
                _spoil(store, keys[-1], how)
        held = {loss.node for loss in losses}
        for node in scene.cluster.nodes:
            if node.name in held:
                for pid in node.children():
                    send(pid, signal.SIGKILL)
        return losses

    damage.__name__ = f"{how}_checkpoint"
    return damage


def _spoil(store: ArtifactStore, key: str, how: str) -> None:
    if how == "remove":
        store.delete(key)
        return
    data = bytearray(store.read(key))
    data[-5] ^= 4
    store.write(key, bytes(data if how == "flip" else data[:-7]))


def _step_of(key: str) -> int:
    return int(PurePosixPath(key).stem.rpartition("-")[2])


def _fail_disk(state: Disk) -> Fault:
    def fail(scene: Scene) -> list[Loss]:
        set_disk(scene.cluster.disk_file, state)
        sleep(scene.chance.uniform(0.5, 3))
        set_disk(scene.cluster.disk_file, Disk.WELL)
        return []

    fail.__name__ = f"{state.name.lower()}_disk"
    return fail


def _jump_clock(hours: int) -> Fault:
    def jump(scene: Scene) -> list[Loss]:
        """Let the clock be wrong for some seconds: most of a day, or an hour."""
        set_shift(scene.cluster.clock_file, scene.chance.choice((hours, hours * 20)) * 3600)
        sleep(scene.chance.uniform(1, 3))
        set_shift(scene.cluster.clock_file, 0)
        return []

    jump.__name__ = "clock_ahead" if hours > 0 else "clock_behind"
    return jump


def _restart(process: Process, after_seconds: float) -> None:
    process.kill()
    sleep(after_seconds)
    process.start()


_ALL: tuple[Fault, ...] = (
    kill_child, kill_at_commit, kill_node, drain_node, make_zombie, *LIGHT, kill_control, kill_web,
    *map(_kill_web_at, POINTS),
    broker_faults.restart_redis, broker_faults.restart_redis_unseen,
    broker_faults.wipe_redis, broker_faults.flush_redis,
    broker_faults.slow_redis, broker_faults.full_redis, broker_faults.repeat_messages,
    broker_faults.lose_messages, broker_faults.disturb_reports, broker_faults.lose_success,
    *map(_damage, ("truncate", "flip", "remove")), *map(_fail_disk, (Disk.FULL, Disk.READ_ONLY)),
    *map(_jump_clock, (1, -1)), *RESTORES, *OUTSIDE, long_full_disk, upgrade, failing_node,
    make_second_installation((kill_child, kill_node, kill_control, kill_web)),
)  # fmt: skip
FAULTS: dict[str, Fault] = {fault.__name__: fault for fault in _ALL}
#: Those of a folder: its disk, its mount, and the system calls by which it is written.
OF_A_FOLDER = frozenset(
    {"kill_at_commit", "full_disk", "read_only_disk", "long_full_disk", "unmount_storage"}
)
#: Those of a bucket.
OF_A_BUCKET = frozenset({"silent_storage", "broken_storage"})
