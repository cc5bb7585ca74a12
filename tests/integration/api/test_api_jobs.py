"""Submit, read, list, wait for and cancel jobs over HTTP, on a real database and Redis."""

from __future__ import annotations

import dataclasses
import io
import threading

import pytest

from shared.clock import utc_now
from shared.errors import OutOfMemory
from shared.redis.live import Flag
from shared.redis.workers import WorkerBeat
from shared.status import JobStatus
from tests.support.app import AnnouncedPlaces, stored_files
from web.app import create_app
from web.jobs import watch as job_watch
from web.jobs.lists import JobFilter, count_by_status, list_jobs
from web.services import ConcurrencyLimit, hold_services, make_services, services_of

JOBS = "/api/v1/jobs"
ASSETS = "/api/v1/assets"


@pytest.fixture
def assets(client, make_picture):
    """The ids of two uploaded pictures."""
    pictures = [make_picture(seed=3), make_picture(48, 64, seed=4)]
    return [client.post(ASSETS, data={"file": (io.BytesIO(data), "a.png")}).json["id"] for data in pictures]


def test_assets_are_kept_once(client, make_picture):
    data = make_picture(80, 60, kind="JPEG")
    first = client.post(ASSETS, data={"file": (io.BytesIO(data), "C:/pictures/harbour.jpg")})
    assert first.status_code == 201
    assert first.headers["Location"] == f"{ASSETS}/{first.json['id']}"
    assert first.json["filename"] == "harbour.jpg"
    assert (first.json["width"], first.json["height"]) == (80, 60)
    assert first.json["content_type"] == "image/jpeg"
    again = client.post(ASSETS, data={"file": (io.BytesIO(data), "other.jpg")})
    assert (again.status_code, again.json) == (200, first.json)
    assert client.get(first.headers["Location"]).json == first.json


def test_asset_content_in_ranges(client, make_picture):
    data = make_picture()
    url = client.post(ASSETS, data={"file": (io.BytesIO(data), 'ü"/x.png')}).json["url"]
    with client.get(url) as whole:
        assert (whole.status_code, whole.data, whole.content_type) == (200, data, "image/png")
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in whole.headers["Content-Security-Policy"]
        etag = whole.headers["ETag"]
    with client.get(url, headers={"Range": "bytes=10-19"}) as part:
        assert (part.status_code, part.data) == (206, data[10:20])
        assert part.headers["Content-Range"] == f"bytes 10-19/{len(data)}"
    with client.get(url, headers={"Range": "bytes=-5"}) as tail:
        assert tail.data == data[-5:]
    with client.get(url, headers={"Range": "bytes=999999-"}) as outside:
        assert outside.status_code == 416
        assert outside.json["code"] == "range_not_satisfiable"
    with client.get(url, headers={"If-None-Match": etag}) as same:
        assert (same.status_code, same.data) == (304, b"")
    with client.head(url) as head:
        assert (head.content_length, head.data) == (len(data), b"")


def test_submit_both_ways(client, submit, assets):
    job = submit(options={"steps": 20, "size": 48}, name="Harbour", labels={"project": "x", "a.b-c_1": ""})
    assert job["status"] == "queued"
    assert job["version"] == 1
    assert (job["name"], job["labels"]) == ("Harbour", {"a.b-c_1": "", "project": "x"})
    assert job["options"]["steps"] == 20
    assert job["options"]["learning_rate"] == 0.02
    assert job["progress"] == {"value": 0, "step": 0, "steps": 20, "loss": None, "steps_per_second": None}
    assert job["queue"]["position"] == 1
    assert job["queue"]["ahead_seconds"] is None
    assert job["queue"]["eligible_workers"] == 0
    assert "no worker is connected" in job["queue"]["message"]
    assert job["urls"]["cancel"] == f"{JOBS}/{job['id']}/cancel"
    assert job["urls"]["output"] is None
    body = {"content": assets[0], "style": assets[1], "labels": {"project": "y"}}
    response = client.post(JOBS, json=body)
    assert response.status_code == 202
    assert response.headers["Location"] == f"{JOBS}/{response.json['id']}"
    assert response.headers["Retry-After"]
    assert response.json["input"]["content"]["asset_id"] == assets[0]
    assert response.json["name"] is None
    assert response.json["queue"]["position"] == 2


