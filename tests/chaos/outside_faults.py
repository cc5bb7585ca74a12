"""What others do to a service: junk in its Redis, commands that are refused, a storage that is gone."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep, time

from tests.chaos.scene import Loss, Scene
from tests.support.waiting import wait_until

#: What stands in place of a message, a report or a heartbeat.
_JUNK: tuple[str | bytes, ...] = (
    "", "no json", "[]", "{}", '{"headers": null}', '{"version": 1}', '{"version": 9, "event_id": 7}',
    b"\xff\xfe\x00", "[" * 5000,
)  # fmt: skip
#: Each is at the heart of something: taking messages, reporting, claiming, progress and flags.
_COMMANDS = ("brpop", "xadd", "xreadgroup", "evalsha", "set", "mget", "publish", "hset")


def junk_items(scene: Scene) -> list[Loss]:
    """Put what nobody can read wherever others write, and keys of the wrong type in the place of some."""
    client, names, chance = scene.cluster.client, scene.cluster.names, scene.chance
    for junk in chance.sample(_JUNK, 4):
        push = chance.choice((client.lpush, client.rpush))
        push(chance.choice(scene.cluster.queues), junk)
        client.xadd(scene.cluster.stream, {chance.choice(("event", "other")): junk})
    tag = f"junk-{chance.random()}"
    client.hset(names.unacked, tag, "no json")
    client.zadd(names.unacked_index, {tag: time()})
    client.set(names.key("worker", "junk"), "no json", ex=30)
    for node in scene.cluster.holders().values():
        for job_id, attempt in node:
            key = names.key("flag", job_id, attempt)
            client.pipeline().delete(key).rpush(key, "a list").execute()  # it may be there
    return []


def refuse_commands(scene: Scene) -> list[Loss]:
    """Let Redis refuse two commands for some seconds, as it does when permissions are changed."""
    client, chance = scene.cluster.client, scene.chance
    refused = {scene.next_of(_COMMANDS) for _ in range(2)}
    try:
        client.execute_command("ACL", "SETUSER", "default", *(f"-{command}" for command in refused))
        sleep(chance.uniform(0.5, 3))
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+@all")
    return []


def unmount_storage(scene: Scene) -> list[Loss]:
    """Leave an empty folder in the place of the storage for some seconds; nobody may write into it."""
    _wait_for_service(scene)
    storage = scene.cluster.folder / "data" / "storage"
    away = storage.with_name("storage-away")
    storage.rename(away)
    storage.mkdir()
    sleep(scene.chance.uniform(1, 4))
    written = sorted(path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file())
    storage.rename(storage.with_name(f"mount-point-{time()}"))
    away.rename(storage)
    if written:
        raise TimeoutError(f"written below the mount point: {written[:5]}")
    return []


def silent_storage(scene: Scene) -> list[Loss]:
    """Let the store in a bucket answer nobody for some seconds, longer than a request waits for it."""
    _wait_for_service(scene)
    way = scene.cluster.way_to_bucket
    way.swallow()
    sleep(scene.chance.uniform(1, 8))
    way.let_through()
    way.break_all()  # what was swallowed is not answered any more
    return []


def broken_storage(scene: Scene) -> list[Loss]:
    """Break all connections to the store in a bucket, some times in a row."""
    for _ in range(scene.chance.randint(5, 20)):
        scene.cluster.way_to_bucket.break_all()
        sleep(scene.chance.uniform(0.02, 0.3))
    return []


def _wait_for_service(scene: Scene) -> None:
    """Wait until web answers and control beats: one that is starting refuses such a storage and ends."""
    cluster = scene.cluster
    key = cluster.names.key("control")
    seen = cluster.client.get(key)  # perhaps of one that was killed
    wait_until(
        lambda: cluster.answers() and cluster.client.get(key) not in (None, seen),
        seconds=60,
        what="web and control are at work",
    )


OUTSIDE: tuple[Callable[[Scene], list[Loss]], ...] = (
    junk_items, refuse_commands, unmount_storage, silent_storage, broken_storage,
)  # fmt: skip
