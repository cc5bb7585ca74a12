"""Backups of an installation that is damaged itself, and restores into one: what is bad is judged alone."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from shared.clock import utc_now
from shared.errors import BackupRefused, IdentityWrong, StorageUnavailable
from shared.installation import read_identity
from shared.settings import Settings
from shared.storage import layout
from shared.storage.local import LocalStore
from tests.support.mounts import lose_identity, mount_nothing, spoil_identity, unmount
from web.backup import making
from web.backup.manifest import BackupFolder
from web.backup.restoring import restore_backup
from web.protection import read_protection

NO_JSON = ("{", "7", "[1]", '"x"', '[{"key": 1}]')
NUMBERS = ("attempt", "version", "lost_workers", "max_attempts")
ROWS = [
    *((column, value) for column in ("outputs", "origin") for value in NO_JSON),
    *((column, "x") for column in (*NUMBERS, "created_at", "options")),
    ("status", "promoted"),
]


@pytest.mark.parametrize(("column", "value"), ROWS)
def test_a_row_that_cannot_be_read_keeps_no_other_from_being_backed_up_and_put_back(
    house, folder: Path, column: str, value: str
):
    bad, good, waits = (house.submit(seed=seed) for seed in range(3))
    house.work(good)
    picture = house.output(good)
    with house.control.backend.database.write() as session:
        session.execute(
            text(f"UPDATE jobs SET {column} = :value WHERE id = :id"), {"value": value, "id": bad.id}
        )
    house.back_up(folder)
    BackupFolder(folder).require_whole()
    house.restore(folder)
    assert house.output(good) == picture
    assert house.row(waits).status == "queued"


class BadSectors(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def spoil_reading(monkeypatch: pytest.MonkeyPatch, bad: dict[str, bool]) -> None:
    """Let files fail: when they are opened, or else when they are read."""
    open_file = LocalStore.open

    def fail(store: LocalStore, key: str) -> object:
        if key not in bad:
            return open_file(store, key)
        if bad[key]:
            raise StorageUnavailable(f"storage failed at {key}: Permission denied")
        return BadSectors()

    monkeypatch.setattr(LocalStore, "open", fail)


def test_files_that_cannot_be_read_are_named_and_the_rest_is_kept(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    job = house.submit()
    house.work(job)
    bad = {layout.checkpoint_key(job.id, 1, 5): True, layout.checkpoint_key(job.id, 1, 10): False}
    spoil_reading(monkeypatch, bad)
    manifest = house.back_up(folder).manifest
    assert set(manifest.damaged) == set(bad)
    assert not set(bad) & {file.key for file in manifest.files}
    assert BackupFolder(folder).require_whole() == manifest


def test_files_that_cannot_be_read_are_put_back(house, folder: Path, monkeypatch: pytest.MonkeyPatch):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    bad = {layout.checkpoint_key(job.id, 1, 5): True, layout.checkpoint_key(job.id, 1, 10): False}
    with monkeypatch.context() as patch:
        spoil_reading(patch, bad)
        assert house.restore(folder).written_files == len(bad)
    house.extend(job, 2)
    assert house.row(job).status == "succeeded"


def test_a_storage_that_fails_altogether_gives_no_backup(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    house.work(house.submit())

    def fail(_store: LocalStore, key: str) -> object:
        raise StorageUnavailable(f"storage failed at {key}: Stale file handle")

    monkeypatch.setattr(LocalStore, "open", fail)
    monkeypatch.setattr(LocalStore, "read", fail)
    with pytest.raises(StorageUnavailable):
        house.back_up(folder)
    with pytest.raises(BackupRefused, match="no finished backup"):
        BackupFolder(folder).read()


def test_a_step_that_takes_longer_than_a_hold_lasts_is_held_all_the_time(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """A database of gigabytes on a slow disk."""
    house.submit()
    renewed, copy, hold = Event(), making.copy_database, making.hold_files
    backend = house.control.backend

    def wait_for_the_next(*paths: Path) -> str:
        with backend.database.write() as session:
            session.execute(text("UPDATE installation SET held_until = NULL"))
        renewed.clear()
        assert renewed.wait(30)
        with backend.database.read() as session:
            assert read_protection(session, now=house.clock.now()).is_held
        return copy(*paths)

    def note(session: object, *, now: object) -> None:
        hold(session, now=now)
        session.commit()
        renewed.set()

    monkeypatch.setattr(making, "_HOLD_RENEWED_SECONDS", 0.01)
    monkeypatch.setattr(making, "copy_database", wait_for_the_next)
    monkeypatch.setattr(making, "hold_files", note)
    house.back_up(folder)


def test_a_folder_that_leads_into_the_storage_takes_no_backup(house, settings: Settings, tmp_path: Path):
    (tmp_path / "short cut").symlink_to(house.store.root)
    with pytest.raises(BackupRefused, match="in the storage itself"):
        house.back_up(tmp_path / "short cut" / "backup")
    aside = house.store.root.with_name("sto rage")
    aside.symlink_to(house.store.root)
    with pytest.raises(BackupRefused, match="in the storage itself"):
        house.back_up(aside / "backup")


@pytest.mark.parametrize("spoil", [lose_identity, spoil_identity])
def test_an_identity_that_was_lost_or_spoilt_is_put_back(house, folder: Path, spoil: Callable[[Path], None]):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    identity = house.control.backend.identity.installation
    house.close()
    spoil(house.store.root)
    restore_backup(house.settings, folder, now=utc_now())
    assert read_identity(house.store) == identity
    house.open()
    assert house.output(job)


def test_a_spoilt_identity_of_nobody_knows_whose_storage_is_told_in_a_line(
    house, folder: Path, settings: Settings, tmp_path: Path
):
    house.work(house.submit())
    house.back_up(folder)
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    store = LocalStore(other.data_dir / "storage")
    store.make_root()
    spoil_identity(store.root)
    store.write(layout.asset_key("d" * 64), b"another's")
    with pytest.raises(BackupRefused, match="does not say of which installation"):
        restore_backup(other, folder, now=utc_now())
    with pytest.raises(IdentityWrong, match=r"of 40 bytes, cannot be read: [^\n]*$"):
        read_identity(store)


@pytest.mark.parametrize("away", [unmount, mount_nothing])
def test_below_a_mount_point_nothing_is_restored(house, folder: Path, away: Callable[[Path], None]):
    job = house.submit()
    house.work(job)
    house.back_up(folder)
    house.close()
    root = house.store.root
    away(root)
    with pytest.raises(BackupRefused, match="mount it; if its files are lost, put the database file into"):
        restore_backup(house.settings, folder, now=utc_now())
    assert not root.exists() or list(root.iterdir()) == []
    house.database.rename(house.database.with_name("kept.db"))  # as it says
    restore_backup(house.settings, folder, now=utc_now())
    house.open()
    assert house.output(job)


def test_what_is_kept_of_the_database_before_is_all_of_it(
    house, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """The disk is full, or the restore killed, while the database is copied that was there."""
    house.submit()
    house.back_up(folder)
    house.close()

    def copy_half(source: Path, target: Path) -> None:
        if Path(source) == house.database:
            Path(target).write_bytes(Path(source).read_bytes()[:5000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        copy(source, target)

    copy = shutil.copyfile
    before = house.database.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy_half)
        with pytest.raises(StorageUnavailable, match="No space left"):
            restore_backup(house.settings, folder, now=utc_now())
    assert list(house.database.parent.glob("*before-restore*")) == []
    assert len(house.database.read_bytes()) == len(before)
    previous = restore_backup(house.settings, folder, now=utc_now()).previous_database
    assert len(previous.read_bytes()) == len(before)
    house.open()
