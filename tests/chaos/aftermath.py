"""What is done when all jobs of a run are over: late messages, a look at what is left, streams replayed."""

from __future__ import annotations

from random import Random

import redis

from shared.broker import QUEUE
from shared.redis.stream import GROUP, STREAM
from tests.chaos.asking import Asking
from tests.chaos.broker_faults import envelope
from tests.chaos.cluster import Cluster
from tests.support.waiting import wait_until

_QUEUES = [QUEUE, *(f"{QUEUE}:{step}" for step in (3, 6, 9))]
_STREAMS = 300


def deliver_late(cluster: Cluster) -> None:
    """Deliver what killed nodes had taken, as the broker does after half a day; it must do nothing."""
    before = cluster.versions()
    texts = cluster.client.hvals("unacked")
    cluster.client.delete("unacked", "unacked_index")
    for text in texts:
        cluster.client.lpush(QUEUE, envelope(text))
    wait_until(
        lambda: is_quiet(cluster) and not cluster.client.hlen("unacked"), seconds=60,
        what="late messages are dropped",
    )  # fmt: skip
    if cluster.versions() != before:
        raise TimeoutError("a job changed because of a message that came half a day late")


def left_in_redis(cluster: Cluster) -> list[str]:
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


def replay(cluster: Cluster, asking: Asking, chance: Random) -> dict[str, str]:
    """Return the event streams of some jobs, from their first event, as the API replays them."""
    ids = sorted(cluster.statuses())
    return {job_id: asking.events(job_id) for job_id in chance.sample(ids, min(_STREAMS, len(ids)))}


def is_quiet(cluster: Cluster) -> bool:
    """Whether no message and no report is under way."""
    return not any(cluster.client.llen(name) for name in _QUEUES) and not cluster.client.xlen(STREAM)
