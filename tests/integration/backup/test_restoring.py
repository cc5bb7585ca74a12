"""Backups that are put back: beside a Redis that lived on, after other courses of events, in other places."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.orm import Session

from shared.clock import utc_now
from shared.errors import BackupDamaged, BackupRefused
from shared.installation import IDENTITY_KEY, read_identity
from shared.redis.live import Flag
from shared.settings import Settings
from shared.status import JobStatus
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.bench import history, make_control, work
from tests.support.clock import Clock
from tests.support.engines import SteadyEngine
from tests.support.killing import killed_at_each
from tests.support.rows import add_picture
from web.assets.stars import star_asset, starred_assets
from web.backup.manifest import BackupFolder
from web.backup.restoring import restore_backup
from web.control.garbage import Kind
from web.control.pruner import Pruner
from web.db.derived import find_fault
from web.db.models import InstallationRow, Job
from web.jobs.actions import cancel_job, delete_job, pause_job, resume_job
from web.jobs.lists import JobFilter, count_by_status, list_jobs
from web.jobs.restored import settle_restore
from web.protection import RESTORE_GRACE

DAY_SECONDS = 86_400


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def lose_everything(house) -> None:
    house.close()
    shutil.rmtree(house.settings.data_dir)


def test_all_is_back_in_an_empty_place_with_its_identity_and_goes_on(house, folder: Path, redis_client):
    done, running, waiting = (house.submit(seed=seed) for seed in range(3))
    house.work(done)
    picture = house.output(done)
    house.work_until(running, 12, lambda: house.back_up(folder))
    identity = house.control.backend.identity.installation
    lose_everything(house)
    redis_client.flushall()
    restored = restore_backup(house.settings, folder, now=utc_now())
    assert restored.previous_database is None
    house.open()
    assert house.control.backend.identity.installation == identity == read_identity(house.store)
    assert house.output(done) == picture
    back = house.row(running)
    assert (back.status, back.status_reason, back.attempt, back.lost_workers) == ("queued", "restored", 2, 0)
    assert history(house.control, running)[-1] == "queued"
    engine = SteadyEngine()
    house.work(running, engine)
    assert engine.resumed_from == 10
    assert set(house.work_on_what_is_due()) == {waiting.id}
    assert house.output(waiting)
    assert house.output(running)


def test_a_starred_picture_is_back_with_its_star_and_is_kept(house, folder: Path):
    data = house.make_picture(seed=5)
    sha256 = hashlib.sha256(data).hexdigest()
    house.store.write(layout.asset_key(sha256), data)
    with house.control.backend.database.write() as session:
        asset_id = add_picture(session, now=utc_now(), sha256=sha256, size_bytes=len(data)).id
    starred = star_asset(house.control.backend, asset_id, caller="local", now=utc_now()).starred_at
    house.back_up(folder)
    lose_everything(house)
    restore_backup(house.settings, folder, now=utc_now())
    house.open()
    with house.control.backend.database.read() as session:
        (back,) = starred_assets(session, caller="local", limit=9)
    assert (back.id, back.starred_at) == (asset_id, starred)
    house.clock.seconds += 100 * 86_400
    for _ in range(4):
        house.clock.seconds += 61
        house.control.round()
    assert house.store.read(layout.asset_key(sha256)) == data


def test_search_and_counts_are_those_of_the_backup(house, folder: Path):
    kept, later = house.submit(seed=1), house.submit(seed=2)
    house.control.dispatcher.send_due()
    house.work(kept)
    _rename(house, kept, "ÜBERFAHRT")
    _rename(house, later, "Nach Hause")
    house.back_up(folder)
    _rename(house, later, "Anders")
    delete_job(house.control.backend, kept.id, caller="local")
    house.restore(folder)
    with house.control.backend.database.read() as session:
        assert find_fault(session.connection()) is None
        found = {part: _found(session, part) for part in ("überf", "hause", "anders")}
        counts = count_by_status(session, caller="local", only=JobFilter())
    assert found == {"überf": [kept.id], "hause": [later.id], "anders": []}
    assert counts == {JobStatus.SUCCEEDED: 1, JobStatus.QUEUED: 1}


def _rename(house, job, name: str) -> None:
    with house.control.backend.database.write() as session:
        session.get_one(Job, job.id).name = name


def _found(session: Session, part: str) -> list[str]:
    return [job.id for job in list_jobs(session, caller="local", only=JobFilter(name=part), limit=5)]


def test_beside_a_redis_that_lived_on_every_job_ends_once_more(house, folder: Path):
    """What ran after the backup is below the fences of Redis, with leases, flags and reports of its own."""
    finished_later, running, waiting, paused, canceled_later = (house.submit(seed=seed) for seed in range(5))
    pause_job(house.control.backend, paused.id, caller="local", now=house.clock.now())
    house.control.dispatcher.send_due()
    house.work_until(running, 12, lambda: house.back_up(folder))
    for job in (finished_later, running, waiting):
        house.control.rescuer.rescue(house.control.projector)
        house.work(job)
    first = {job.id: house.output(job) for job in (finished_later, waiting)}
    cancel_job(house.control.backend, canceled_later.id, caller="local", now=house.clock.now())
    resume_job(house.control.backend, paused.id, caller="local", now=house.clock.now())
    house.work(paused)
    restored = house.restore(folder)
    assert restored.knows_redis
    assert restored.previous_database
    assert restored.previous_database.exists()
    assert house.row(paused).status == "paused"
    resume_job(house.control.backend, paused.id, caller="local", now=house.clock.now())
    house.control.round()
    for job in (finished_later, running, waiting, paused, canceled_later):
        assert house.row(job).status == "queued"
        house.work(job)
        assert house.output(job)
    assert {job_id: first[job_id] for job_id in first} == {
        job.id: house.output(job) for job in (finished_later, waiting)
    }


def test_what_redis_kept_of_the_lost_time_is_forgotten_also_where_it_was_away_during_the_restore(
    house, folder: Path, settings: Settings
):
    """`atelier up` has a Redis of its own, stopped meanwhile; its flags and fences live on."""
    waiting, other = house.submit(seed=1), house.submit(seed=2)
    house.back_up(folder)
    cancel_job(house.control.backend, waiting.id, caller="local", now=house.clock.now())
    house.context.redis.claims.claim(other.id, 1, token="a worker of another host")
    house.close()
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert not restore_backup(away, folder, now=utc_now()).knows_redis
    house.open()
    flags = house.context.redis.flags
    assert flags.read(waiting.id, 1)
    house.control.round()
    assert flags.read(waiting.id, 1) is None
    house.work(waiting)
    assert house.output(waiting)
    flags.raise_flag(other.id, 1, Flag.PAUSE)  # one of now stays: it is settled only once
    house.close()
    house.open()
    house.control.round()
    assert flags.read(other.id, 1) is Flag.PAUSE
    assert not settle_restore(house.control.backend)


def test_a_worker_of_the_time_after_the_backup_stops_and_its_reports_change_nothing(house, folder: Path):
    """It is on another host, and was never stopped."""
    job = house.submit()
    house.work_until(job, 7, lambda: house.back_up(folder))

    def restore_beside(number: int) -> None:
        if number == 15:
            house.restore(folder)

    zombie = SteadyEngine(restore_beside)
    stuck = house.row(job)
    work(house.context, stuck, zombie)
    house.control.projector.drain()
    after = house.row(job)
    assert (after.status, after.attempt) == ("queued", 2)
    house.work_on_what_is_due()
    assert house.output(job)


def test_another_course_of_events_leaves_nothing_to_be_taken_for_ours(house, folder: Path):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    house.extend(job, 2)
    other = house.output(job)
    assert house.row(job).step == 22
    restored = house.restore(folder)
    assert restored.put_aside == 1
    assert (house.row(job).status, house.row(job).step) == ("succeeded", 20)
    assert "attempt-2" not in house.store.folders(layout.job_folder(job.id), limit=9)
    house.extend(job, 7)
    row = house.row(job)
    assert (row.status, row.step) == ("succeeded", 27)
    assert house.output(job) != other
    # And back again to the time before, while the third course has other files under the same names.
    house.restore(folder)
    house.extend(job, 2)
    assert house.output(job) == other


def test_what_was_put_aside_goes_after_a_month(house, folder: Path):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    house.extend(job, 2)
    house.restore(folder)
    pruner = Pruner(house.control.backend, clock=house.clock.now)

    def kinds() -> set[Kind]:
        return {finding.kind for finding in pruner.plan() if "replaced-" in finding.name}

    house.clock.seconds += 29 * DAY_SECONDS
    assert kinds() == set()
    house.clock.seconds += 2 * DAY_SECONDS
    assert kinds() == {Kind.DEAD_FILE}
    pruner.remove(pruner.plan())
    assert kinds() == set()
    assert house.output(job)


def test_files_of_younger_jobs_stay_for_a_month_and_those_of_deleted_ones_come_back(house, folder: Path):
    old = house.submit(seed=1)
    house.work(old)
    picture = house.output(old)
    house.back_up(folder)
    with house.control.backend.database.write() as session:
        session.query(InstallationRow).one().held_until = None
    young = house.submit(seed=2)
    house.work(young)
    delete_job(house.control.backend, old.id, caller="local")
    assert list(house.store.list(layout.job_folder(old.id))) == []
    house.restore(folder)
    assert house.output(old) == picture
    orphans = {layout.job_folder(young.id), layout.asset_key(young.content.sha256)}
    pruner = Pruner(house.control.backend, clock=house.clock.now)
    newest = house.submit(seed=3)  # the service goes on
    house.work(newest)
    house.clock.seconds += 29 * DAY_SECONDS
    assert not orphans & {finding.name for finding in pruner.plan()}
    house.clock.seconds = RESTORE_GRACE.total_seconds() + DAY_SECONDS
    assert orphans <= {finding.name for finding in pruner.plan()}


def test_the_newer_database_can_be_put_back_instead(house, folder: Path):
    job = house.submit(seed=1)
    house.back_up(folder)
    young = house.submit(seed=2)
    house.work(young)
    previous = house.restore(folder).previous_database
    house.close()
    shutil.copyfile(previous, house.database)
    house.open()
    assert house.output(young)
    assert house.row(job).status == "queued"


def test_files_that_were_lost_or_spoilt_are_mended(house, folder: Path):
    job = house.submit()
    house.work(job)
    picture = house.output(job)
    house.back_up(folder)
    (output,) = house.row(job).outputs
    house.store.write(output["key"], b"spoilt")
    house.store.delete(layout.checkpoint_key(job.id, 1, 20))
    assert house.restore(folder).written_files == 2
    assert house.output(job) == picture
    house.extend(job, 2)
    assert house.row(job).status == "succeeded"


@pytest.mark.parametrize("damage", ["truncated", "middle", "gone", "empty"])
def test_a_damaged_database_is_replaced_and_kept(house, folder: Path, damage: str):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    house.close()
    data = house.database.read_bytes()
    half = len(data) // 2
    spoilt = {
        "truncated": data[:half],
        "middle": data[:100] + b"\xff" * half + data[100 + half :],
        "empty": b"",
    }
    if damage == "gone":
        house.database.unlink()
    else:
        house.database.write_bytes(spoilt[damage])
    restored = restore_backup(house.settings, folder, now=utc_now())
    house.open()
    assert house.output(job)
    assert (restored.previous_database is None) == (damage == "gone")
    if damage in ("truncated", "middle"):
        assert restored.previous_database.read_bytes() == spoilt[damage]


def test_a_log_of_the_database_before_is_not_applied_to_the_new_one(house, folder: Path):
    """A write-ahead log that a killed web left behind belongs to the file that it was written for."""
    house.submit(seed=1)
    house.back_up(folder)
    house.submit(seed=2)
    kept = {path: path.read_bytes() for path in house.database.parent.glob("atelier.db*")}
    assert house.database.with_name("atelier.db-wal") in kept
    house.close()
    for path, data in kept.items():
        path.write_bytes(data)
    restore_backup(house.settings, folder, now=utc_now())
    house.open()
    with sqlite3.connect(house.database) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    database.close()


def test_a_restore_that_was_killed_is_repeated(house, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """At every name that is made, changed or removed, and while databases are copied."""
    job = house.submit(seed=1)
    house.work(job)
    picture = house.output(job)
    house.back_up(folder)
    house.extend(job, 2)
    house.close()
    saved = house.settings.data_dir.with_name("saved")
    shutil.copytree(house.settings.data_dir, saved)

    restores = killed_at_each(
        monkeypatch,
        lambda: restore_backup(house.settings, folder, now=utc_now()),
        calls=(*((os, name) for name in ("rename", "replace", "link", "unlink")), (shutil, "copyfile")),
    )
    for number, restore in restores:
        shutil.rmtree(house.settings.data_dir)
        shutil.copytree(saved, house.settings.data_dir)
        house.store.delete(layout.checkpoint_key(job.id, 1, 20))
        is_done = restore()
        restore_backup(house.settings, folder, now=utc_now())
        house.open()
        assert house.output(job) == picture, number
        assert house.row(job).step == 20
        assert house.store.folders(layout.job_folder(job.id), limit=9)[0] == "attempt-1"
        assert "attempt-2" not in house.store.folders(layout.job_folder(job.id), limit=9)
        if not is_done:
            house.close()
    assert number > 4


def test_a_damaged_backup_changes_nothing(house, folder: Path):
    house.work(house.submit())
    manifest = house.back_up(folder).manifest
    BackupFolder(folder).place(manifest.files[-1]).write_bytes(b"")
    house.close()
    before = everything(house.settings.data_dir)
    with pytest.raises(BackupDamaged):
        restore_backup(house.settings, folder, now=utc_now())
    assert everything(house.settings.data_dir) == before
    house.open()


def test_one_of_a_later_release_is_refused(house, folder: Path):
    house.submit()
    manifest = house.back_up(folder).manifest
    later = manifest.model_copy(update={"schema_revision": "9999", "release": "9.0"})
    (folder / "manifest.json").write_text(later.model_dump_json())
    house.close()
    with pytest.raises(BackupRefused, match=r"release 9\.0"):
        restore_backup(house.settings, folder, now=utc_now())
    house.open()


def test_a_manifest_with_fields_of_a_later_release_is_read(house, folder: Path):
    house.submit()
    manifest = house.back_up(folder).manifest
    text = manifest.model_dump_json().replace("{", '{"colour": "blue", ', 1)
    (folder / "manifest.json").write_text(text)
    assert BackupFolder(folder).require_whole() == manifest


def test_into_another_installation_it_is_refused_and_changes_nothing(
    house, folder: Path, settings: Settings, tmp_path: Path
):
    house.submit()
    house.back_up(folder)
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    make_control(other, Clock()).close()
    before = everything(other.data_dir)
    crossed = other.model_copy(update={"storage_url": house.store.root.as_uri()})
    for target in (other, crossed):
        with pytest.raises(BackupRefused, match="of the installation"):
            restore_backup(target, folder, now=utc_now())
    assert {name: data for name, data in everything(other.data_dir).items() if "shm" not in name} == {
        name: data for name, data in before.items() if "shm" not in name
    }


def test_too_little_room_is_told_before_anything_is_written(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
):
    house.work(house.submit())
    house.back_up(folder)
    lose_everything(house)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    with pytest.raises(BackupRefused, match=r"the restore needs \d+\.\d MB in .*; 3\.0 MB are free"):
        restore_backup(settings, folder, now=utc_now())
    assert [key for key in LocalStore(settings.data_dir / "storage").list(".") if key != IDENTITY_KEY] == []
    monkeypatch.undo()
    restore_backup(settings, folder, now=utc_now())
    house.open()


def test_without_redis_it_works_too(house, folder: Path, settings: Settings):
    job = house.submit()
    house.work_until(job, 12, lambda: house.back_up(folder))
    house.close()
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    assert not restore_backup(away, folder, now=utc_now()).knows_redis
    house.open()
    assert (house.row(job).status, house.row(job).attempt) == ("queued", 2)
    house.work_on_what_is_due()
    assert house.output(job)


HOLDER = """
import sys
from sqlalchemy import text
from web.db.database import Database
database = Database(sys.argv[1])
database.check()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.process
@pytest.mark.parametrize("spoilt", [False, True])
def test_while_another_process_has_the_database_open_it_is_refused(house, folder: Path, spoilt: bool):
    """Also where the file is damaged meanwhile, and however idle that process is."""
    house.submit()
    house.back_up(folder)
    house.close()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, house.settings.resolved_database_url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout.readline() == b"open\n"
    if spoilt:
        with house.database.open("r+b") as file:
            file.write(b"\xff" * 4096)
    with pytest.raises(BackupRefused, match="in use by a running process"):
        restore_backup(house.settings, folder, now=utc_now())
    holder.communicate()
    restore_backup(house.settings, folder, now=utc_now())
    house.open()


def test_the_moment_of_the_backup_and_of_the_restore_are_recorded(house, folder: Path):
    made_at = house.back_up(folder).manifest.made_at
    before = utc_now()
    house.restore(folder)
    with house.control.backend.database.read() as session:
        row = session.query(InstallationRow).one()
        assert row.known_until == made_at
        assert before <= row.restored_at <= utc_now() + timedelta(seconds=1)
        assert row.held_until is None


def test_a_wrong_clock_at_the_backup_or_at_the_restore_protects_no_less(house, folder: Path):
    """Ahead when the backup was made, and far behind when it is put back."""
    house.submit(seed=1)
    manifest = house.back_up(folder).manifest
    ahead = manifest.model_copy(update={"made_at": utc_now() + timedelta(days=999)})
    (folder / "manifest.json").write_text(ahead.model_dump_json())
    young = house.submit(seed=2)
    house.work(young)
    house.close()
    restore_backup(house.settings, folder, now=utc_now() - timedelta(days=999))
    house.open()
    house.clock.seconds += 29 * DAY_SECONDS
    pruner = Pruner(house.control.backend, clock=house.clock.now)
    assert layout.job_folder(young.id) not in {finding.name for finding in pruner.plan()}
