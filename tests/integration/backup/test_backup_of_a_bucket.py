"""A backup of an installation whose files are in a bucket: put back there, and put aside what came later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from shared.storage import store_of
from shared.storage.store import ArtifactStore
from tests.integration.backup.conftest import House

pytestmark = pytest.mark.process


class HouseOfABucket(House):
    """The same, but for where its files are."""

    @property
    def store(self) -> ArtifactStore:
        return store_of(self.settings)


@pytest.fixture
def house(
    settings: Settings, make_picture: Callable[..., bytes], on_s3: dict[str, str]
) -> Iterator[HouseOfABucket]:
    house = HouseOfABucket(settings.model_copy(update=on_s3), make_picture)
    yield house
    house.close()


def test_a_lost_bucket_comes_back_and_its_jobs_go_on(house: HouseOfABucket, tmp_path: Path):
    done, begun = house.submit(), house.submit(seed=1)
    house.work(done)
    output = house.output(done)
    house.work_until(begun, 12, lambda: None)
    made = house.back_up(tmp_path / "backup")
    assert (made.manifest.missing, made.manifest.damaged) == ((), ())
    again = house.back_up(tmp_path / "backup")
    assert again.copied_files == 0  # nothing has another size or time
    for root in ("assets", "jobs"):
        house.store.delete_tree(root)
    restored = house.restore(tmp_path / "backup")
    assert restored.written_files > 4
    assert house.output(done) == output
    house.work_on_what_is_due()
    assert house.row(begun).status == "succeeded"


def test_an_attempt_that_the_backup_does_not_know_is_put_aside(house: HouseOfABucket, tmp_path: Path):
    job = house.submit()
    house.work(job)
    house.back_up(tmp_path / "backup")
    house.extend(job, 5)
    later = house.output(job)
    restored = house.restore(tmp_path / "backup")
    assert restored.put_aside == 1
    keys = list(house.store.list(f"jobs/{job.id}"))
    assert any("/replaced-" in key for key in keys)
    assert not any("/attempt-2/" in key for key in keys)
    house.extend(job, 5)
    assert house.output(job) == later
