"""Totals: written with what they count, once, and kept when rows go."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from web.db.models import Job
from web.db.totals import LIMITS, Spread, Total, Totals, add, observe, read_totals


def read(services) -> Totals:
    with services.backend.database.read() as session:
        return read_totals(session)


def value(services, total: Total, **labels: str) -> float:
    found = [one.value for one in read(services).of(total) if one.labels == labels]
    assert len(found) <= 1
    return found[0] if found else 0.0


def test_what_a_transaction_counts_is_added_up(services):
    for _ in range(2):
        with services.backend.database.write() as session:
            add(session, Total.CLAIMS, method="gatys")
            add(session, Total.CLAIMS, 2, method="gatys")
            add(session, Total.CLAIMS, method="fast")
            add(session, Total.CLAIMS, 0, method="none")
    assert value(services, Total.CLAIMS, method="gatys") == 6
    assert value(services, Total.CLAIMS, method="fast") == 2
    assert len(read(services).of(Total.CLAIMS)) == 2


def test_what_is_rolled_back_has_counted_nothing(services):
    def fail() -> None:
        with services.backend.database.write() as session:
            add(session, Total.CLAIMS, method="gatys")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read(services).of(Total.CLAIMS) == []


def test_a_histogram_has_its_buckets_from_below(services):
    with services.backend.database.write() as session:
        for seconds in (0.4, 1, 1.1, 7, 1e6, -3):
            observe(session, Spread.RUN, seconds, method="gatys", device="cpu")
    (histogram,) = read(services).histograms(Spread.RUN)
    assert histogram.labels == {"method": "gatys", "device": "cpu"}
    assert histogram.sum_seconds == pytest.approx(1_000_009.5)
    found = dict(histogram.buckets)
    assert [found[limit] for limit in ("0.5", "1", "2", "5", "10", "86400", "+Inf")] == [2, 3, 4, 4, 5, 5, 6]
    assert [limit for limit, _ in histogram.buckets] == [f"{one:g}" for one in LIMITS[Spread.RUN]] + ["+Inf"]


def test_a_job_is_counted_from_its_submission_to_its_end_and_stays_counted(services, submit, workshop):
    job = submit(options={"steps": 20})
    workshop.run_through(job["id"])
    assert value(services, Total.JOBS_SUBMITTED, kind="job", method="gatys") == 1
    assert value(services, Total.CLAIMS, method="gatys") == 1
    assert value(services, Total.CHECKPOINTS, method="gatys") == 2
    assert value(services, Total.STEPS, method="gatys") == 20
    assert value(services, Total.JOBS_ENDED, method="gatys", status="succeeded") == 1
    (run,) = read(services).histograms(Spread.RUN)
    assert run.sum_seconds == 12.5
    (step,) = read(services).histograms(Spread.STEP)
    assert step.sum_seconds == pytest.approx(12.5 / 20)
    before = read(services)
    with services.backend.database.write() as session:
        session.execute(delete(Job))
    after = read(services)
    assert [after.of(total) for total in Total] == [before.of(total) for total in Total]


def test_a_report_that_comes_twice_counts_once(services, submit, workshop):
    job = submit(options={"steps": 20})
    workshop.claim(job["id"])
    workshop.claim(job["id"])  # another event of the same claim, as after Redis has lost it
    assert value(services, Total.CLAIMS, method="gatys") == 1


def test_what_goes_otherwise_is_counted(services, submit, workshop, client):
    failed, canceled, released = (submit(options={"steps": 20}) for _ in range(3))
    workshop.claim(failed["id"])
    workshop.fail(failed["id"])
    client.post(canceled["urls"]["cancel"])
    workshop.claim(released["id"])
    workshop.release(released["id"], 5)
    client.post(client.get(failed["urls"]["self"]).json["urls"]["retry"], json={})
    assert value(services, Total.JOBS_ENDED, method="gatys", status="failed") == 1
    assert value(services, Total.JOBS_ENDED, method="gatys", status="canceled") == 1
    assert value(services, Total.HAND_BACKS, method="gatys", reason="worker_drained") == 1
    assert value(services, Total.RETRIES, method="gatys", reason="retry") == 1


def test_a_job_whose_options_cannot_be_read_is_counted_all_the_same(services, submit, workshop):
    job = submit(options={"steps": 20})
    with services.backend.database.write() as session:
        row = session.get(Job, job["id"])
        row.options = {**row.options, "method": ["none"]}
    workshop.claim(job["id"])
    assert value(services, Total.CLAIMS, method="unknown") == 1
