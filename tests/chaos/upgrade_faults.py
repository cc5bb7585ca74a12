"""An upgrade in mid-work, as the docs say it is done, and one that is taken back."""

from __future__ import annotations

import json
import signal
from enum import StrEnum
from time import sleep

import httpx2

from shared.installation import IDENTITY_KEY
from tests.chaos.cluster import Cluster
from tests.chaos.next_release import NEXT_BUILD, is_next, set_next, tell_more
from tests.chaos.process import Process, send
from tests.chaos.scene import Loss, Scene
from tests.support.waiting import wait_until

_PATIENCE_SECONDS = 60
#: Nodes change their release in so many groups, however many they are.
_GROUPS = 3


class Way(StrEnum):
    """In which order processes change their release."""

    SERVICE_FIRST = "web and control, then the nodes"
    NODES_FIRST = "half of the nodes, then web and control, then the other nodes"
    AND_BACK = "web, control and half of the nodes, and then these go back"


def upgrade(scene: Scene) -> list[Loss]:
    """Let processes change to the other release while jobs are half done, in one of the ways.

    Each is asked to end, by SIGTERM or by a drain, and started again. When all have become of the next
    release, the next upgrade goes the other way.
    """
    way = scene.chance.choice(list(Way))
    was_next = is_next(scene.cluster.folder, scene.cluster.control.name)
    nodes = scene.chance.sample(scene.cluster.nodes, len(scene.cluster.nodes))
    half, others = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
    if way is not Way.NODES_FIRST:
        _change_service(scene, is_next=not was_next)
    if way is not Way.SERVICE_FIRST:
        _change_nodes(scene, half, is_next=not was_next)
    sleep(scene.chance.uniform(0.5, 2))
    _check_workers(scene)
    if way is Way.AND_BACK:
        _change_nodes(scene, half, is_next=was_next)
        _change_service(scene, is_next=was_next)
    elif way is Way.NODES_FIRST:
        _change_service(scene, is_next=not was_next)
        _change_nodes(scene, others, is_next=not was_next)
    else:
        _change_nodes(scene, nodes, is_next=not was_next)
    return []


def _change_service(scene: Scene, *, is_next: bool) -> None:
    """Change web and control, in either order; for a moment they are of two releases."""
    cluster = scene.cluster
    if is_next:
        _rewrite_identity(cluster)
    for process in scene.chance.sample((cluster.web, cluster.control), 2):
        _end(process)
        set_next(cluster.folder, [process.name], is_next=is_next)
        process.start()
        what = f"{process.name} of the other release is at work"
        wait_until(lambda: _is_ready(cluster), seconds=_PATIENCE_SECONDS, what=what)


def _is_ready(cluster: Cluster) -> bool:
    """Whether web says that jobs are taken in and started: it reads what control tells of itself."""
    try:
        answer = httpx2.get(f"{cluster.url}/readyz", timeout=20)
    except httpx2.TransportError:
        return False
    return answer.is_success and not answer.json()["degraded"]


def _change_nodes(scene: Scene, nodes: list[Process], *, is_next: bool) -> None:
    cluster = scene.cluster
    size = -(-len(cluster.nodes) // _GROUPS)
    for start in range(0, len(nodes), size):
        group = nodes[start : start + size]
        is_asked = scene.chance.random() < 0.5
        for node in group:
            if is_asked:
                node.wanted = False
                scene.load.asking.post(f"/workers/{node.name}/drain")
        for node in group:
            _end(node, is_asked=is_asked)
        names = {node.name for node in group}
        set_next(cluster.folder, sorted(names), is_next=is_next)
        for node in group:
            node.start()

        def beat(names: set[str] = names) -> bool:
            builds = {one.worker_id: one.build for one in cluster.registry.alive()}
            return all((builds.get(name, "") == NEXT_BUILD) is is_next and name in builds for name in names)

        wait_until(beat, seconds=_PATIENCE_SECONDS, what=f"{sorted(names)} beat with the other release")


def _end(process: Process, *, is_asked: bool = False) -> None:
    """End a process by SIGTERM, unless it was asked otherwise; it must say that all is well."""
    process.wanted = False
    if not is_asked:
        send(process.pid, signal.SIGTERM)
    wait_until(
        lambda: not process.is_running(), seconds=_PATIENCE_SECONDS, what=f"{process.name} ends when asked to"
    )
    if code := process.wait():
        raise TimeoutError(f"{process.name} was asked to end, and ended with {code}:\n{process.tail()}")


def _check_workers(scene: Scene) -> None:
    """Prove that web lists every node, of whatever release."""
    listed = {worker["id"] for worker in scene.load.asking.get("/workers").data["workers"]}
    if missing := {node.name for node in scene.cluster.nodes} - listed:
        raise TimeoutError(f"in a mixed fleet web does not list {sorted(missing)}")


def _rewrite_identity(cluster: Cluster) -> None:
    """Add a field to the identity, as the next release would have written it."""
    told = json.loads(cluster.store.read(IDENTITY_KEY))
    cluster.store.write(IDENTITY_KEY, json.dumps(tell_more(told)).encode())
