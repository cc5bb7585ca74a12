"""A job is rendered once for each state in which it is shown, and none is shown after a newer one."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from shared.errors import NotFound
from tests.support.app import change_backend
from tests.support.statements import noted_statements
from web.access.tokens import LOCAL_CALLER
from web.api import rendered_jobs
from web.api.rendered_jobs import find_rendered, read_rendered
from web.db.database import Database
from web.services import services_of

JOBS = "/api/v1/jobs"


@pytest.fixture
def renders(monkeypatch):
    """The jobs that were rendered, in order."""
    made, write = [], rendered_jobs.json_bytes

    def note(data):
        made.append(data["id"])
        return write(data)

    monkeypatch.setattr(rendered_jobs, "json_bytes", note)
    return made


@pytest.fixture
def kinds(submit, workshop, services) -> dict[str, str]:
    """The id of an ended, a running and a queued job; what is told of the queue is kept for an hour."""
    ended, running, queued = submit(), submit(), submit()
    for job in (ended, running):
        workshop.claim(job["id"])
    workshop.succeed(ended["id"])
    workshop.progress(running["id"], 3)
    services.backend.shared.stale_seconds = 3600
    return {"ended": ended["id"], "running": running["id"], "queued": queued["id"]}


@pytest.fixture
def poll(client) -> Callable[..., dict]:
    def do(job_id: str) -> dict:
        answer = client.get(f"{JOBS}/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json

    return do


def change(services, job_id: str, **values: object) -> None:
    """Change columns of a row; not its version, unless that is among them."""
    columns = ", ".join(f"{name} = :{name}" for name in values)
    with services.backend.database.write() as session:
        session.execute(text(f"UPDATE jobs SET {columns} WHERE id = :id"), {"id": job_id, **values})


@pytest.mark.parametrize("kind", ["ended", "running", "queued"])
def test_what_has_not_changed_is_sent_again(client, kinds, renders, poll, kind):
    first = client.get(f"{JOBS}/{kinds[kind]}")
    renders.clear()
    with noted_statements() as noted:
        for _ in range(10):
            assert poll(kinds[kind]) == first.json
        known = client.get(f"{JOBS}/{kinds[kind]}", headers={"If-None-Match": first.headers["ETag"]})
    assert (known.status_code, known.data) == (304, b"")
    assert (noted, renders) == ([], [])


@pytest.mark.parametrize(("kind", "most"), [("ended", 1), ("running", 1), ("queued", 6)])
def test_what_others_write_has_a_row_compared_and_nothing_rendered(
    services, kinds, renders, poll, submit, kind, most
):
    other, first = submit(), poll(kinds[kind])
    for step in range(1, 4):
        change(services, other["id"], step=step)
        renders.clear()
        with noted_statements() as noted:
            assert [poll(kinds[kind]) for _ in range(10)] == [first] * 10
        asked = [one for one in noted if not one.startswith("BEGIN")]
        assert "SELECT * FROM jobs WHERE id" in asked[0]
        assert len(asked) <= most  # for one in line its place comes on top
        assert renders == []


def test_each_state_of_a_running_job_is_rendered_once(kinds, renders, poll, workshop):
    job_id = kinds["running"]
    assert poll(job_id)["progress"]["step"] == 3
    renders.clear()
    for step in range(4, 8):
        workshop.progress(job_id, step)
        with noted_statements() as noted:
            assert {poll(job_id)["progress"]["step"] for _ in range(5)} == {step}
        assert noted == []
    assert len(renders) == 4
    workshop.checkpoint(job_id, 9)
    assert {poll(job_id)["version"] for _ in range(5)} == {4}
    workshop.succeed(job_id)
    assert {poll(job_id)["status"] for _ in range(5)} == {"succeeded"}
    assert len(renders) == 6


def test_each_state_of_the_queue_is_rendered_once(services, client, submit, kinds, renders, poll, workshop):
    job_id = kinds["queued"]
    ahead = poll(job_id)["queue"]["position"]
    assert ahead == 1
    last = submit()["id"]
    assert poll(last)["queue"]["position"] == 2
    renders.clear()
    assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 200
    assert {poll(last)["queue"]["position"] for _ in range(5)} == {1}
    assert renders.count(last) == 1
    workshop.connect()
    services.backend.shared.stale_seconds = 0
    assert {poll(last)["queue"]["eligible_workers"] for _ in range(5)} == {1}
    assert renders.count(last) == 2


def test_a_change_that_has_no_version_is_shown(services, kinds, poll):
    job = poll(kinds["ended"])
    change(services, job["id"], run_timeout_seconds=77.0)
    changed = poll(job["id"])
    assert changed == {**job, "run_timeout_seconds": 77.0}
    assert changed["version"] == job["version"]


def test_what_is_shown_of_another_job_is_that_of_now(services, submit, poll):
    """One that waits for another names it."""
    leader = submit(reuse="true", name="the first", options={"steps": 7})
    follower = submit(reuse="true", options={"steps": 7})
    assert "the first" in poll(follower["id"])["queue"]["message"]
    change(services, leader["id"], name="another name")
    assert "another name" in poll(follower["id"])["queue"]["message"]


def test_a_deleted_job_is_gone(client, kinds, poll):
    poll(kinds["ended"])
    assert client.delete(f"{JOBS}/{kinds['ended']}").status_code == 204
    for _ in range(2):
        assert client.get(f"{JOBS}/{kinds['ended']}").status_code == 404


@pytest.mark.parametrize("kind", ["ended", "running", "queued"])
def test_every_caller_sees_only_its_own(app, client, services, kinds, poll, kind):
    job_id = kinds[kind]
    poll(job_id)
    with app.app_context():
        for _ in range(2):
            with pytest.raises(NotFound):
                read_rendered(services, job_id, caller="somebody else")
            assert find_rendered(services, job_id, caller="somebody else") is None
        poll(job_id)
        change(services, job_id, caller="somebody else")
        assert find_rendered(services, job_id, caller=LOCAL_CALLER) is None
        assert client.get(f"{JOBS}/{job_id}").status_code == 404
        assert read_rendered(services, job_id, caller="somebody else").job_id == job_id


def test_what_is_told_at_once_is_what_is_so(services, kinds, poll, submit):
    """Without asking anybody it is told of those that have no worker, as long as nobody has written."""

    def tell(kind):
        found = find_rendered(services, kinds[kind], caller=LOCAL_CALLER)
        return found and found.content

    for job_id in kinds.values():
        poll(job_id)
    with noted_statements() as noted:
        for kind in ("ended", "queued"):
            assert tell(kind) == read_rendered(services, kinds[kind], caller=LOCAL_CALLER).content
        assert tell("running") is None
    assert noted == []
    services.backend.shared.stale_seconds = 0
    assert tell("queued") is None  # the queue would have to be read
    services.backend.shared.stale_seconds = 3600
    submit()
    assert tell("ended") is tell("queued") is None


_WRITER = """
import sqlite3, sys
path, job_id = sys.argv[1:]
own = sqlite3.connect(path, timeout=30, isolation_level=None)
for number in range(10, 210):
    own.execute("UPDATE jobs SET version = ? WHERE id = ?", (number, job_id))
    print(number, flush=True)