def test_options_as_a_file(submit):
    assert submit(options=b'{"steps": 7}', labels=b'{"a": "b"}')["options"]["steps"] == 7


def test_same_picture_twice(submit, make_picture):
    picture = make_picture(seed=9)
    job = submit(content=picture, style=picture)
    assert job["input"]["content"]["asset_id"] == job["input"]["style"]["asset_id"]


def test_validate_only_stores_nothing(client, parts, assets, make_picture, services):
    body = {"content": assets[0], "style": assets[1], "options": {"size": 32, "steps": 3}}
    response = client.post(JOBS + "?validate_only=true", json=body)
    assert response.status_code == 200
    assert response.json["options"]["steps"] == 3
    assert response.json["options"]["checkpoint_every"] == 10
    assert response.json["working_size"] == {
        "content": {"width": 32, "height": 24},
        "style": {"width": 24, "height": 32},
    }
    data = parts(content=make_picture(seed=20), options={"size": 32})
    assert (
        client.post(JOBS + "?validate_only=true", data=data).json["working_size"]
        == response.json["working_size"]
    )
    assert client.get(JOBS).json["jobs"] == []
    assert len(stored_files(services.backend.settings)) == 2  # the assets uploaded before


def test_pictures_are_decoded_a_few_at_a_time(app, client, parts, make_picture, services):
    class Counted:
        entered = 0

        def __enter__(self) -> None:
            self.entered += 1

        def __exit__(self, *_: object) -> None:
            pass

    decoding = Counted()
    hold_services(app, make_services(services.backend, decoding))
    client.post(ASSETS, data={"file": (io.BytesIO(make_picture()), "a.png")})
    client.post(JOBS, data=parts())
    client.post(JOBS + "?validate_only=true", data=parts())
    assert decoding.entered == 3


def test_too_narrow_at_the_size_asked_for(client, make_picture, problem_of):
    data = make_picture(200, 40)
    wide = client.post(ASSETS, data={"file": (io.BytesIO(data), "a.png")}).json["id"]
    body = {"content": wide, "style": wide, "options": {"size": 64}}
    problem_of(client.post(JOBS, json=body), 422, "image_too_narrow")
    assert client.post(JOBS, json={**body, "options": {"size": 100}}).status_code == 202


def test_life_of_a_job(client, submit, workshop):
    job = submit()
    url = job["urls"]["self"]
    workshop.claim(job["id"])
    running = client.get(url).json
    assert (running["status"], running["queue"], running["eta"]) == ("running", None, None)
    assert running["attempt"] == {
        "number": 1, "max": 3, "worker_id": "gpu-a", "device": "cuda:0", "resumed_from_step": None,
    }  # fmt: skip
    assert running["weights"]["notice"] == "untrained weights"  # whatever an earlier release wrote
    loss = {"total": 5.0, "content": 2.0, "style": 3.0}
    workshop.progress(job["id"], 20, loss=loss)
    live = client.get(url).json
    assert live["progress"]["step"] == 20
    assert live["progress"]["loss"] == loss
    assert live["eta"] == {"seconds": 20.0}
    assert live["version"] == running["version"]
    workshop.succeed(job["id"])
    done = client.get(url).json
    assert (done["status"], done["progress"]["value"], done["eta"]) == ("succeeded", 1.0, None)
    assert done["outputs"][0]["url"] == done["urls"]["output"]
    assert done["urls"]["cancel"] is None
    assert done["metrics"]["run_seconds"] == 12.5
    assert done["completed_at"].endswith("Z")


