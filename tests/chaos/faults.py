"""The faults, each a function of the cluster and a source of chance; it returns when it is over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from time import sleep

from shared.broker import QUEUE
from shared.coordination.stream import STREAM
from tests.chaos.cluster import Cluster
from tests.chaos.jumping_clock import set_shift
from tests.chaos.process import Process, send


def kill_child(cluster: Cluster, chance: Random) -> None:
    for pid in chance.choice(cluster.nodes).children():
        send(pid, signal.SIGKILL)


def kill_node(cluster: Cluster, chance: Random) -> None:
    _restart(chance.choice(cluster.nodes), chance.uniform(0, cluster.pace.lease + 1))


def kill_control(cluster: Cluster, chance: Random) -> None:
    _restart(cluster.control, chance.uniform(0, 1))


def kill_web(cluster: Cluster, chance: Random) -> None:
    _restart(cluster.web, chance.uniform(0, 1))


def make_zombie(cluster: Cluster, chance: Random) -> None:
    node = chance.choice(cluster.nodes)
    node.signal_all(signal.SIGSTOP)
    sleep(cluster.pace.lease + cluster.pace.rescue + chance.uniform(1, 2))
    node.signal_all(signal.SIGCONT)


def restart_redis(cluster: Cluster, chance: Random) -> None:
    cluster.redis.stop(signal.SIGKILL)
    sleep(chance.uniform(0, 1))
    cluster.redis.start()


def wipe_redis(cluster: Cluster, chance: Random) -> None:
    cluster.wipe_redis()


def flush_redis(cluster: Cluster, chance: Random) -> None:
    cluster.client.flushall()


def slow_redis(cluster: Cluster, chance: Random) -> None:
    cluster.client.execute_command("CLIENT", "PAUSE", chance.randint(500, 2000), "ALL")


def repeat_messages(cluster: Cluster, chance: Random) -> None:
    for text in cluster.client.lrange(QUEUE, 0, 4):
        cluster.client.lpush(QUEUE, text)


def lose_message(cluster: Cluster, chance: Random) -> None:
    cluster.client.rpop(QUEUE)


def disturb_reports(cluster: Cluster, chance: Random) -> None:
    """Hold control, and repeat or lose what is reported meanwhile."""
    cluster.control.signal_all(signal.SIGSTOP)
    try:
        before = {entry_id for entry_id, _ in cluster.client.xrange(STREAM)}
        sleep(chance.uniform(0.3, 1))
        for entry_id, fields in cluster.client.xrange(STREAM):
            if entry_id not in before:
                if chance.random() < 0.5:
                    cluster.client.xadd(STREAM, fields)
                else:
                    cluster.client.xdel(STREAM, entry_id)
    finally:
        cluster.control.signal_all(signal.SIGCONT)


def damage_checkpoint(cluster: Cluster, chance: Random) -> None:
    """Truncate, flip or remove a newest checkpoint, then kill the nodes' children."""
    files = sorted(
        (cluster.folder / "data/storage/jobs").rglob("*.safetensors"), key=lambda f: f.stat().st_mtime
    )
    for path in files[-3:]:
        data = bytearray(path.read_bytes())
        how = chance.choice(("truncate", "flip", "remove"))
        if how == "remove":
            path.unlink()
            continue
        data[-5] ^= 4
        path.write_bytes(data if how == "flip" else data[:-7])
    for node in cluster.nodes:
        for pid in node.children():
            send(pid, signal.SIGKILL)


def jump_clock(cluster: Cluster, chance: Random) -> None:
    set_shift(cluster.clock_file, chance.choice((-3600, 3600)))
    sleep(chance.uniform(1, 3))
    set_shift(cluster.clock_file, 0)


def _restart(process: Process, after_seconds: float) -> None:
    process.kill()
    sleep(after_seconds)
    process.start()


FAULTS: tuple[Callable[[Cluster, Random], None], ...] = (
    kill_child, kill_node, kill_control, kill_web, make_zombie, restart_redis, wipe_redis, flush_redis,
    slow_redis, repeat_messages, lose_message, disturb_reports, damage_checkpoint, jump_clock,
)  # fmt: skip
