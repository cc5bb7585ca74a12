"""Requests with an Idempotency-Key: repeated, changed, at once, and cut off at every point."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable
from shared.storage.layout import checkpoint_key
from tests.support.app import change_backend
from web.app import create_app
from web.db.models import IdempotencyKey, Job, JobCheckpoint
from web.jobs.queries import get_job
from web.services import hold_services, make_services, services_of

JOBS = "/api/v1/jobs"
KEY = {"Idempotency-Key": "3f2c one key"}


@pytest.fixture
def count(services):
    """How many rows a table has."""

    def do(model):
        with services.backend.database.read() as session:
            return session.scalar(select(func.count()).select_from(model))

    return do


@pytest.fixture
def post(client, parts):
    """Submit two pictures with the key."""
    return lambda headers=KEY, **changes: client.post(JOBS, data=parts(**changes), headers=headers)


@pytest.fixture
def other_app(settings):
    """A second web process on the same data, as far as a process matters here."""
    app = create_app(settings.model_copy(update={"web_threads": 4}))
    yield app
    services_of(app).close()


class Gate:
    """Holds whoever wants to decode a picture until it is opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __enter__(self):
        self.reached.set()
        assert self.opened.wait(20)

    def __exit__(self, *_):
        pass


@pytest.fixture
def gate(app, services):
    gate = Gate()
    hold_services(app, make_services(services.backend, gate))
    yield gate
    gate.opened.set()


def test_a_repeat_gets_the_first_answer(post, client, workshop, count):
    first = post(name="Harbour")
    assert first.status_code == 202
    assert "Idempotency-Replayed" not in first.headers
    workshop.claim(first.json["id"])
    again = post(name="Harbour")  # with another boundary
    assert (again.status_code, again.data) == (202, first.data)
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("Location", "Retry-After", "ETag", "Content-Type", "Cache-Control"):
        assert again.headers[name] == first.headers[name]
    assert client.get(first.headers["Location"]).json["status"] == "running"
    assert count(Job) == 1
    other = post({"Idempotency-Key": "another"}, name="Harbour", reuse="false")
    assert other.json["id"] != first.json["id"]


def test_json_is_compared_by_what_it_says(client, submit, count, problem_of):
    job = submit()
    assets = {part: job["input"][part]["asset_id"] for part in ("content", "style")}
    first = client.post(JOBS, json={**assets, "reuse": False, "labels": {"a": "1", "b": "2"}}, headers=KEY)
    turned = {"labels": {"b": "2", "a": "1"}, "reuse": False, **dict(reversed(assets.items()))}
    text = json.dumps(turned, indent=4)
    again = client.post(JOBS, data=text, content_type="application/json", headers=KEY)
    assert again.data == first.data
    assert count(Job) == 2
    changed = client.post(JOBS, json={**turned, "name": "x"}, headers=KEY)
    problem_of(changed, 422, "idempotency_key_reused")


@pytest.mark.parametrize("change", ["text", "file", "query", "kind"])
def test_another_request_with_the_same_key_is_refused(
    client, parts, post, make_picture, count, problem_of, change
):
    job = post().json
    if change == "text":
        response = post(options={"steps": 3})
    elif change == "file":
        response = post(style=make_picture(seed=9))
    elif change == "query":
        response = client.post(f"{JOBS}?validate_only=false", data=parts(), headers=KEY)
    else:
        assets = {part: job["input"][part]["asset_id"] for part in ("content", "style")}
        response = client.post(JOBS, json=assets, headers=KEY)
    problem_of(response, 422, "idempotency_key_reused")
    assert count(Job) == 1


def test_a_refusal_is_not_kept(post, count, problem_of, make_picture):
    problem_of(post(options={"steps": 0}), 422, "invalid_options")
    problem_of(post(content=b"no picture at all"), 422, "image_invalid")
    assert count(IdempotencyKey) == 0
    assert post().status_code == 202
    assert count(IdempotencyKey) == 1


def test_validate_only_does_not_use_the_key(client, parts, post, count):
    for _ in range(2):
        response = client.post(f"{JOBS}?validate_only=true", data=parts(), headers=KEY)
        assert response.status_code == 200
        assert "Idempotency-Replayed" not in response.headers
    assert count(IdempotencyKey) == 0
    assert post().status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "grün", "tab\there", "\x7f"])
def test_keys_of_another_form_are_refused(post, nothing_left, problem_of, key):
    problem = problem_of(post({"Idempotency-Key": key}), 400, "invalid_request")
    assert "1 to 255" in problem["detail"]
    nothing_left()


@pytest.mark.parametrize("key", ["a", "x" * 255, '"quoted", and more ~!'])
def test_keys_of_the_right_form(post, key):
    first = post({"Idempotency-Key": key})
    assert first.status_code == 202
    assert post({"Idempotency-Key": key}).json == first.json


