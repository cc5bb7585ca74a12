"""The simulation of `benchmarks.simulation`, small: a fleet by a virtual clock over the real dispatcher."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.plots import Plot, draw
from benchmarks.simulation import Fleet, hourly_shares, judge
from web.cli.local.redis_server import RedisServer

NODES, JOBS = 16, 420


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with RedisServer(Path(folder) / "redis") as server:
        fleet = Fleet(folder, server.url, nodes=NODES, callers=4, seed=3, round_seconds=2.0)
        fleet.run(JOBS)
        yield fleet
        fleet.close()


def test_nodes_are_busy_while_work_for_them_waits(fleet):
    assert judge(fleet.seen, warm_minutes=2).busy_share >= 0.95


def test_two_callers_who_always_have_jobs_waiting_get_the_same(fleet):
    minutes = max(fleet.seen.worked) - 3
    ((_, share), *_) = hourly_shares(fleet.seen, warm_minutes=2, minutes=minutes)
    assert 0.45 <= share <= 0.55


def test_who_comes_with_one_job_does_not_wait_for_the_line(fleet):
    """Beside sixty-four jobs that wait all the time; a node gets free every few seconds."""
    waits = sorted(wait for _, wait in fleet.seen.lone_waits)
    assert len(waits) > 10
    assert waits[len(waits) // 2] < 60


def test_a_plot_is_a_picture_with_all_its_points():
    points = [(0.0, 50.0), (1.0, 45.0), (2.0, 70.0)]
    shown = ET.fromstring(draw(Plot("One & two", "hours", "%", points, low=40, high=60, marks=(45,))))
    (line,) = (path.get("d") for path in shown.iter() if path.get("fill") == "none")
    heights = [float(place.split()[1]) for place in line.removeprefix("M").split("L")]
    # What lies beyond the axis is drawn at its end.
    assert heights[2] < heights[0] < heights[1]
    assert [text.text for text in shown.iter() if str(text.tag).endswith("title")] == ["One & two"]
