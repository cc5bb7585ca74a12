"""Backups that are put back in the middle of a run, with web and control stopped, and nodes and Redis alive.

Nobody is answered between backup and restore: web is down. What the workers do meanwhile is lost from the
database, and everything that was promised to anybody is in the backup.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep

from shared.clock import utc_now
from shared.storage.layout import job_folder
from tests.chaos.load import Submitted
from tests.chaos.scene import Loss, Scene
from tests.chaos.wishes import EXTENSION_STEPS
from tests.support.waiting import wait_until
from web.backend import Backend
from web.jobs.actions import extend_job
from web.jobs.fields import ExtendBody

_PATIENCE_SECONDS = 60
_LOST_FOLDERS = 2
_OTHER_STEPS = 2
_REPLACED_STATE = re.compile(r"jobs/[^/]+/replaced-[^/]+/checkpoint-[^/]+\.safetensors")


def restore(scene: Scene) -> list[Loss]:
    """Back up in mid-work, let the work go on, lose the folders of finished jobs, and restore."""
    with _put_back(scene) as statuses:
        sleep(scene.chance.uniform(1, 3))
        done = sorted(job_id for job_id, status in statuses.items() if status == "succeeded")
        for job_id in scene.chance.sample(done, min(_LOST_FOLDERS, len(done))):
            scene.cluster.store.delete_tree(job_folder(job_id))
    return []


def restore_earlier_timeline(scene: Scene) -> list[Loss]:
    """Back up, extend a job, restore, and extend it otherwise: it must not get the other one's picture."""
    job = scene.load.submit(kind="plain")
    if not job.ids:
        return []
    _wait_for_success(scene, job, frozen=False, steps=job.options["steps"])
    with _put_back(scene):
        backend = Backend.open(scene.cluster.settings, upgrade=False)
        try:
            extend_job(backend, job.job_id, ExtendBody(steps=_OTHER_STEPS), caller="local", now=utc_now())
        finally:
            backend.close()
        _wait_for_success(scene, job, frozen=True, steps=job.options["steps"] + _OTHER_STEPS)
    key = f"timeline-{job.number}"
    answer = scene.load.asking.post(f"/jobs/{job.job_id}/extend", key=key, json={"steps": EXTENSION_STEPS})
    job.asked.append(("extend", answer))
    if not answer.is_done:
        job.faults.append(f"extend was refused after a restore: {answer.status_code} {answer.data}")
    return []


RESTORES: tuple[Callable[[Scene], list[Loss]], ...] = (restore, restore_earlier_timeline)


@contextmanager
def _put_back(scene: Scene) -> Iterator[dict[str, str]]:
    """Stop web and make a backup; what happens inside is undone by a restore, and all runs again.

    Gives the statuses of the jobs right before the backup.
    """
    cluster = scene.cluster
    cluster.web.kill()
    with cluster.frozen():
        folder = cluster.folder / f"backup-{len(list(cluster.folder.glob('backup-*')))}"
        statuses = cluster.statuses(frozen=True)
        cluster.command("backup", folder)
        yield statuses
        cluster.control.kill()
        cluster.command("restore", folder)
        _note_replaced(scene)
        cluster.control.start()
        cluster.web.start()
        wait_until(cluster.answers, seconds=_PATIENCE_SECONDS, what="web answers after the restore")


def _note_replaced(scene: Scene) -> None:
    """Count checkpoints of attempts that the backup does not know as lost: their steps are made again."""
    scene.damaged.update(filter(_REPLACED_STATE.fullmatch, scene.cluster.store.list("jobs")))


def _wait_for_success(scene: Scene, job: Submitted, *, frozen: bool, steps: int) -> None:
    wait_until(
        lambda: scene.cluster.steps_done(job.job_id, frozen=frozen) == steps,
        seconds=_PATIENCE_SECONDS,
        what=f"number {job.number} succeeds at step {steps}",
    )
