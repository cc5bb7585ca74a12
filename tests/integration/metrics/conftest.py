"""A service in which everything has happened that metrics tell of, and its scrape."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from shared.clock import utc_now
from tests.support.control import pretend_control
from tests.support.workshop import Workshop
from web.services import Services


@pytest.fixture(autouse=True)
def patience(services: Services) -> None:
    """A busy machine is no source that is away."""
    services.checkup._seconds = 60


@pytest.fixture
def scrape(client: FlaskClient, services: Services) -> Callable[[], str]:
    """Scrape the service, as it is at this moment."""
    services.metrics.fresh_seconds = 0

    def do() -> str:
        answer = client.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text

    return do


@pytest.fixture
def busy(
    services: Services, submit: Callable[..., dict], workshop: Workshop, make_picture: Callable[..., bytes]
) -> dict[str, dict]:
    """A service at work: some jobs have ended, one runs, two wait; a worker is there, control has a fault."""
    room = {"storage_total_bytes": 10**12, "storage_free_bytes": 10**11}
    memory = {"memory_total_bytes": 80 * 10**9, "memory_used_bytes": 2 * 10**9}
    workshop.connect(
        device="cuda:0 (NVIDIA H100)", host="machine", version="0.1.0", build="b", **room, **memory
    )
    pretend_control(services.backend.redis, faults={"prune": "it fails"}, part="reports", part_seconds=0.5)
    jobs = {}
    for name in ("measured", "told", "running", "failed", "waiting", "large"):
        content = make_picture(2048, 1536, seed=3) if name == "large" else make_picture(64, 48)
        jobs[name] = submit(content=content, options={"steps": 20, "size": 2048})
        if name in ("measured", "told"):
            workshop.run_through(jobs[name]["id"])
        elif name in ("running", "failed"):
            workshop.claim(jobs[name]["id"])
    workshop.fail(jobs["failed"]["id"])
    services.backend.redis.set_aside.put("odd", reason="it is odd", source="nowhere", now=utc_now())
    return jobs
