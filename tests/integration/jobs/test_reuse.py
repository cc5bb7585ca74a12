"""Identical work submitted again: over HTTP, on a real database and storage."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from datetime import timedelta

import pytest
from sqlalchemy import event

from shared.broker import DEFAULT_ROUTE
from shared.clock import to_rfc3339, utc_now
from shared.errors import StorageUnavailable
from shared.storage.local import LocalStore
from tests.support.app import change_backend
from web.jobs.queries import get_job
from web.jobs.queue import dispatched_before, jobs_to_dispatch

JOBS = "/api/v1/jobs"
ASSETS = "/api/v1/assets"
RESULT = b"the result"
SHA256 = hashlib.sha256(RESULT).hexdigest()


@pytest.fixture
def again(client, parts):
    """Submit the same work, whatever else differs; return the response."""
    return lambda **changes: client.post(JOBS, data=parts(**changes))


@pytest.fixture
def done(submit, workshop):
    """A job that succeeded."""
    job = submit()
    workshop.claim(job["id"])
    workshop.succeed(job["id"], RESULT, SHA256)
    return job


def job_files(settings, job_id):
    return sorted(path.name for path in (settings.data_dir / "storage/jobs" / job_id).rglob("*.png"))


def test_a_result_is_given_at_once_and_is_the_jobs_own(client, again, done, settings):
    response = again(name="again", labels={"a": "b"}, options={"checkpoint_every": 7})
    assert response.status_code == 200
    job = response.json
    assert response.headers["Location"] == f"{JOBS}/{job['id']}"
    assert (job["status"], job["status_reason"], job["leader_id"]) == ("succeeded", "reused", done["id"])
    assert (job["name"], job["labels"], job["options"]["checkpoint_every"]) == ("again", {"a": "b"}, 7)
    assert job["progress"]["step"] == 100
    assert (job["started_at"], job["queue"], job["urls"]["cancel"]) == (None, None, None)
    assert job["version"] == 3
    leader = client.get(done["urls"]["self"]).json
    assert job["weights"] == leader["weights"]
    assert [{**output, "url": None} for output in job["outputs"]] == [
        {**output, "url": None} for output in leader["outputs"]
    ]
    for path in (settings.data_dir / "storage/jobs" / done["id"]).rglob("*.png"):
        path.unlink()
    with client.get(job["urls"]["output"]) as output:
        assert output.data == RESULT
    third = again()
    assert (third.status_code, third.json["leader_id"]) == (200, job["id"])


def test_known_assets_are_as_good_as_pictures(client, done):
    body = {part: done["input"][part]["asset_id"] for part in ("content", "style")}
    response = client.post(JOBS, json=body)
    assert (response.status_code, response.json["leader_id"]) == (200, done["id"])
    assert client.post(JOBS, json={**body, "reuse": False}).status_code == 202
    swapped = client.post(JOBS, json={"content": body["style"], "style": body["content"]})
    assert (swapped.status_code, swapped.json["leader_id"]) == (202, None)


def test_who_does_not_want_it_has_it_computed(again, done, submit):
    alone = submit(reuse="false")
    assert (alone["status"], alone["leader_id"]) == ("queued", None)
    other = again(options={"steps": 7})
    assert (other.status_code, other.json["leader_id"]) == (202, None)


@pytest.mark.parametrize("change", ["engine", "weights", "untrained"])
def test_never_across_a_change_of_weights_or_engine(again, done, submit, workshop, services, change):
    assert again().status_code == 200
    newer = submit(options={"steps": 3})
    workshop.claim(newer["id"])
    with services.backend.database.write() as session:
        row = get_job(session, newer["id"])
        row.started_at = utc_now() + timedelta(seconds=1)
        if change == "engine":
            row.engine_version, row.weights = "2", get_job(session, done["id"]).weights
        else:
            sha256 = {"weights": "ef" * 32, "untrained": None}[change]
            row.weights = {"name": "new", "sha256": sha256, "notice": None}
    response = again()
    assert (response.status_code, response.json["leader_id"]) == (202, None)


def test_never_of_a_job_under_way_with_other_weights(again, submit, workshop, services):
    old = submit()
    workshop.claim(old["id"])
    assert again().json["leader_id"] == old["id"]
    newer = submit(options={"steps": 3})
    workshop.claim(newer["id"])
    with services.backend.database.write() as session:
        row = get_job(session, newer["id"])
        row.started_at, row.engine_version = utc_now() + timedelta(seconds=1), "2"
    response = again()
    assert (response.status_code, response.json["leader_id"]) == (202, None)


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_result_that_is_not_there_is_computed_again(again, done, settings, damage):
    (path,) = (settings.data_dir / "storage/jobs" / done["id"]).rglob("result-*.png")
    path.unlink() if damage == "gone" else path.write_bytes(b"the resulT")
    response = again()
    assert (response.status_code, response.json["leader_id"]) == (202, None)
    assert job_files(settings, response.json["id"]) == []


def test_a_storage_that_cannot_take_the_copy_delays_nothing(app, client, services, done, settings):
    class Full(LocalStore):
        def write(self, key: str, data: bytes) -> None:
            super().write(key + ".half", data)
            raise StorageUnavailable("no space left")

    change_backend(app, storage=Full(services.backend.storage.root))
    body = {part: done["input"][part]["asset_id"] for part in ("content", "style")}
    response = client.post(JOBS, json=body)
    assert (response.status_code, response.json["leader_id"]) == (202, None)
    assert not (settings.data_dir / "storage/jobs" / response.json["id"]).exists()


def test_copies_of_a_refused_row_go_and_no_transaction_waits_for_them(
    app, client, services, done, settings, problem_of
):
    database = settings.data_dir / "atelier.db"

    class Watched(LocalStore):
        copied: tuple[str, ...] = ()

        def write(self, key: str, data: bytes) -> None:
            # Would fail at once if the request held the lock.
            free = sqlite3.connect(database, isolation_level=None, timeout=0)
            free.execute("BEGIN IMMEDIATE")
            free.execute("ROLLBACK")
            free.close()
            super().write(key, data)
            self.copied += (key,)
            other.execute("BEGIN IMMEDIATE")  # now the row cannot be written

    services.backend.database.close()
    event.listen(
        services.backend.database._engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA busy_timeout=20"),
    )
    other = sqlite3.connect(database, isolation_level=None)
    store = Watched(services.backend.storage.root)
    change_backend(app, storage=store)
    body = {part: done["input"][part]["asset_id"] for part in ("content", "style")}
    problem_of(client.post(JOBS, json=body), 503, "database_unavailable")
    other.execute("ROLLBACK")
    other.close()
    assert len(store.copied) == 1
    assert [path.name for path in (services.backend.storage.root / "jobs").iterdir()] == [done["id"]]


def test_a_job_waits_for_one_that_does_the_same_and_is_in_nobodys_way(
    client, again, submit, workshop, services
):
    first = submit(options={"steps": 5})
    leader = submit()
    follower = again()
    assert follower.status_code == 202
    assert follower.json["leader_id"] == leader["id"]
    assert follower.json["queue"]["message"] == (
        "waits for the job 'content.png × style.png', which does the same work"
    )
    assert follower.json["queue"]["position"] == leader["queue"]["position"] == 2
    last = submit(options={"steps": 6})
    assert (first["queue"]["position"], last["queue"]["position"]) == (1, 3)
    # Who follows a follower would wait for two.
    assert again().json["leader_id"] == leader["id"]
    listed = {job["id"]: job["queue"]["position"] for job in client.get(JOBS).json["jobs"]}
    assert sorted(listed.values()) == [1, 2, 2, 2, 3]
    with services.backend.database.read() as session:
        due = [job.id for job in jobs_to_dispatch(session, room={DEFAULT_ROUTE: 10})]
        later = utc_now() + timedelta(days=1)
        sent = dispatched_before(session, later, now=later)
    assert due == [first["id"], leader["id"], last["id"]]
    assert sent == []
    workshop.claim(leader["id"])
    waiting = client.get(follower.json["urls"]["self"]).json
    assert (waiting["status"], waiting["queue"]["position"]) == ("queued", None)
    assert waiting["queue"]["ahead_seconds"] is None


def test_a_job_that_is_computed_in_any_case_leads_others(client, again, submit):
    first, alone = submit(reuse="false"), submit(reuse="false")
    assert alone["leader_id"] is None
    assert again().json["leader_id"] == first["id"]
    client.post(first["urls"]["cancel"])
    assert again().json["leader_id"] == alone["id"]


def test_a_result_that_comes_between_look_and_write_is_followed(
    app, client, parts, submit, workshop, services
):
    """The leader succeeds after the request has looked for results, and before it writes its row."""
    leader = submit()
    workshop.claim(leader["id"])
    database = services.backend.database

    class Late(type(database)):
        def write(self):
            workshop.succeed(leader["id"], RESULT, SHA256)
            return database.write()

    late = object.__new__(Late)
    late.__dict__.update(database.__dict__)
    change_backend(app, database=late)
    response = client.post(JOBS, data=parts())
    assert (response.status_code, response.json["leader_id"]) == (202, leader["id"])


def test_deadlines_are_taken_and_shown(client, parts, submit):
    job = submit(queue_timeout_seconds="60", run_timeout_seconds="2.5")
    assert job["run_timeout_seconds"] == 2.5
    assert job["queue_deadline"] > job["created_at"]
    plain = submit()
    assert (plain["queue_deadline"], plain["run_timeout_seconds"], plain["expires_at"]) == (None, None, None)
    body = {part: job["input"][part]["asset_id"] for part in ("content", "style")}
    job = client.post(JOBS, json={**body, "reuse": False, "run_timeout_seconds": 7}).json
    assert job["run_timeout_seconds"] == 7


@pytest.mark.parametrize("field", ["queue_timeout_seconds", "run_timeout_seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "2592001", "soon", "true", "NaN", "1e999", "[]"])
def test_deadlines_out_of_range_are_refused(client, parts, nothing_left, problem_of, field, value):
    problem = problem_of(client.post(JOBS, data=parts(**{field: value})), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == f"/{field}"
    number = value if value != "soon" else '"soon"'
    body = f'{{"content": "x", "style": "y", "{field}": {number}}}'
    problem_of(client.post(JOBS, data=body, content_type="application/json"), 400, "invalid_request")
    nothing_left()


def test_reuse_is_true_or_false(client, parts, nothing_left, problem_of):
    problem = problem_of(client.post(JOBS, data=parts(reuse="perhaps")), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/reuse"
    nothing_left()


def test_a_job_says_when_it_may_be_removed(app, client, services, submit, workshop):
    kept = services.backend.settings.model_copy(update={"retention_days": 2.5})
    change_backend(app, settings=kept)
    job = submit()
    assert job["expires_at"] is None
    workshop.claim(job["id"])
    workshop.succeed(job["id"], RESULT, SHA256)
    shown = client.get(job["urls"]["self"]).json
    with services.backend.database.read() as session:
        ended = get_job(session, job["id"]).completed_at
    assert shown["expires_at"] == to_rfc3339(ended + timedelta(days=2.5))


def test_an_uploaded_asset_leads_nowhere_else(client, make_picture, again, done):
    data = {"file": (io.BytesIO(make_picture(seed=1)), "a.png")}
    assert client.post(ASSETS, data=data).json["id"] == done["input"]["content"]["asset_id"]
    response = again(style=make_picture(seed=5))
    assert (response.status_code, response.json["leader_id"]) == (202, None)
