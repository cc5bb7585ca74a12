"""The identity of an installation, on a real database and a real folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from shared.clock import utc_now
from shared.errors import IdentityMissing, IdentityWrong
from shared.installation import IDENTITY_KEY, Installation, names_at, read_identity
from shared.settings import Settings
from shared.storage import store_of
from shared.storage.layout import asset_key
from shared.storage.store import ArtifactStore
from tests.support.rows import add_picture
from web import identity
from web.backend import Backend


def open_backend(folder: Path, **changes: object) -> str:
    """Open what lies in a folder as web and control do; return the id."""
    backend = Backend.open(Settings(data_dir=folder, **changes))
    backend.close()
    return backend.identity.installation.id


def test_all_processes_of_a_first_start_agree(tmp_path: Path):
    together = Barrier(6)

    def start(_: int) -> str:
        together.wait()
        return open_backend(tmp_path)

    with ThreadPoolExecutor(6) as pool:
        ids = set(pool.map(start, range(6)))
    store = store_of(Settings(data_dir=tmp_path))
    assert ids == {read_identity(store).id}
    assert open_backend(tmp_path) in ids
    assert names_at(store).installation_id in ids


@pytest.mark.parametrize("reading", [1, 2])
@pytest.mark.parametrize("is_before", [True, False], ids=["before", "after"])
def test_another_start_while_this_one_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: int, is_before: bool
):
    """It comes before or after this one's first or second look at the storage."""
    readings = 0
    others = []
    really_read = identity.read_identity

    def read(store: ArtifactStore) -> Installation | None:
        nonlocal readings
        readings += 1
        if readings != reading:
            return really_read(store)
        early = None if is_before else really_read(store)
        monkeypatch.setattr(identity, "read_identity", really_read)
        others.append(open_backend(tmp_path))
        monkeypatch.setattr(identity, "read_identity", read)
        return really_read(store) if is_before else early

    monkeypatch.setattr(identity, "read_identity", read)
    assert [open_backend(tmp_path)] == others


def test_a_start_that_is_killed_between_row_and_file_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(identity, "write_identity", killed)
        with pytest.raises(KeyboardInterrupt):
            open_backend(tmp_path)
    made = open_backend(tmp_path)
    assert open_backend(tmp_path) == made


def test_a_storage_that_is_not_mounted_is_not_made(tmp_path: Path):
    """Neither by the start, nor by anything later."""
    open_backend(tmp_path)
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    with pytest.raises(IdentityMissing):
        open_backend(tmp_path)
    (tmp_path / "storage").mkdir()  # the empty mount point
    with pytest.raises(IdentityMissing):
        open_backend(tmp_path)
    assert list((tmp_path / "storage").iterdir()) == []


def test_the_storage_of_another_installation_is_refused(tmp_path: Path):
    open_backend(tmp_path / "a")
    open_backend(tmp_path / "b")
    other = (tmp_path / "b" / "storage").as_uri()
    with pytest.raises(IdentityWrong, match="the database is of"):
        open_backend(tmp_path / "a", storage_url=other)
    fill(tmp_path / "b")
    with pytest.raises(IdentityWrong, match="and the database of none"):
        open_backend(tmp_path / "c", storage_url=other)


def test_data_of_the_first_release_get_an_identity(tmp_path: Path):
    fill(tmp_path)
    backend = Backend.open(Settings(data_dir=tmp_path))
    backend.close()
    assert backend.identity.from_first_release
    assert open_backend(tmp_path) == backend.identity.installation.id


def test_a_copy_of_the_database_from_before_there_were_ids_takes_the_id(tmp_path: Path):
    fill(tmp_path)
    copy = (tmp_path / "atelier.db").read_bytes()
    made = open_backend(tmp_path)
    for name in ("atelier.db-wal", "atelier.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "atelier.db").write_bytes(copy)
    assert open_backend(tmp_path) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "{}",
        '{"version": 2, "id": "x"}',
        '{"version": 1}',
        '{"version": 1, "id": ""}',
        "\x00" * 40,
    ],
)
def test_an_identity_that_cannot_be_read_is_refused(tmp_path: Path, text: str):
    open_backend(tmp_path)
    (tmp_path / "storage" / IDENTITY_KEY).write_text(text)
    with pytest.raises(IdentityWrong):
        open_backend(tmp_path)
    assert (tmp_path / "storage" / IDENTITY_KEY).read_text() == text


def fill(folder: Path) -> None:
    """Put a picture into database and storage, as the first release did: without an identity."""
    settings = Settings(data_dir=folder)
    database = identity.Database(settings.resolved_database_url)
    database.upgrade()
    with database.write() as session:
        add_picture(session, now=utc_now(), sha256="ab" * 32)
    database.close()
    picture = folder / "storage" / asset_key("ab" * 32)
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
