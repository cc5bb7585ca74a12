"""A disk that is full for longer than it takes until a job counts as lost three times over."""

from __future__ import annotations

from time import monotonic, sleep

from tests.chaos.asking import Answer
from tests.chaos.disk import Disk, set_disk
from tests.chaos.load import make_picture
from tests.chaos.scene import Loss, Scene
from tests.support.waiting import wait_until

#: How a submit is refused: what is known of the room before, or the write that fails.
_REFUSALS = {Disk.TOLD_FULL: (507, "storage_full"), Disk.STORAGE_FULL: (503, "storage_unavailable")}
_PATIENCE_SECONDS = 60
_NEW_PICTURES = range(100, 250)


def long_full_disk(scene: Scene) -> list[Loss]:
    """Let it be full so long that every node gives up what it had; uploads are refused, with words.

    Either the disk below all that is written, and it says so; or the storage's alone, by surprise: then
    control goes on, and counts each worker that it takes for lost.
    """
    cluster, pace = scene.cluster, scene.cluster.pace
    state = scene.chance.choice((Disk.STORAGE_FULL, Disk.TOLD_FULL))
    wait_until(cluster.answers, seconds=_PATIENCE_SECONDS, what="web is there to refuse")
    until = monotonic() + 3 * (pace.stall + pace.lease)
    set_disk(cluster.disk_file, state)
    try:
        # What is held after one lease is held by a node that lives, whatever was done to it before.
        sleep(pace.lease + pace.renew)
        held, before = cluster.holders(), cluster.lost_workers()
        seen = cluster.versions()
        _check_refusal(scene, state)
        sleep(max(0.0, until - monotonic()))
        taken = held.keys() & cluster.holders().keys()
    finally:
        set_disk(cluster.disk_file, Disk.WELL)
    if taken:
        raise TimeoutError(f"with the disk still full another job was taken by {sorted(taken)}")
    _check_count(scene, [job_id for leases in held.values() for job_id, _ in leases], before, seen)
    return []


def _check_count(scene: Scene, job_ids: list[str], before: dict[str, int], seen: dict[str, int]) -> None:
    """Prove that jobs which were handed back count no more lost workers than `before`."""
    cluster = scene.cluster

    def are_told() -> bool:
        versions = cluster.versions()
        return all(versions[job_id] > seen[job_id] for job_id in job_ids)

    wait_until(are_told, seconds=_PATIENCE_SECONDS, what="control knows what became of each job")
    after = cluster.lost_workers()
    if lost := [job_id for job_id in job_ids if after[job_id] > before[job_id]]:
        raise TimeoutError(f"a full disk was counted as the loss of a worker, for the jobs {lost}")


def _check_refusal(scene: Scene, state: Disk) -> None:
    picture = make_picture(scene.chance.choice(_NEW_PICTURES))

    def ask() -> Answer | None:
        return scene.load.asking.post_once("/assets", files={"file": ("picture.png", picture)})

    answer = wait_until(ask, seconds=_PATIENCE_SECONDS, what="an upload is answered")
    given = answer.status_code, answer.data.get("code")
    if given != _REFUSALS[state] or not answer.data.get("detail"):
        raise TimeoutError(f"an upload onto a full disk ({state}) was answered with {given}: {answer.data}")