def test_after_24_hours_a_key_is_new(post, services, count):
    first = post(reuse="false").json["id"]
    with services.backend.database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=utc_now() - timedelta(hours=24, seconds=1)))
    # Not pruned yet, and no hindrance.
    second = post(reuse="false")
    assert (second.status_code, second.json["id"] != first) == (202, True)
    assert "Idempotency-Replayed" not in second.headers
    assert post(reuse="false").json == second.json
    assert (count(Job), count(IdempotencyKey)) == (2, 1)


def test_while_the_first_is_answered_others_come_again(app, parts, gate, count, problem_of):
    def send():
        return app.test_client().post(JOBS, data=parts(), headers=KEY)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(send)
        assert gate.reached.wait(20)
        response = send()
        problem_of(response, 409, "idempotency_key_in_use")
        assert response.headers["Retry-After"] == "1"
        gate.opened.set()
        job = first.result(20).json
    again = send()
    assert (again.json, again.headers["Idempotency-Replayed"]) == (job, "true")
    assert count(Job) == 1


def test_many_at_once_make_one_job(app, parts, count):
    start = threading.Barrier(8)
    bodies = [parts() for _ in range(8)]

    def send(body):
        start.wait(20)
        return app.test_client().post(JOBS, data=body, headers=KEY)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(send, bodies))
    assert {response.status_code for response in responses} <= {202, 409}
    taken = [response for response in responses if response.status_code == 202]
    assert len({response.json["id"] for response in taken}) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in taken) == 1
    assert (count(Job), count(IdempotencyKey)) == (1, 1)


def test_two_processes_make_one_job(app, other_app, parts, make_picture, gate, count, settings, problem_of):
    """The first has found the key free, the second is done before it: the first gives the second's answer."""
    with ThreadPoolExecutor() as pool:
        slower = pool.submit(lambda: app.test_client().post(JOBS, data=parts(), headers=KEY))
        assert gate.reached.wait(20)
        quicker = other_app.test_client().post(JOBS, data=parts(), headers=KEY)
        gate.opened.set()
        answer = slower.result(20)
    assert quicker.status_code == 202
    assert (answer.status_code, answer.data) == (202, quicker.data)
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert (count(Job), count(IdempotencyKey)) == (1, 1)


def test_two_processes_with_different_requests(app, other_app, parts, gate, count, problem_of):
    with ThreadPoolExecutor() as pool:
        slower = pool.submit(lambda: app.test_client().post(JOBS, data=parts(name="x"), headers=KEY))
        assert gate.reached.wait(20)
        assert other_app.test_client().post(JOBS, data=parts(), headers=KEY).status_code == 202
        gate.opened.set()
        problem_of(slower.result(20), 422, "idempotency_key_reused")
    assert count(Job) == 1


def test_an_answer_that_was_not_kept_is_made_from_the_job(app, client, post, services, count):
    """As after a death between commit and answer."""

    class Failing(type(services.backend.database)):
        writes = 0

        def write(self):
            self.writes += 1
            if self.writes == 2:
                raise DatabaseUnavailable("for a moment")
            return super().write()

    failing = object.__new__(Failing)
    failing.__dict__.update(services.backend.database.__dict__)
    change_backend(app, database=failing)
    job = post().json
    client.post(job["urls"]["cancel"])
    again = post()
    assert (again.status_code, again.json["status"]) == (200, "canceled")
    assert again.headers["Idempotency-Replayed"] == "true"
    # From now on that is the first answer that somebody got.
    client.post(again.json["urls"]["retry"])
    assert post().data == again.data
    assert count(Job) == 1


def test_a_deleted_job_is_not_made_again(client, post, count):
    first = post()
    client.post(first.json["urls"]["cancel"])
    assert client.delete(first.json["urls"]["self"]).status_code == 204
    assert post().data == first.data
    assert count(Job) == 0


def test_with_reuse_and_waiting(client, parts, submit, workshop, count):
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"], b"x", hashlib.sha256(b"x").hexdigest())
    first = client.post(JOBS, data=parts(), headers=KEY)
    assert (first.status_code, first.json["status_reason"]) == (200, "reused")
    again = client.post(JOBS, data=parts(), headers={**KEY, "Prefer": "wait=60"})
    assert (again.status_code, again.data) == (200, first.data)
    assert count(Job) == 2
    headers = {"Idempotency-Key": "waiting", "Prefer": "wait=1"}
    waiting = client.post(JOBS, data=parts(reuse="false"), headers=headers)
    assert (waiting.status_code, waiting.headers["Preference-Applied"]) == (202, "wait=1")
    headers["Prefer"] = "wait=60"
    assert client.post(JOBS, data=parts(reuse="false"), headers=headers).data == waiting.data