def test_failed_job_says_why(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.fail(job["id"], OutOfMemory("9 GB are too many"))
    assert client.get(job["urls"]["self"]).json["error"] == {
        "code": "out_of_memory",
        "title": "The device has not enough memory for this working size.",
        "detail": "9 GB are too many",
        "retryable": False,
        "suggestion": "Submit it again with a smaller size.",
    }


def test_progress_of_another_attempt_is_not_shown(client, submit, workshop):
    job = submit()
    workshop.claim(job["id"])
    workshop.checkpoint(job["id"], 10, loss={"total": 3.0, "content": 1.0, "style": 2.0})
    workshop.progress(job["id"], 55, attempt=2)
    shown = client.get(job["urls"]["self"]).json["progress"]
    assert (shown["step"], shown["loss"]["total"], shown["steps_per_second"]) == (10, 3.0, None)


def test_etag_follows_what_is_shown(client, submit, workshop):
    job = submit()
    url = job["urls"]["self"]
    etags = [client.get(url).headers["ETag"]]

    def changed() -> bool:
        assert client.get(url, headers={"If-None-Match": etags[-1]}).status_code in (200, 304)
        etags.append(client.get(url).headers["ETag"])
        assert client.get(url, headers={"If-None-Match": etags[-1]}).status_code == 304
        return etags[-1] != etags[-2]

    assert not changed()
    workshop.claim(job["id"])
    assert changed()
    workshop.progress(job["id"], 1)
    assert changed()
    workshop.progress(job["id"], 1)
    assert not changed()
    workshop.progress(job["id"], 2)
    assert changed()
    assert not etags[-1].startswith("W/")


def test_wait_for_a_change(client, submit, workshop):
    job = submit()
    url = job["urls"]["self"]
    etag = client.get(url).headers["ETag"]
    worker = threading.Thread(target=workshop.claim, args=(job["id"],))
    worker.start()
    response = client.get(url, headers={"If-None-Match": etag, "Prefer": "wait=60"})
    worker.join()
    assert response.status_code == 200
    assert response.json["status"] == "running"


def test_wait_ends_without_a_change(client, submit, services):
    job = submit()
    etag = client.get(job["urls"]["self"]).headers["ETag"]
    response = client.get(job["urls"]["self"], headers={"If-None-Match": etag, "Prefer": "wait=1"})
    assert response.status_code == 304
    assert response.headers["Preference-Applied"] == "wait=1"
    assert services.waits.take()  # the place was given back


def test_submit_and_wait_for_the_end(app, client, parts, workshop, services):
    places = AnnouncedPlaces(1)
    hold_services(app, dataclasses.replace(services, waits=places))

    def work() -> None:
        places.is_asked.wait()
        with services.backend.database.read() as session:
            jobs = list_jobs(session, caller="local", only=JobFilter(), before_id=None, limit=1)
        workshop.claim(jobs[0].id)
        workshop.progress(jobs[0].id, 50)
        workshop.succeed(jobs[0].id)

    worker = threading.Thread(target=work)
    worker.start()
    response = client.post(JOBS, data=parts(), headers={"Prefer": "respond-async, wait=100"})
    worker.join()
    assert response.status_code == 200
    assert response.json["status"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=50"
    assert response.headers["Location"] == response.json["urls"]["self"]


def test_submit_and_wait_in_vain(client, parts, services):
    response = client.post(JOBS, data=parts(), headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json["status"]) == (202, "queued")
    assert response.headers["Preference-Applied"] == "wait=1"
    assert services.waits.take()  # the place was given back


def test_no_place_to_wait(app, client, parts, services):
    hold_services(app, dataclasses.replace(services, waits=ConcurrencyLimit(0)))
    response = client.post(JOBS, data=parts(), headers={"Prefer": "wait=60"})
    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_waits_are_woken_by_redis(services, submit, monkeypatch):
    job = submit()
    monkeypatch.setattr(job_watch, "POLL_SECONDS", 3600)
    with job_watch.JobWatch(services.backend.redis.progress, job["id"], stopping=services.stopping) as watch:
        services.backend.redis.progress.notify(job["id"])
        watch.wait(3600)
        services.backend.redis.progress.notify(job["id"])
        watch.wait(3600, only_changes=True)


def test_waits_end_when_the_process_does(services, submit, monkeypatch):
    job = submit()
    monkeypatch.setattr(job_watch, "POLL_SECONDS", 3600)
    with job_watch.JobWatch(services.backend.redis.progress, job["id"], stopping=services.stopping) as watch:
        services.stopping.set()
        watch.wait(3600)


def test_list_in_pages(client, submit, problem_of):
    ids = [submit(labels={"n": str(number % 2), "all": "x"})["id"] for number in range(5)]
    newest_first = ids[::-1]
    page = client.get(f"{JOBS}?page_size=2").json
    seen = [job["id"] for job in page["jobs"]]
    while page["next_page_token"]:
        token = page["next_page_token"]
        page = client.get(f"{JOBS}?page_size=2&page_token={token}").json
        seen += [job["id"] for job in page["jobs"]]
    assert seen == newest_first
    even = client.get(f"{JOBS}?label=n:0&label=all:x&page_size=1").json
    assert even["jobs"][0]["id"] == ids[4]
    for query in ("label=n:1", "label=n:0&status=queued", "batch_id=x", "created_after=2020-01-01T00:00:00Z"):
        problem_of(client.get(f"{JOBS}?{query}&page_token={even['next_page_token']}"), 400, "invalid_request")
    rest = client.get(f"{JOBS}?label=all:x&label=n:0&page_token={even['next_page_token']}").json
    assert [job["id"] for job in rest["jobs"]] == [ids[2], ids[0]]
    assert rest["next_page_token"] is None


def test_a_list_that_shows_nothing_new_is_not_sent_again(client, submit, workshop):
    job_id = submit()["id"]
    first = client.get(f"{JOBS}?counts=true")
    again = {"If-None-Match": first.headers["ETag"]}
    answer = client.get(f"{JOBS}?counts=true", headers=again)
    assert (answer.status_code, answer.data) == (304, b"")
    workshop.claim(job_id)
    answer = client.get(f"{JOBS}?counts=true", headers=again)
    assert (answer.status_code, answer.json["counts"]) == (200, {"running": 1})


@pytest.mark.parametrize("text", ["1", "yes", "TRUE"])
def test_counts_are_asked_for_plainly(client, problem_of, text):
    assert client.get(JOBS).json["counts"] is None
    problem_of(client.get(f"{JOBS}?counts={text}"), 400, "invalid_request")


def test_list_filters(client, submit, workshop):
    first, second, third = (submit() for _ in range(3))
    workshop.claim(second["id"])
    client.post(third["urls"]["cancel"])

    def ids(query: str) -> list[str]:
        return [job["id"] for job in client.get(f"{JOBS}?{query}").json["jobs"]]

    assert ids("status=queued") == [first["id"]]
    assert ids("status=running,canceled") == [third["id"], second["id"]]
    assert ids("status=running&status=queued") == [second["id"], first["id"]]
    assert ids(f"created_after={second['created_at']}")[-1] != first["id"]
    assert ids("created_after=2999-01-01T00:00:00%2B01:00") == []
    assert ids("label=x:y") == []


def test_jobs_are_found_by_name(client, submit, problem_of):
    names = ("Brücke am Abend", "ÜBERFAHRT", "100% wool", "100 m")
    made = {name: submit(name=name)["id"] for name in names}

    def found(name: str) -> set[str]:
        answer = client.get(JOBS, query_string={"name": name})
        return {job["name"] for job in answer.json["jobs"]}

    assert found("BRÜCKE") == {"Brücke am Abend"}
    assert found("überf") == {"ÜBERFAHRT"}
    assert found(" am ") == {"Brücke am Abend"}
    assert found("100%") == {"100% wool"}
    assert found("1_0") == set()
    assert found("") == set(names)
    page = client.get(JOBS, query_string={"name": "100", "page_size": 1}).json
    assert page["jobs"][0]["id"] == made["100 m"]
    query = {"page_size": 1, "page_token": page["next_page_token"]}
    assert client.get(JOBS, query_string={**query, "name": "100"}).json["jobs"][0]["id"] == made["100% wool"]
    problem_of(client.get(JOBS, query_string={**query, "name": "other"}), 400, "invalid_request")


def test_counts_by_status_keep_to_the_other_filters(services, submit, workshop):
    _, second, _ = (submit(name=name, labels={"n": name}) for name in ("one", "Two", "two"))
    workshop.claim(second["id"])

    def counts(**only: object) -> dict[str, int]:
        with services.backend.database.read() as session:
            return count_by_status(session, caller="local", only=JobFilter(**only))

    assert counts() == {JobStatus.QUEUED: 2, JobStatus.RUNNING: 1}
    assert counts(name="TWO", statuses=[JobStatus.QUEUED]) == {JobStatus.QUEUED: 1, JobStatus.RUNNING: 1}
    assert counts(labels={"n": "one"}) == {JobStatus.QUEUED: 1}
    with services.backend.database.read() as session:
        assert count_by_status(session, caller="someone else", only=JobFilter()) == {}


@pytest.mark.parametrize(
    "query",
    ["status=done", "label=x", "label=:x", "label=a:1&label=a:2", "created_after=yesterday",
     "created_after=2026-11-23T10:00:00", "page_size=0", "page_size=201", "page_size=x", "page_size=-1",
     "page_token=xx", "page_token=e30", "page_token=%C3%BC", "staus=queued"],
)  # fmt: skip
def test_list_refusals(client, problem_of, query):
    problem_of(client.get(f"{JOBS}?{query}"), 400, "invalid_request")


def test_queue_position_and_wait(client, submit, workshop, services):
    beat = WorkerBeat(worker_id="a", device="cpu", weights="untrained", started_at=utc_now(), at=utc_now())
    services.backend.redis.workers.beat(beat)
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"])
    busy, first, second = submit(), submit(), submit()
    workshop.claim(busy["id"])
    queue = [client.get(job["urls"]["self"]).json["queue"] for job in (first, second)]
    assert [entry["position"] for entry in queue] == [1, 2]
    assert [entry["eligible_workers"] for entry in queue] == [1, 1]
    # The workshop's worker is not connected: what it has comes back, and is done first.
    assert [entry["ahead_seconds"] for entry in queue] == [12.5, 25.0]
    assert all(entry["low_seconds"] < entry["ahead_seconds"] < entry["high_seconds"] for entry in queue)
    assert queue[0]["message"] is None


def test_cancel(client, submit, workshop, services, problem_of):
    queued = submit()
    for _ in range(2):
        response = client.post(queued["urls"]["cancel"])
        assert (response.status_code, response.json["status"]) == (200, "canceled")
    running = submit()
    workshop.claim(running["id"])
    for _ in range(2):
        response = client.post(running["urls"]["cancel"])
        assert (response.status_code, response.json["status"]) == (200, "canceling")
        assert services.backend.redis.flags.read(running["id"], 1) is Flag.CANCEL
    done = submit()
    workshop.claim(done["id"])
    workshop.succeed(done["id"])
    problem = problem_of(client.post(done["urls"]["cancel"]), 409, "invalid_state")
    assert "succeeded" in problem["detail"]
    assert "canceled, canceling, paused, queued, running" in problem["detail"]


def test_without_redis(settings, parts, redis_server):
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    try:
        client = app.test_client()
        response = client.post(JOBS, data=parts())
        assert response.status_code == 202
        queue = response.json["queue"]
        assert queue["eligible_workers"] is None
        assert "Redis does not answer" in queue["message"]
        url = response.json["urls"]["self"]
        assert client.get(url).status_code == 200
        etag = client.get(url).headers["ETag"]
        waited = client.get(url, headers={"If-None-Match": etag, "Prefer": "wait=1"})
        assert waited.status_code == 304
        assert client.post(url + "/cancel").json["status"] == "canceled"
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json["ready"], ready.json["degraded"]) == (200, True, True)
        assert ready.json["checks"]["redis"]["ok"] is False
    finally:
        services_of(app).close()
