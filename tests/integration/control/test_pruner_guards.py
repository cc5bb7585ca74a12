"""When the collector removes nothing although no row refers to a file: holds, identities, older databases."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import ArtifactMissing, FilesHeld, IdentityMissing, IdentityWrong, StorageUnavailable
from shared.options import StyleOptions
from shared.protocol import new_id
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.bench import make_control, read, rounds, work
from tests.support.clock import Clock
from tests.support.killing import killed_at_each
from tests.support.mounts import lose_identity, mount_another, mount_nothing, spoil_identity, unmount
from tests.support.rows import add_picture
from web.control.garbage import Kind
from web.control.process import Control
from web.control.pruner import Pruner
from web.db.models import Asset, InstallationRow, Job
from web.jobs.actions import delete_job
from web.jobs.queries import add_job
from web.protection import (
    HOLD,
    RESTORE_GRACE,
    hold_files,
    note_older_database,
    read_protection,
    record_restore,
)
from worker.context import WorkerContext

DAY_SECONDS = 86_400
ORPHAN = layout.asset_key("d" * 64)


@pytest.fixture
def pruner(control: Control, context: WorkerContext) -> Pruner:
    settings = control.backend.settings.model_copy(update={"retention_days": 30, "garbage_hours": 24})
    return Pruner(replace(control.backend, storage=context.store, settings=settings), clock=control.clock)


def write_old(store: LocalStore, clock: Clock, key: str, data: bytes = b"x") -> None:
    store.write(key, data)
    moment = clock.start.timestamp() - 2 * DAY_SECONDS
    os.utime(store.root / key, (moment, moment))


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


MISHAPS = [unmount, mount_nothing, mount_another, lose_identity, spoil_identity]


@pytest.mark.parametrize("mishap", MISHAPS)
def test_beside_another_storage_nothing_is_removed_neither_rows_nor_files(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    mishap: Callable[[Path], None],
):  # fmt: skip
    """Found in one round, the storage changed, and then removed: what is there then has to stay."""
    work(context, job)
    control.round()
    write_old(context.store, clock, ORPHAN)
    clock.seconds += 31 * DAY_SECONDS
    root = context.store.root
    pruner.step()
    plan = pruner.plan()
    assert {Kind.EXPIRED_JOB, Kind.ORPHANED_ASSET} <= {finding.kind for finding in plan}
    mishap(root)
    before = everything(root.parent)
    for _ in range(3):
        assert pruner.step().removed == []
        with pytest.raises((IdentityMissing, IdentityWrong)):
            pruner.remove(plan)
        with pytest.raises((IdentityMissing, IdentityWrong)):
            pruner.plan()
    assert everything(root.parent) == before
    assert read(control, job).status == "succeeded"


def test_a_storage_that_changes_in_the_middle_of_a_removal_loses_nothing_more(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    keys = [layout.asset_key(digit * 64) for digit in "abc"]
    for key in keys:
        write_old(context.store, clock, key)
    whole = context.store.delete_older

    def then_mounted_another(key: str, moment: object) -> bool:
        gone = whole(key, moment)
        mount_another(context.store.root)
        return gone

    plan = pruner.plan()
    monkeypatch.setattr(context.store, "delete_older", then_mounted_another)
    with pytest.raises(IdentityWrong):
        pruner.remove(plan)
    for name in ("storage", "unmounted"):
        there = everything(context.store.root.with_name(name))
        assert [key in there for key in keys] == [False, True, True]


def test_it_goes_on_when_the_storage_is_back(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    write_old(context.store, clock, ORPHAN)
    root = context.store.root
    mount_nothing(root)
    pruner.step()
    root.rmdir()
    root.with_name("unmounted").rename(root)
    pruner.step()
    assert [finding.name for finding in pruner.step().removed] == [ORPHAN]


def test_one_folder_that_cannot_be_read_keeps_no_other(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    work(context, job)
    control.round()
    write_old(context.store, clock, ORPHAN)
    clock.seconds += 31 * DAY_SECONDS

    look = LocalStore.inventory

    def fail(store: LocalStore, place: str) -> object:
        if place == f"jobs/{job.id}":
            raise StorageUnavailable(f"storage failed at {place}: Input/output error")
        return look(store, place)

    monkeypatch.setattr(LocalStore, "inventory", fail)
    pruner.step()
    assert ORPHAN in [finding.name for finding in pruner.step().removed]
    assert read(control, job).status == "succeeded"


def hold(control: Control) -> None:
    with control.backend.database.write() as session:
        hold_files(session, now=control.clock())


def test_while_a_backup_holds_the_files_nothing_goes(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    work(context, job)
    control.round()
    write_old(context.store, clock, ORPHAN)
    clock.seconds += 31 * DAY_SECONDS
    pruner.step()
    plan = pruner.plan()
    hold(control)
    before = everything(context.store.root)
    assert pruner.step().removed == []
    with pytest.raises(FilesHeld):
        pruner.remove(plan)
    with pytest.raises(FilesHeld):
        pruner.plan()
    assert everything(context.store.root) == before
    assert read(control, job).status == "succeeded"
    clock.seconds += HOLD.total_seconds()  # it was killed
    removed = {finding.kind for finding in pruner.remove(pruner.plan()).removed}
    assert {Kind.EXPIRED_JOB, Kind.ORPHANED_ASSET} <= removed


def test_a_hold_that_comes_right_before_the_row_goes_is_honoured(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """Its copy of the database has the row: then the files must stay."""
    work(context, job)
    control.round()
    clock.seconds += 31 * DAY_SECONDS
    plan = [finding for finding in pruner.plan() if finding.kind is Kind.EXPIRED_JOB]
    prove = pruner._prove

    def then_hold() -> None:
        prove()
        hold(control)

    monkeypatch.setattr(pruner, "_prove", then_hold)
    with pytest.raises(FilesHeld):
        pruner.remove(plan)
    assert read(control, job).status == "succeeded"
    assert context.store.read(read(control, job).outputs[0]["key"])


def test_a_job_deleted_during_a_backup_leaves_its_files_to_the_collector(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    work(context, job)
    control.round()
    hold(control)
    files = list(context.store.list(f"jobs/{job.id}"))
    delete_job(control.backend, job.id, caller="local")
    assert list(context.store.list(f"jobs/{job.id}")) == files
    clock.seconds += 2 * DAY_SECONDS
    with control.backend.database.write() as session:
        add_picture(session, now=clock.now(), sha256="e" * 64)  # beside an empty database nothing goes
    pruner.remove(pruner.plan())
    assert list(context.store.list(f"jobs/{job.id}")) == []


def set_aside(context: WorkerContext, key: str) -> Path:
    path = context.store.root / key
    return path.rename(path.with_name(f".aside-{new_id()}-{path.name}"))


def test_the_next_look_puts_back_what_a_killed_removal_left_aside(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    """Though it is old by now, since control was down for days."""
    key = layout.asset_key(job.content.sha256)
    aside = set_aside(context, key)
    moment = clock.start.timestamp() - 9 * DAY_SECONDS
    os.utime(aside, (moment, moment))
    assert context.store.read(key)  # nobody has to wait for the look
    rounds(control, clock, seconds=61)
    assert not aside.exists()
    assert (context.store.root / key).is_file()
    work(context, read(control, job))
    control.round()
    assert read(control, job).status == "succeeded"


def test_what_was_set_aside_and_is_not_needed_goes_by_the_rules(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner
):
    write_old(context.store, clock, ORPHAN)
    aside = set_aside(context, ORPHAN)
    plan = pruner.plan()
    assert [finding.name for finding in plan] == [ORPHAN]
    assert not aside.exists()
    pruner.remove(plan)
    with pytest.raises(ArtifactMissing):
        context.store.read(ORPHAN)


def test_a_removal_of_a_job_that_is_killed_half_way_is_finished_later(
    control: Control, context: WorkerContext, clock: Clock, job: Job, pruner: Pruner,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """At any of its system calls, up to folders without a file."""
    folder = ""
    removals = killed_at_each(
        monkeypatch, lambda: context.store.delete_tree(folder), calls=((os, "unlink"), (os, "rmdir"))
    )
    for number, remove in removals:
        folder = f"jobs/{new_id()}"
        for name in ("attempt-1/result.json", "attempt-2/result.json", "origin.safetensors"):
            write_old(context.store, clock, f"{folder}/{name}")
        remove()
        clock.seconds += 2 * DAY_SECONDS
        pruner.remove(pruner.plan())
        clock.seconds -= 2 * DAY_SECONDS
        assert not (context.store.root / folder).exists(), number
    assert number > 5


def newer_job(context: WorkerContext, *, name: str = "attempt-1/result.json") -> str:
    """A job that was submitted and carried out after everything that the database knows."""
    job_id = new_id()
    context.store.write(f"jobs/{job_id}/{name}", b"{}")
    return job_id


def kept(control: Control) -> object:
    with control.backend.database.read() as session:
        return read_protection(session, now=control.clock()).kept_since


def test_a_database_put_back_by_hand_is_noticed_and_nothing_newer_goes_for_a_month(
    control: Control, context: WorkerContext, clock: Clock, job: Job, settings: object
):
    job_id = newer_job(context)
    context.store.write(ORPHAN, b"uploaded after the backup")
    control.close()
    again = make_control(control.backend.settings, clock)
    try:
        with again.backend.database.write() as session:  # the service goes on: there are newer rows again
            session.get_one(Job, job.id).name = "changed"
        pruner = Pruner(again.backend, clock=clock.now)
        assert kept(again)
        clock.seconds += 29 * DAY_SECONDS
        assert [finding for finding in pruner.plan() if finding.kind is not Kind.INBOX_ENTRY] == []
        clock.seconds = RESTORE_GRACE.total_seconds() + DAY_SECONDS
        assert {f"jobs/{job_id}", ORPHAN} <= {finding.name for finding in pruner.plan()}
    finally:
        again.close()


@pytest.mark.parametrize("name", ["origin.safetensors", "thumbnail-ab.jpg"])
def test_a_fork_that_was_killed_is_no_sign_of_an_older_database(
    control: Control, context: WorkerContext, clock: Clock, job: Job, name: str
):
    newer_job(context, name=name)
    assert note_older_database(control.backend.database, context.store, now=clock.now()) is None
    assert kept(control) is None


def test_a_job_that_was_deleted_is_no_sign_of_one_either(
    control: Control, context: WorkerContext, clock: Clock, job: Job, monkeypatch: pytest.MonkeyPatch
):
    """Its reports tell that the database has lived on since, also where its row told of the last submit."""
    work(context, job)
    clock.seconds += 60  # the database writes after the worker
    control.round()
    monkeypatch.setattr(LocalStore, "delete_tree", lambda *_: None)
    delete_job(control.backend, job.id, caller="local")
    assert note_older_database(control.backend.database, context.store, now=clock.now()) is None


def test_a_row_from_a_clock_that_was_ahead_hides_no_older_database(
    control: Control, context: WorkerContext, clock: Clock, job: Job
):
    ahead = "0fff0000-0000-7000-8000-000000000000"
    with control.backend.database.write() as session:
        asset = session.get_one(Asset, job.content_asset_id)
        add_job(
            session, caller="local", name="", content=asset, style=asset, options=StyleOptions(), labels={},
            max_attempts=3, now=clock.now(), extra={"id": ahead},
        )  # fmt: skip
    job_id = newer_job(context)
    now = clock.now() + timedelta(minutes=1)
    assert note_older_database(control.backend.database, context.store, now=now)
    assert job_id < ahead


def test_two_restores_keep_what_is_younger_than_the_older_one(control: Control, clock: Clock, job: Job):
    early, late = (clock.now() - timedelta(days=days) for days in (9, 2))
    for known_until in (early, late):
        with control.backend.database.write() as session:
            record_restore(session, known_until=known_until, now=clock.now())
    assert kept(control) == early
    clock.seconds += RESTORE_GRACE.total_seconds()
    with control.backend.database.write() as session:
        record_restore(session, known_until=late, now=clock.now())
        assert session.query(InstallationRow).one().known_until == late
