"""The identity of database and storage, in every combination of two installations, copies and leftovers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.clock import utc_now
from shared.errors import IdentityMissing, IdentityWrong
from shared.installation import IDENTITY_KEY, has_content, read_identity
from shared.options import StyleOptions
from shared.settings import Settings
from shared.storage.layout import asset_key, checkpoint_key, marker_key
from shared.storage.local import LocalStore
from tests.support.rows import add_picture
from web.backend import Backend
from web.db.database import Database
from web.db.models import InstallationRow
from web.identity import Identity, establish_identity
from web.jobs.queries import add_job
from web.jobs.transitions import save_checkpoint


@dataclass
class House:
    """The data of an installation: a database file and a storage folder."""

    database: Path
    storage: Path

    @classmethod
    def at(cls, folder: Path) -> House:
        return cls(folder / "atelier.db", folder / "storage")

    def start(self, *, may_make: bool = True) -> Identity:
        database = Database(f"sqlite:///{self.database}")
        try:
            if may_make:
                database.upgrade()
            return establish_identity(database, LocalStore(self.storage), now=utc_now(), may_make=may_make)
        finally:
            database.close()

    def fill(self, letter: str) -> None:
        """Give it a picture that is known, and the files of a job."""
        database, store = Database(f"sqlite:///{self.database}"), LocalStore(self.storage)
        store.write(asset_key(letter * 64), b"x")
        store.write(marker_key(f"job-{letter}", 1), b"{}")
        with database.write() as session:
            add_picture(session, now=utc_now(), sha256=letter * 64)
        database.close()


@pytest.fixture
def ours(tmp_path: Path) -> House:
    house = House.at(tmp_path / "ours")
    house.start()
    house.fill("a")
    return house


@pytest.fixture
def theirs(tmp_path: Path) -> House:
    house = House.at(tmp_path / "theirs")
    house.start()
    house.fill("b")
    return house


def everything(*houses: House) -> set[Path]:
    return {path for house in houses for path in house.storage.rglob("*")}


@pytest.mark.parametrize("may_make", [True, False])
def test_two_houses_crossed_are_refused_both_ways_and_stay_as_they_are(
    ours: House, theirs: House, may_make: bool
):
    before = everything(ours, theirs)
    for crossed in (House(ours.database, theirs.storage), House(theirs.database, ours.storage)):
        with pytest.raises(IdentityWrong, match="the database is of the installation"):
            crossed.start(may_make=may_make)
    assert everything(ours, theirs) == before
    assert ours.start() != theirs.start()


def test_a_new_database_beside_a_storage_in_use_is_refused_also_after_it_was_used_elsewhere(
    ours: House, tmp_path: Path
):
    new = House(tmp_path / "new.db", ours.storage)
    with pytest.raises(IdentityWrong):
        new.start()
    # One picture that the storage does not have makes no owner of it.
    used = House.at(tmp_path / "used")
    used.start()
    used.fill("c")
    with pytest.raises(IdentityWrong):
        House(used.database, ours.storage).start()


def test_a_database_of_the_first_release_with_one_job_takes_no_storage_of_another(
    ours: House, tmp_path: Path
):
    """The case that cost 105 pictures: another database beside this storage, and one job handed in."""
    other = House.at(tmp_path / "other")
    database = Database(f"sqlite:///{other.database}")
    database.upgrade()
    with database.write() as session:
        add_picture(session, now=utc_now(), sha256="c" * 64)
    database.close()
    with pytest.raises(IdentityWrong):
        House(other.database, ours.storage).start()


@pytest.mark.parametrize("has_work", [True, False, None])
def test_the_same_picture_in_both_makes_no_owner_of_the_work_of_others(
    ours: House, tmp_path: Path, has_work: bool | None
):
    """Both have run the demo, or submitted it at least, the other one before there were identities."""
    other = House.at(tmp_path / "other")
    database = Database(f"sqlite:///{other.database}")
    database.upgrade()
    with database.write() as session:
        asset = add_picture(session, now=utc_now(), sha256="a" * 64)
        job = add_job(
            session, caller="local", name="", content=asset, style=asset, options=StyleOptions(), labels={},
            max_attempts=3, now=utc_now(),
        )  # fmt: skip
        key = checkpoint_key(job.id, 1, 10)
        if has_work is not None:
            save_checkpoint(
                session, job.id, 10, attempt=1, key=key, picture_key="", sha256="", losses={},
                created_at=utc_now(),
            )  # fmt: skip
    database.close()
    crossed = House(other.database, ours.storage)
    if has_work:
        LocalStore(ours.storage).write(key, b"")
        assert crossed.start().installation == ours.start().installation
    else:
        with pytest.raises(IdentityWrong):
            crossed.start()


def test_a_copy_of_both_is_the_same_installation(ours: House, tmp_path: Path):
    copy = House.at(tmp_path / "copy")
    shutil.copytree(ours.database.parent, copy.database.parent)
    assert copy.start() == ours.start()


@pytest.mark.parametrize("emptied", ["unmounted", "empty", "without identity"])
def test_a_storage_without_identity_is_refused_once_there_was_one(ours: House, emptied: str):
    if emptied == "without identity":
        (ours.storage / IDENTITY_KEY).unlink()
    else:
        shutil.rmtree(ours.storage)
    if emptied == "empty":
        ours.storage.mkdir()
    with pytest.raises(IdentityMissing):
        ours.start()
    assert read_identity(LocalStore(ours.storage)) is None
    assert has_content(LocalStore(ours.storage)) == (emptied == "without identity")
    assert ours.storage.exists() == (emptied != "unmounted")


def test_a_start_that_was_killed_between_row_and_file_is_finished(tmp_path: Path):
    house = House.at(tmp_path / "data")
    house.start()
    with_row = (tmp_path / "data" / "storage" / IDENTITY_KEY).read_bytes()
    database = Database(f"sqlite:///{house.database}")
    with database.write() as session:
        session.query(InstallationRow).one().is_confirmed = False
    database.close()
    (house.storage / IDENTITY_KEY).unlink()
    house.start()
    assert (house.storage / IDENTITY_KEY).read_bytes() == with_row


def test_a_command_beside_crossed_houses_is_refused_before_it_looks(ours: House, theirs: House):
    settings = Settings(
        data_dir=ours.database.parent, storage_url=theirs.storage.as_uri(), redis_url="redis://127.0.0.1:1/0"
    )
    with pytest.raises(IdentityWrong):
        Backend.open(settings, upgrade=False)
