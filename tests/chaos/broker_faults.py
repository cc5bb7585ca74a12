"""Faults of Redis, and of what it holds: messages to the workers, and reports from them."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep

from tests.chaos.process import send
from tests.chaos.scene import Loss, Scene
from tests.support.waiting import wait_until

#: How long to wait until some node has a job; then, while all parents are stopped, until one has succeeded.
_HELD_SECONDS, _UNSEEN_SECONDS = 10, 4


def restart_redis(scene: Scene) -> list[Loss]:
    scene.cluster.redis.stop(signal.SIGKILL)
    sleep(scene.chance.uniform(0, 1))
    scene.cluster.redis.start()
    return []


def restart_redis_unseen(scene: Scene) -> list[Loss]:
    """Let jobs end while no node's parent looks, and Redis be away when they want to tell it."""
    cluster = scene.cluster
    parents = [node.pid for node in cluster.nodes if node.is_running()]
    with suppress(TimeoutError):  # where nothing runs, there is nothing to be seen
        wait_until(cluster.holders, seconds=_HELD_SECONDS, what="a node has a job")
    for pid in parents:
        send(pid, signal.SIGSTOP)
    try:
        held = {job_id for jobs in cluster.holders().values() for job_id, _ in jobs}
        with suppress(TimeoutError):
            wait_until(
                lambda: any(cluster.steps_done(job_id) for job_id in held),
                seconds=_UNSEEN_SECONDS,
                what="one of these jobs has succeeded",
            )
        cluster.redis.stop(signal.SIGKILL)
    finally:
        for pid in parents:
            send(pid, signal.SIGCONT)
    sleep(scene.chance.uniform(0, 1))
    cluster.redis.start()
    return []


def wipe_redis(scene: Scene) -> list[Loss]:
    scene.cluster.wipe_redis()
    return []


def flush_redis(scene: Scene) -> list[Loss]:
    scene.cluster.client.flushall()
    return []


def slow_redis(scene: Scene) -> list[Loss]:
    milliseconds = scene.chance.randint(500, 2000)
    scene.cluster.client.execute_command("CLIENT", "PAUSE", milliseconds, "ALL")
    sleep(milliseconds / 1000)
    return []


def full_redis(scene: Scene) -> list[Loss]:
    """Let Redis refuse all that needs memory, as one does whose memory, or disk, is full."""
    scene.cluster.client.config_set("maxmemory", 1)
    sleep(scene.chance.uniform(0.5, 2))
    scene.cluster.client.config_set("maxmemory", 0)
    return []


def repeat_messages(scene: Scene) -> list[Loss]:
    """Put messages that wait, and messages that are being worked on, into their queues once more."""
    client = scene.cluster.client
    for queue in scene.cluster.lines:
        for text in client.lrange(queue, 0, 4):
            client.lpush(queue, text)
    for text in client.hvals(scene.cluster.names.unacked)[:3]:
        taken = Taken.read(text)
        client.rpush(taken.queue, taken.text)
    return []


def lose_messages(scene: Scene) -> list[Loss]:
    for queue in scene.cluster.lines:
        for _ in range(scene.chance.randint(1, 3)):
            scene.cluster.client.rpop(queue)
    return []


def disturb_reports(scene: Scene) -> list[Loss]:
    """Hold control, and repeat or lose what is reported meanwhile."""
    client, chance = scene.cluster.client, scene.chance
    scene.cluster.control.signal_all(signal.SIGSTOP)
    try:
        before = {entry_id for entry_id, _ in client.xrange(scene.cluster.stream)}
        sleep(chance.uniform(0.3, 1))
        for entry_id, fields in client.xrange(scene.cluster.stream):
            if entry_id not in before:
                if chance.random() < 0.5:
                    client.xadd(scene.cluster.stream, fields)
                else:
                    client.xdel(scene.cluster.stream, entry_id)
    finally:
        scene.cluster.control.signal_all(signal.SIGCONT)
    return []


def lose_success(scene: Scene) -> list[Loss]:
    """Hold control until a success is reported, and lose that report: the result is committed by then."""
    client, deadline = scene.cluster.client, monotonic() + 5
    scene.cluster.control.signal_all(signal.SIGSTOP)
    try:
        while monotonic() < deadline:
            found = [
                entry_id
                for entry_id, fields in client.xrange(scene.cluster.stream)
                if '"type":"succeeded"' in fields.get("event", "")
            ]
            if found:
                client.xdel(scene.cluster.stream, *found)
                break
            sleep(0.05)
    finally:
        scene.cluster.control.signal_all(signal.SIGCONT)
    return []


@dataclass(frozen=True)
class Taken:
    """A message that is being worked on, and the queue that it was taken from."""

    text: str
    queue: str

    @classmethod
    def read(cls, entry: str) -> Taken:
        """Read an entry of the broker's list of such messages."""
        message, _, queue = json.loads(entry)
        return cls(json.dumps(message), queue)