@pytest.fixture
def parent(submit, workshop, services):
    """A job that succeeded and keeps the checkpoint of its last step."""
    job = submit()
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 100)
    key = checkpoint_key(job["id"], 1, 100)
    services.backend.storage.write(key, b"state")
    with services.backend.database.write() as session:
        digest = hashlib.sha256(b"state").hexdigest()
        session.execute(update(JobCheckpoint).where(JobCheckpoint.key == key).values(sha256=digest))
    workshop.succeed(job["id"])
    return job


def test_a_fork_is_made_once(client, parent, count, services, problem_of):
    url, body = f"{parent['urls']['self']}/fork", {"step": 100, "options": {"steps": 120}}
    first = client.post(url, json=body, headers=KEY)
    assert first.status_code == 202, first.text
    again = client.post(url, json=body, headers=KEY)
    assert (again.status_code, again.data) == (202, first.data)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert count(Job) == 2
    problem_of(client.post(url, json={**body, "name": "x"}, headers=KEY), 422, "idempotency_key_reused")
    problem_of(
        client.post(f"{parent['urls']['self']}/extend", json={"steps": 20}, headers=KEY),
        422,
        "idempotency_key_reused",
    )


def test_a_forks_deadlines(client, parent, services):
    url, body = f"{parent['urls']['self']}/fork", {"step": 100, "options": {"steps": 120}}
    fork = client.post(url, json={**body, "queue_timeout_seconds": 9, "run_timeout_seconds": 8}).json
    assert fork["run_timeout_seconds"] == 8
    with services.backend.database.read() as session:
        row = get_job(session, fork["id"])
    assert row.queue_deadline == row.created_at + timedelta(seconds=9)


def test_a_job_is_extended_once(client, parent, problem_of):
    url = f"{parent['urls']['self']}/extend"
    problem_of(client.post(url, json={"steps": 10_000}, headers=KEY), 422, "invalid_options")
    first = client.post(url, json={"steps": 20}, headers=KEY)
    assert (first.status_code, first.json["options"]["steps"]) == (200, 120), first.text
    again = client.post(url, json={"steps": 20}, headers=KEY)
    assert (again.status_code, again.data) == (200, first.data)
    # Without its key, it would be refused: the job no longer is succeeded.
    problem_of(client.post(url, json={"steps": 20}), 409, "invalid_state")


DEATHS = """
import io, os, sys
from PIL import Image
from sqlalchemy import event
from shared.settings import Settings
from web.app import create_app
from tests.support.app import change_backend
from web.services import make_services, services_of

def parts():
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((40, 36)).convert("RGB").save(buffer, "PNG")
    files = {name: (io.BytesIO(buffer.getvalue()), name + ".png") for name in ("content", "style")}
    return {**files, "reuse": "false"}

def die_at(point, root):
    settings = Settings(data_dir=os.path.join(root, str(point)), redis_url="redis://127.0.0.1:1/0")
    app = create_app(settings)
    engine, seen = services_of(app).backend.database._engine, 0

    def count(*_):
        nonlocal seen
        seen += 1
        if seen == point:
            os._exit(9)

    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", count)
    answer = app.test_client().post("/api/v1/jobs", data=parts(), headers={"Idempotency-Key": "k"})
    os._exit(0 if answer.status_code == 202 else 1)

for point in range(1, 100):
    child = os.fork()
    if child == 0:
        die_at(point, sys.argv[1])
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    print(point, code)
    if code != 9:
        sys.exit(code)
"""


@pytest.mark.process
def test_a_death_at_any_statement_leaves_both_or_neither(tmp_path, settings, make_picture):
    """The process is ended before its nth statement or commit, for every n; then the request is repeated."""
    script = subprocess.run(
        [sys.executable, "-c", DEATHS, tmp_path], capture_output=True, text=True, env={**os.environ}
    )
    assert script.returncode == 0, script.stdout + script.stderr
    points = 1 + len(re.findall(r"^\d+ 9$", script.stdout, flags=re.MULTILINE))
    assert points > 10
    with_both = set()
    for point in range(1, points):
        app = create_app(settings.model_copy(update={"data_dir": tmp_path / str(point)}))
        with services_of(app).backend.database.read() as session:
            jobs = list(session.scalars(select(Job.id)))
            kept = [answer["job_id"] for answer in session.scalars(select(IdempotencyKey.answer))]
        assert jobs == kept, point
        with_both |= {point} if jobs else set()
        answer = _repeat(app)
        assert answer.status_code == 202
        assert answer.headers.get("Idempotency-Replayed") == ("true" if jobs else None), point
        with services_of(app).backend.database.read() as session:
            assert (
                list(session.scalars(select(Job.id))) == [answer.json["id"]] == (jobs or [answer.json["id"]])
            )
        services_of(app).close()
    assert with_both
    assert with_both == set(range(min(with_both), points))


def _repeat(app):
    scope: dict = {}
    exec(DEATHS.partition("def die_at")[0], scope)
    return app.test_client().post(JOBS, data=scope["parts"](), headers={"Idempotency-Key": "k"})
