"""Forking a job from its checkpoints, and deleting one, over HTTP and with a real worker."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from shared.errors import StorageUnavailable
from shared.protocol import EventType
from shared.redis.live import Flag
from shared.storage.layout import job_folder, origin_key
from shared.storage.local import LocalStore
from tests.support.app import change_backend
from tests.support.bench import Bench, report
from tests.support.engines import DivergingEngine
from web.services import hold_services

JOBS = "/api/v1/jobs"
FEW = {"steps": 20, "checkpoint_every": 5, "style_weight": 0.5}


@pytest.fixture
def parent(submit, bench):
    """A job that made 20 steps, with checkpoints at 5, 10, 15 and 20."""
    job = submit(options=FEW, name="parent", labels={"set": "a"})
    bench.work(job["id"])
    return bench.job(job["id"])


def folders(bench: Bench) -> set[str]:
    return set(bench.context.store.folders("jobs", limit=100))


def test_a_fork_begins_with_a_copy_and_does_not_disturb_its_parent(client, bench, parent):
    before, files = bench.job(parent["id"]), bench.files(parent["id"])
    response = client.post(parent["urls"]["fork"], json={"step": 10, "options": {"style_weight": 0.9}})
    assert response.status_code == 202
    fork = response.json
    assert response.headers["Location"] == fork["urls"]["self"] == f"{JOBS}/{fork['id']}"
    assert response.headers["Retry-After"]
    assert fork["origin"] == {"job_id": parent["id"], "step": 10}
    assert (fork["name"], fork["labels"]) == ("parent", {"set": "a"})
    assert fork["options"] == {**parent["options"], "style_weight": 0.9}
    assert (fork["status"], fork["version"], fork["progress"]["value"]) == ("queued", 1, 0.5)
    assert fork["urls"]["fork"] is None
    assert list(bench.files(fork["id"])) == [origin_key(fork["id"])]
    engine = bench.work(fork["id"])
    assert (engine.resumed_from, engine.steps_made) == (10, 10)
    assert bench.job(fork["id"])["status"] == "succeeded"
    assert bench.attempts(fork["id"]) == [(1, 10, "succeeded")]
    assert bench.output(fork["id"]) != bench.output(parent["id"])
    assert (bench.job(parent["id"]), bench.files(parent["id"])) == (before, files)


def test_a_fork_without_a_change_ends_as_its_parent(bench, parent):
    fork = bench.post(parent["id"], "fork", {"step": 15, "name": "", "labels": {}})
    assert (fork["name"], fork["labels"]) == (None, {})
    bench.work(fork["id"])
    assert bench.output(fork["id"]) == bench.output(parent["id"])


def test_a_running_job_can_be_forked(submit, bench):
    job_id, forks = submit(options=FEW)["id"], []
    bench.work_until(job_id, 7, lambda: forks.append(bench.post(job_id, "fork", {"step": 5})))
    assert bench.job(job_id)["status"] == "succeeded"
    assert bench.work(forks[0]["id"]).resumed_from == 5
    assert bench.output(forks[0]["id"]) == bench.output(job_id)


def test_a_fork_retried_from_zero_begins_with_its_origin_again(bench, parent):
    fork_id = bench.post(parent["id"], "fork", {"step": 5, "options": {"steps": 40}})["id"]
    bench.work_until(fork_id, 12, lambda: bench.post(fork_id, "cancel"))
    again = bench.post(fork_id, "retry", {"from": "zero"})
    assert (again["origin"]["step"], again["progress"]["step"]) == (5, 5)
    assert bench.work(fork_id).resumed_from == 5


def test_an_extended_fork_retried_from_zero_begins_with_the_origin_of_the_fork(bench, parent):
    fork_id = bench.post(parent["id"], "fork", {"step": 5})["id"]
    bench.work(fork_id)
    assert bench.post(fork_id, "extend", {"steps": 5})["origin"] == {"job_id": fork_id, "step": 20}
    bench.work_until(fork_id, 22, lambda: bench.post(fork_id, "cancel"))
    again = bench.post(fork_id, "retry", {"from": "zero"})
    assert again["origin"] == {"job_id": parent["id"], "step": 5}
    assert bench.work(fork_id).resumed_from == 5


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        ({"step": 10, "options": {"size": 64}}, 422, "invalid_options", ["/options/size"]),
        ({"step": 20}, 422, "invalid_options", ["/options/steps"]),
        ({"step": 10, "options": {"steps": 10}}, 422, "invalid_options", ["/options/steps"]),
        ({"step": 10, "options": {"stepz": 10}}, 422, "invalid_options", ["/options/stepz"]),
        ({"step": 10, "options": []}, 422, "invalid_options", ["/options"]),
        ({"options": {}}, 422, "missing_part", ["/step"]),
        ({"step": 0}, 400, "invalid_request", ["/step"]),
        ({"step": "10"}, 400, "invalid_request", ["/step"]),
        ({"step": 10, "labels": {"A": "b"}}, 400, "invalid_request", ["/labels/A"]),
        ({"step": 10, "opt": {}}, 400, "invalid_request", ["/opt"]),
        ({"step": 7}, 409, "not_ready", ["/step"]),
        ({"step": 10**30, "options": {"steps": 2000}}, 422, "invalid_options", ["/options/steps"]),
    ],
)
def test_a_fork_that_is_refused_leaves_nothing(
    client, bench, parent, problem_of, body, status, code, pointers
):
    before = folders(bench)
    problem = problem_of(client.post(parent["urls"]["fork"], json=body), status, code)
    assert [fault["pointer"] for fault in problem["errors"]] == pointers
    if code == "not_ready":
        assert "no checkpoint of step 7; kept are those of step 5, 10, 15, 20" in problem["detail"]
    assert folders(bench) == before
    assert len(client.get(JOBS).json["jobs"]) == 1


def test_a_checkpoint_that_is_damaged_or_gone_is_not_forked(client, bench, parent, problem_of):
    before = folders(bench)
    key = next(key for key in bench.files(parent["id"]) if "00010.safetensors" in key)
    bench.context.store.write(key, bench.context.store.read(key)[:-1])
    problem = problem_of(client.post(parent["urls"]["fork"], json={"step": 10}), 409, "not_ready")
    assert "is damaged" in problem["detail"]
    bench.context.store.delete(key)
    problem = problem_of(client.post(parent["urls"]["fork"], json={"step": 10}), 409, "not_ready")
    assert "step 10 is gone; kept are those of step 5, 15, 20" in problem["detail"]
    assert folders(bench) == before


def test_a_fork_whose_row_is_refused_leaves_no_copy(app, client, bench, parent, services, problem_of):
    class Deleting(LocalStore):
        """Right after the copy, somebody deletes the parent."""

        def copy(self, source: str, target: str) -> None:
            super().copy(source, target)
            hold_services(app, services)
            assert app.test_client().delete(parent["urls"]["delete"]).status_code == 204

    change_backend(app, storage=Deleting(services.backend.storage.root))
    problem_of(client.post(parent["urls"]["fork"], json={"step": 10}), 404, "not_found")
    assert folders(bench) == set()


def rows_of(services, job_id: str) -> dict[str, int]:
    counts = {"jobs": "id", "job_events": "job_id", "job_attempts": "job_id", "job_checkpoints": "job_id",
              "job_labels": "job_id"}  # fmt: skip
    with services.backend.database.read() as session:
        return {
            table: session.execute(
                text(f"SELECT count(*) FROM {table} WHERE {column} = :id"), {"id": job_id}
            ).scalar()
            for table, column in counts.items()
        }


def test_a_deleted_job_leaves_no_file_and_no_row_and_its_forks_stay(
    client, bench, parent, services, problem_of
):
    fork_id = bench.post(parent["id"], "fork", {"step": 10})["id"]
    assert all(rows_of(services, parent["id"]).values())
    response = client.delete(parent["urls"]["delete"])
    assert (response.status_code, response.data) == (204, b"")
    assert not any(rows_of(services, parent["id"]).values())
    assert folders(bench) == {fork_id}
    problem_of(client.delete(parent["urls"]["self"]), 404, "not_found")
    for part in ("self", "output", "checkpoints", "events"):
        problem_of(client.get(parent["urls"][part] or f"{JOBS}/{parent['id']}/{part}"), 404, "not_found")
    assert bench.work(fork_id).resumed_from == 10
    assert bench.job(fork_id)["origin"] == {"job_id": parent["id"], "step": 10}
    assert bench.output(fork_id)


def test_only_a_job_that_has_ended_can_be_deleted(client, submit, bench, problem_of):
    job_id = submit(options=FEW)["id"]
    url, refused = f"{JOBS}/{job_id}", []

    def refuse() -> None:
        refused.append(problem_of(client.delete(url), 409, "not_terminal")["detail"])

    refuse()
    bench.post(job_id, "pause")
    refuse()
    bench.post(job_id, "resume")

    def while_running() -> None:
        refuse()
        bench.post(job_id, "cancel")
        refuse()

    bench.work_until(job_id, 4, while_running)
    assert [detail.split(";")[0] for detail in refused] == [
        f"the job is {status}" for status in ("queued", "paused", "running", "canceling")
    ]
    assert refused[1].endswith("allowed now: cancel, pause, resume, change")
    assert client.delete(url).status_code == 204


def test_files_that_cannot_be_removed_are_left_to_the_pruner(app, client, submit, bench, parent, services):
    submit()  # beside an empty database nothing counts as left behind

    class Failing(LocalStore):
        """Removes nothing."""

        def delete_tree(self, prefix: str) -> None:
            raise StorageUnavailable("the disk is read-only")

    change_backend(app, storage=Failing(services.backend.storage.root))
    assert client.delete(parent["urls"]["delete"]).status_code == 204
    assert not any(rows_of(services, parent["id"]).values())
    bench.control.pruner.step()
    bench.control.pruner.step()
    assert folders(bench) == {parent["id"]}
    bench.hours = 25
    bench.control.pruner.step()
    bench.control.pruner.step()
    assert folders(bench) == set()


def test_whoever_waits_for_the_result_of_a_deleted_job_goes_on_alone(client, submit, bench):
    leader = submit(options=FEW)["id"]
    follower = submit(options=FEW, reuse="true")
    assert follower["leader_id"] == leader
    bench.work(leader)
    assert client.delete(f"{JOBS}/{leader}").status_code == 204
    bench.control.followers.follow()
    assert bench.job(follower["id"])["leader_id"] is None
    assert bench.work(follower["id"]).steps_made == 20
    assert bench.job(follower["id"])["status"] == "succeeded"


def test_a_worker_that_takes_a_deleted_job_is_told_to_stop(submit, client, bench, services):
    job_id = submit(options=FEW)["id"]
    row = bench.row(job_id)
    bench.post(job_id, "cancel")
    services.backend.redis.client.flushall()
    assert client.delete(f"{JOBS}/{job_id}").status_code == 204
    report(bench.context, row, EventType.CLAIMED)
    bench.control.projector.drain()
    assert bench.context.redis.flags.read(job_id, 1) is Flag.CANCEL


def test_who_watches_a_deleted_job_is_told_by_the_end_of_the_stream(submit, client, bench):
    job_id = submit(options={**FEW, "checkpoint_every": 1})["id"]
    bench.work(job_id, DivergingEngine())
    bench.post(job_id, "retry")
    response = client.get(f"{JOBS}/{job_id}/events", buffered=False)
    stream = iter(response.response)
    assert b"queued" in next(stream) + next(stream)

    def delete() -> None:
        bench.post(job_id, "cancel")
        client.delete(f"{JOBS}/{job_id}")

    deleting = threading.Thread(target=delete)
    deleting.start()
    for _ in stream:
        pass
    deleting.join()
    response.close()
    assert job_folder(job_id).split("/")[1] not in folders(bench)