"""


@pytest.mark.parametrize("kind", ["ended", "running", "queued"])
def test_what_another_process_has_committed_is_shown_from_then_on(settings, app, kinds, kind):
    """Asked by four at once while it writes: none is shown less than is committed, or than it has seen."""
    path, committed, over = settings.data_dir / "atelier.db", [0], threading.Event()

    def ask():
        client, seen = app.test_client(), 0
        while not over.is_set() or seen < committed[-1]:
            least = max(committed[-1], seen)
            seen = client.get(f"{JOBS}/{kinds[kind]}").json["version"]
            assert seen >= least
        return seen

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask) for _ in range(4)]
        command = [sys.executable, "-c", _WRITER, str(path), kinds[kind]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for line in writer.stdout or ():
                committed.append(int(line))
        over.set()
        assert [one.result() for one in askers] == [209] * 4


def test_who_was_slow_to_render_puts_nothing_older_in_its_place(services, kinds, monkeypatch):
    job_id, read, is_read, may_go_on = (
        kinds["ended"],
        rendered_jobs.read_views,
        threading.Event(),
        threading.Event(),
    )

    def read_slowly(*words):
        views = read(*words)
        if not is_read.is_set():
            is_read.set()
            may_go_on.wait()
        return views

    monkeypatch.setattr(rendered_jobs, "read_views", read_slowly)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER)
        is_read.wait()
        change(services, job_id, version=50)
        quick = pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER)
        may_go_on.set()
        assert slow.result().version < 50
        assert quick.result().version == 50
    assert read_rendered(services, job_id, caller=LOCAL_CALLER).version == 50


def test_who_was_slow_to_compare_puts_nothing_older_in_its_place(services, kinds, submit, monkeypatch):
    job_id, is_compared, may_go_on = kinds["ended"], threading.Event(), threading.Event()
    keep = services.answers.keep

    def keep_slowly(*words):
        if not is_compared.is_set():
            is_compared.set()
            may_go_on.wait()
        keep(*words)

    before = read_rendered(services, job_id, caller=LOCAL_CALLER)
    submit()  # somebody writes: the row is compared, and is the same
    monkeypatch.setattr(services.answers, "keep", keep_slowly)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER)
        is_compared.wait()
        change(services, job_id, version=50)
        quick = pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER)
        may_go_on.set()
        assert slow.result() == before  # it was so when it was asked
        assert quick.result().version == 50
    assert find_rendered(services, job_id, caller=LOCAL_CALLER).version == 50
    assert read_rendered(services, job_id, caller=LOCAL_CALLER).version == 50


def test_many_who_ask_at_once_have_it_rendered_once(services, kinds, renders):
    job_id, renders[:] = kinds["ended"], []
    change(services, job_id, version=50)
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER) for _ in range(64)]
        assert {one.result().version for one in asked} == {50}
    assert renders == [job_id]


def test_after_a_write_one_of_many_looks_whether_it_matters(services, kinds, renders, submit):
    job_id, renders[:] = kinds["queued"], []
    services.backend.shared.stale_seconds = 3600
    before = read_rendered(services, job_id, caller=LOCAL_CALLER)
    change(services, kinds["ended"], version=50)
    with noted_statements() as noted, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(read_rendered, services, job_id, caller=LOCAL_CALLER) for _ in range(64)]
        assert {one.result().content for one in asked} == {before.content}
    assert [" ".join(one.split()[:3]) for one in noted] == [
        "BEGIN DEFERRED",
        "SELECT * FROM",
        "WITH gaps (number,",
    ]


def test_a_database_that_was_put_back_is_shown(settings, services, kinds, poll, tmp_path):
    """It counts the same versions once more, of other content, and SQLite the same commits."""
    job_id, path = kinds["ended"], settings.data_dir / "atelier.db"
    with closing(sqlite3.connect(path)) as own:
        own.execute("VACUUM INTO ?", (str(tmp_path / "kept.db"),))
    old = poll(job_id)
    change(services, job_id, name="a newer name", version=70)
    assert poll(job_id)["name"] == "a newer name"
    services.backend.database.close()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    shutil.copy(tmp_path / "kept.db", tmp_path / "back.db")
    (tmp_path / "back.db").replace(path)
    assert poll(job_id) == old
    change(services, job_id, name="another newer name", version=70)
    assert poll(job_id)["name"] == "another newer name"


@pytest.mark.parametrize("kind", ["ended", "running", "queued"])
def test_another_database_is_asked_for_the_row_alone(settings, app, client, kinds, renders, poll, kind):
    """It has no marks: a poll that finds nothing new has one row read, without objects, and its place."""
    database = Database(f"sqlite:///file:{settings.data_dir / 'atelier.db'}?uri=true")
    change_backend(app, database=database)
    services, job_id = services_of(app), kinds[kind]
    services.backend.shared.stale_seconds = 3600
    first = poll(job_id)
    assert database.mark() is None
    renders.clear()
    with noted_statements() as noted:
        assert poll(job_id) == first
    asked = [one for one in noted if not one.startswith("BEGIN")]
    assert asked[0].startswith("SELECT * FROM jobs WHERE id")
    assert len(asked) == 1 if kind != "queued" else len(asked) <= 6
    assert renders == []
    assert find_rendered(services, job_id, caller=LOCAL_CALLER) is None
    change(services, job_id, version=60)
    assert poll(job_id)["version"] == 60
    assert renders == [job_id]
    database.close()


def test_what_has_ended_a_wait_is_not_read_again(client, services, kinds, workshop, monkeypatch):
    """The job is read when the wait begins, and when it is looked at; that is the answer."""
    job_id, progress = kinds["running"], services.backend.redis.progress
    etag, read, asked = client.get(f"{JOBS}/{job_id}").headers["ETag"], progress.read, []

    def read_and_go_on(job_ids):
        found = read(job_ids)
        asked.append(job_ids)
        if len(asked) == 1:
            workshop.progress(job_id, 4)
        return found

    monkeypatch.setattr(progress, "read", read_and_go_on)
    answer = client.get(f"{JOBS}/{job_id}", headers={"If-None-Match": etag, "Prefer": "wait=20"})
    assert (answer.status_code, answer.json["progress"]["step"]) == (200, 4)
    assert asked == [[job_id]] * 3  # the look finds a change: it is rendered by the one whose turn it is
