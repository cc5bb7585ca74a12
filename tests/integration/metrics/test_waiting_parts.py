"""What waits, by route, memory class and priority: counted, sampled, and estimated."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.options import parse_options
from tests.support.rows import add_picture
from tests.support.statements import noted_statements
from web.db.models import Job
from web.jobs.queries import add_job
from web.jobs.routing import priority_of, queue_rank
from web.metrics import line
from web.metrics.line import memory_class, read_parts

NOW = utc_now()


@pytest.fixture
def queue(services):
    """Add so many jobs of a size, with other columns if that is said."""

    def add(count: int, size: int = 64, **columns: object) -> None:
        with services.backend.database.write() as session:
            asset = add_picture(session, now=NOW, sha256=f"{size:064d}", size=(4096, 4096))
            for _ in range(count):
                job = add_job(
                    session, caller="local", name="a job", content=asset, style=asset,
                    options=parse_options({"steps": 20, "size": size}), labels={}, max_attempts=3, now=NOW,
                )  # fmt: skip
                for name, value in columns.items():
                    setattr(job, name, value)

    return add


def read(services, *, after_seconds: float = 60):
    with services.backend.database.read() as session:
        return read_parts(session, now=NOW + timedelta(seconds=after_seconds))


@pytest.mark.parametrize(("size", "of"), [(64, "2GB"), (512, "4GB"), (2048, "16GB"), (4096, "48GB")])
def test_a_class_is_the_smallest_device_that_holds_the_job(size, of):
    assert memory_class(parse_options({"size": size}), (4096, 4096), (4096, 4096)) == of


def test_a_fast_job_is_reckoned_in_its_machine():
    options = parse_options({"method": "fast", "size": 512})
    assert memory_class(options, (4096, 4096), (4096, 4096)) == "2GB"


@pytest.mark.parametrize("priority", range(10))
@pytest.mark.parametrize("is_handed_back", [False, True])
def test_a_rank_tells_its_priority(priority, is_handed_back):
    assert priority_of(queue_rank(priority, is_handed_back=is_handed_back)) == priority


def test_nothing_waits(services):
    assert read(services) == []


def test_parts_are_counted_each_for_itself(services, queue):
    queue(2, 64)
    queue(3, 64, queue_rank=queue_rank(9))
    queue(1, 2048, queued_at=NOW - timedelta(minutes=4))
    queue(1, 64, leader_id="another")  # it waits for no worker
    queue(1, 64, status="running")
    found = {(part.memory_class, part.priority): part for part in read(services)}
    usual = priority_of(0)
    assert {place: part.depth for place, part in found.items()} == {
        ("2GB", usual): 2, ("2GB", 9): 3, ("16GB", usual): 1
    }  # fmt: skip
    assert found["16GB", usual].oldest_seconds == pytest.approx(300)
    assert found["2GB", 9].oldest_seconds == pytest.approx(60)
    assert all(part.backlog_seconds is None for part in found.values())  # nothing was measured yet


def test_a_long_line_is_sampled_and_its_size_is_right(services, queue, monkeypatch):
    monkeypatch.setattr(line, "_MOST_SEEN", 10)
    queue(80, 64)
    queue(40, 2048)
    found = {part.memory_class: part for part in read(services)}
    assert sum(part.depth for part in found.values()) == 120
    assert found["16GB"].depth == pytest.approx(40, abs=10)
    with noted_statements() as noted:
        read(services)
    assert len([one for one in noted if "row_number" in one]) == 1


def test_a_row_that_cannot_be_read_is_of_no_class_and_keeps_nothing_back(services, queue):
    queue(1, 64)
    queue(1, 64, options={"steps": "many"})
    assert {part.memory_class: part.depth for part in read(services)} == {"2GB": 1, "unknown": 1}


def test_a_row_of_a_part_that_is_removed_is_not_counted(services, queue):
    queue(2, 64)
    with services.backend.database.write() as session:
        session.delete(session.query(Job).first())
    assert [part.depth for part in read(services)] == [1]
