"""Backups of an installation that goes on working meanwhile."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.clock import utc_now
from shared.errors import BackupDamaged, BackupRefused, DatabaseUnavailable, FilesHeld, IdentityWrong
from shared.installation import IDENTITY_KEY
from shared.settings import Settings
from shared.storage import layout
from tests.support.mounts import mount_another
from web.backup import making
from web.backup.making import copy_database, sqlite_path
from web.backup.manifest import BackupFolder, Manifest
from web.control.pruner import Pruner
from web.db.models import InstallationRow, Job
from web.jobs.actions import delete_job
from web.jobs.transitions import list_checkpoints

MANIFEST = "manifest.json"


def keys(manifest: Manifest) -> set[str]:
    return {file.key for file in manifest.files}


def needed(house, job: Job) -> set[str]:
    row = house.row(job)
    with house.control.backend.database.read() as session:
        points = list_checkpoints(session, job.id)
    found = {layout.asset_key(row.content.sha256), *(output["key"] for output in row.outputs)}
    found |= {key for point in points for key in (point.key, point.picture_key)}
    return found | ({layout.marker_key(job.id, row.attempt)} if row.outputs else set())


def test_it_holds_all_that_rows_name_with_identity_and_marker(house, folder: Path):
    done, waits = house.submit(seed=1), house.submit(seed=2)
    house.work(done)
    made = house.back_up(folder)
    assert needed(house, done) | needed(house, waits) | {IDENTITY_KEY} <= keys(made.manifest)
    assert not any("thumbnail" in key or ".partial" in key for key in keys(made.manifest))
    assert (made.manifest.missing, made.manifest.damaged) == ((), ())
    backup = BackupFolder(folder)
    assert backup.require_whole() == made.manifest
    assert list(backup.faults(made.manifest)) == []
    assert made.manifest.installation_id == house.control.backend.identity.installation.id
    with sqlite3.connect(backup.place(made.manifest.database)) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()


def test_it_holds_the_work_of_a_job_that_is_under_way(house, folder: Path):
    job = house.submit()
    house.work_until(job, 12, lambda: house.back_up(folder))
    manifest = BackupFolder(folder).require_whole()
    assert {layout.checkpoint_key(job.id, 1, step) for step in (5, 10)} <= keys(manifest)


def test_a_second_one_copies_only_what_is_new_and_forgets_what_is_gone(house, folder: Path):
    first, second = house.submit(seed=1), house.submit(seed=2)
    house.work(first)
    before = house.back_up(folder)
    assert before.copied_files == len({file.sha256 for file in before.manifest.files})
    assert house.back_up(folder).copied_files == 0
    house.work(second)
    with house.control.backend.database.write() as session:  # the hold of the backup before is over
        session.query(InstallationRow).one().held_until = None
    delete_job(house.control.backend, first.id, caller="local")
    after = house.back_up(folder)
    new = {file.sha256 for file in after.manifest.files} - {file.sha256 for file in before.manifest.files}
    assert after.copied_files == len(new)
    assert not any(first.id in key for key in keys(after.manifest))
    blobs = {path.name for path in (folder / "files").rglob("*") if path.is_file()}
    assert blobs == {file.sha256 for file in after.manifest.files} | {after.manifest.database.sha256}
    assert sorted(path.name for path in folder.iterdir()) == ["files", MANIFEST]


def test_a_file_that_changed_under_its_name_is_copied_again(house, folder: Path):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    key = layout.preview_key(job.id, 1)
    house.store.write(key, b"another preview")
    again = house.back_up(folder).manifest
    (found,) = [file for file in again.files if file.key == key]
    assert BackupFolder(folder).place(found).read_bytes() == b"another preview"


def test_one_that_is_cut_off_leaves_the_one_before_whole(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    first = house.submit(seed=1)
    house.work(first)
    before = house.back_up(folder).manifest
    second = house.submit(seed=2)
    house.work(second)
    put, number = BackupFolder.put, 0

    class Killed(BaseException):
        pass

    for last in range(1, 8):
        number = 0

        def dies(self: BackupFolder, source: object, last: int = last) -> object:
            nonlocal number
            number += 1
            if number == last:
                raise Killed
            return put(self, source)

        with monkeypatch.context() as patch:
            patch.setattr(BackupFolder, "put", dies)
            with pytest.raises(Killed):
                house.back_up(folder)
        assert BackupFolder(folder).require_whole() == before
    after = house.back_up(folder).manifest
    assert BackupFolder(folder).require_whole() == after
    assert needed(house, second) <= keys(after)
    assert not any(path.name.startswith(".partial") for path in folder.rglob("*"))


def test_a_first_one_that_is_cut_off_is_none(house, folder: Path, monkeypatch: pytest.MonkeyPatch):
    house.submit()
    with monkeypatch.context() as patch:
        patch.setattr(BackupFolder, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            house.back_up(folder)
    with pytest.raises(BackupRefused, match="no finished backup"):
        BackupFolder(folder).require_whole()
    house.back_up(folder)
    BackupFolder(folder).require_whole()


def test_the_collector_and_deletes_remove_nothing_that_it_copies(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between the copy of the database and that of the first file: a job is deleted, and another expires."""
    deleted, expired = house.submit(seed=1), house.submit(seed=2)
    house.work(deleted)
    house.work(expired)
    settings = house.control.backend.settings.model_copy(update={"retention_days": 0.000001})
    backend = house.control.backend
    read_wanted = making.read_wanted

    def then_remove(copy: Path) -> object:
        wanted = read_wanted(copy)
        delete_job(backend, deleted.id, caller="local")
        pruner = Pruner(replace(backend, settings=settings), clock=utc_now)
        assert pruner.step().removed == pruner.step().removed == []
        with pytest.raises(FilesHeld):
            pruner.plan()
        return wanted

    monkeypatch.setattr(making, "read_wanted", then_remove)
    expected = needed(house, deleted) | needed(house, expired)
    made = house.back_up(folder)
    assert made.manifest.missing == ()
    assert expected <= keys(made.manifest)


