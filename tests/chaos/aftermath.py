"""What is done when all jobs of a run are over: late messages, a look at what is left, streams replayed."""

from __future__ import annotations

import re
from random import Random

import redis

from shared.redis.set_aside import SetAside
from shared.redis.stream import GROUP
from tests.chaos.asking import Asking
from tests.chaos.broker_faults import Taken
from tests.chaos.cluster import Cluster
from tests.support.waiting import wait_until

_STREAMS = 300
_LOOKS = 5
_LOOK_ASIDE = 1000
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def deliver_late(cluster: Cluster) -> None:
    """Deliver what killed nodes had taken, as the broker does after half a day; it must do nothing."""
    before = cluster.versions()
    texts = cluster.client.hvals(cluster.names.unacked)
    cluster.client.delete(cluster.names.unacked, cluster.names.unacked_index)
    for text in texts:
        taken = Taken.read(text)
        cluster.client.lpush(taken.queue, taken.text)
    looks = [False]

    def is_dropped() -> bool:
        # Several looks in a row: a message that was just taken is in neither list for a moment.
        looks.append(is_quiet(cluster) and not cluster.client.hlen(cluster.names.unacked))
        return len(looks) > _LOOKS and all(looks[-_LOOKS:])

    wait_until(is_dropped, seconds=60, what="late messages are dropped")
    # A draft that a wrong clock made look old may go at any moment.
    if any(before.get(job_id) != version for job_id, version in cluster.versions().items()):
        raise TimeoutError("a job changed because of a message that came half a day late")


def left_in_redis(cluster: Cluster) -> list[str]:
    """Return in words what Redis holds that should be gone."""
    client = cluster.client
    left = [f"{count} messages in {name}" for name in cluster.queues if (count := client.llen(name))]
    left += [f"{count} unacknowledged messages" for count in [client.hlen(cluster.names.unacked)] if count]
    left += [f"{count} entries in the stream" for count in [client.xlen(cluster.stream)] if count]
    try:
        pending = client.xpending(cluster.stream, GROUP)["pending"]
    except redis.ResponseError:
        pending = 0  # there is no group yet in a Redis that was wiped
    left += [f"{pending} pending entries of the stream"] if pending else []
    return left + set_aside_of_ours(cluster)


def set_aside_of_ours(cluster: Cluster) -> list[str]:
    """Return in words which messages and reports were set aside; what a fault puts there has no id."""
    aside = SetAside(cluster.client, cluster.names).entries(_LOOK_ASIDE)
    return [f"an entry of ours, set aside: {one.reason}" for one in aside if _ID.search(one.entry)]


def replay(cluster: Cluster, asking: Asking, chance: Random) -> dict[str, str]:
    """Return the event streams of some jobs, from their first event, as the API replays them."""
    ids = sorted(cluster.statuses())
    return {job_id: asking.events(job_id) for job_id in chance.sample(ids, min(_STREAMS, len(ids)))}


def is_quiet(cluster: Cluster) -> bool:
    """Whether no message and no report is under way."""
    return not any(cluster.client.llen(name) for name in cluster.queues) and not cluster.client.xlen(
        cluster.stream
    )