def test_a_marker_that_comes_while_folders_are_listed_brings_its_picture(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """A listing may show the later of two names and not the earlier one."""
    job = house.submit()
    house.work(job)
    (output,) = house.row(job).outputs
    with house.control.backend.database.write() as session:
        session.get_one(Job, job.id).outputs = []  # the report has not been applied yet
    whole = type(house.control.backend.storage).inventory

    def without_result(store: object, prefix: str) -> object:
        return [file for file in whole(store, prefix) if file.key != output["key"]]

    monkeypatch.setattr(type(house.control.backend.storage), "inventory", without_result)
    assert output["key"] in keys(house.back_up(folder).manifest)


def test_what_is_missing_or_spoilt_is_named_and_the_rest_is_kept(house, folder: Path):
    job = house.submit()
    house.work(job)
    lost, spoilt = layout.checkpoint_key(job.id, 1, 5), layout.checkpoint_key(job.id, 1, 10)
    house.store.delete(lost)
    house.store.write(spoilt, b"spoilt")
    manifest = house.back_up(folder).manifest
    assert (manifest.missing, manifest.damaged) == ((lost,), (spoilt,))
    assert BackupFolder(folder).require_whole() == manifest


def test_what_is_wrong_with_a_backup_is_found(house, folder: Path):
    job = house.submit()
    house.work(job)
    manifest = house.back_up(folder).manifest
    backup = BackupFolder(folder)
    one, two, three = sorted({file.sha256: file for file in manifest.files}.values(), key=lambda f: f.key)[:3]
    backup.place(one).unlink()
    backup.place(two).write_bytes(backup.place(two).read_bytes()[:-1])
    data = backup.place(three).read_bytes()
    backup.place(three).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    backup.place(manifest.database).write_bytes(b"")
    faults = list(backup.faults(manifest))
    assert len(faults) == 4
    for name in (one.key, two.key, three.key, "the database"):
        assert any(fault.startswith(f"{name}: ") for fault in faults), name
    with pytest.raises(BackupDamaged, match="and 1 more"):
        backup.require_whole()
    (folder / MANIFEST).write_text("{")
    with pytest.raises(BackupDamaged, match="cannot be read"):
        backup.read()
    with pytest.raises(BackupDamaged):
        house.back_up(folder)


def test_what_is_damaged_in_a_backup_is_copied_anew_once_it_is_removed(house, folder: Path):
    house.work(house.submit())
    manifest = house.back_up(folder).manifest
    backup = BackupFolder(folder)
    damaged = backup.place(manifest.files[-1])
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    (fault,) = backup.faults(manifest)
    assert fault.endswith(f"({damaged})")
    damaged.unlink()
    assert house.back_up(folder).copied_files == 1
    backup.require_whole()


def test_where_it_may_not_go(house, folder: Path, tmp_path: Path, settings: Settings):
    house.submit()
    with pytest.raises(BackupRefused, match="in the storage itself"):
        house.back_up(settings.data_dir / "storage" / "backup")
    folder.mkdir()
    (folder / "letters.txt").write_text("mine")
    with pytest.raises(BackupRefused, match="neither empty nor a backup"):
        house.back_up(folder)
    assert (folder / "letters.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupRefused, match="cannot be used"):
        house.back_up(tmp_path / "file" / "backup")


def test_another_installations_backup_is_not_replaced(
    house, folder: Path, settings: Settings, tmp_path: Path
):
    house.submit()
    manifest = house.back_up(folder).manifest
    (folder / MANIFEST).write_text(manifest.model_copy(update={"installation_id": "x"}).model_dump_json())
    with pytest.raises(BackupRefused, match="another installation, x"):
        house.back_up(folder)


def test_too_little_room_is_told_with_what_was_measured(house, folder: Path, monkeypatch: pytest.MonkeyPatch):
    house.work(house.submit())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    with pytest.raises(BackupRefused, match=r"the backup needs \d+\.\d MB in .*; 3\.0 MB are free"):
        house.back_up(folder)
    assert not (folder / MANIFEST).exists()
    assert list((folder / "files").iterdir()) == []


def test_on_the_disk_of_the_service_it_leaves_the_room_that_the_service_needs(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else nothing is taken in any more once the backup is made."""
    house.submit()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000_000))
    careful = house.settings.model_copy(update={"min_free_bytes": 600_000_000})
    with pytest.raises(BackupRefused, match=r"where 600\.0 MB have to be left; 500\.0 MB are free"):
        making.make_backup(replace(house.control.backend, settings=careful), folder, clock=utc_now)
    house.back_up(folder)


def test_a_storage_that_is_not_ours_any_more_gives_no_backup(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    house.work(house.submit())
    read_keys = BackupFolder.put

    def then_another(self: BackupFolder, source: object) -> object:
        copied = read_keys(self, source)
        if not house.store.root.with_name("unmounted").exists():
            mount_another(house.store.root)
        return copied

    monkeypatch.setattr(BackupFolder, "put", then_another)
    with pytest.raises(IdentityWrong):
        house.back_up(folder)
    assert not (folder / MANIFEST).exists()


def test_a_damaged_database_gives_no_backup(house, folder: Path):
    for number in range(5):
        house.submit(seed=number)
    house.close()
    data = bytearray(house.database.read_bytes())
    house.database.write_bytes(bytes(data[:4096]) + b"\xff" * (len(data) - 4096))
    try:
        folder.mkdir()
        with pytest.raises(DatabaseUnavailable, match=r"damaged|cannot be copied"):
            copy_database(house.database, folder / "copy")
    finally:
        house.database.write_bytes(bytes(data))
        house.open()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://atelier@db/atelier", "sqlite://", "sqlite:///:memory:"]
)
def test_a_database_that_is_no_file_is_refused(url: str):
    with pytest.raises(BackupRefused, match="pg_dump"):
        sqlite_path(url)
