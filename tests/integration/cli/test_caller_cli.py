"""`atelier caller`: what is a caller's is counted, handed out and removed; what is another's stays."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from sqlalchemy import text

from shared.clock import utc_now
from shared.settings import Settings
from tests.support.app import stored_files
from tests.support.workshop import Workshop
from web.access.tokens import Scope, create_token
from web.cli.main import main
from web.services import Services

JOBS = "/api/v1/jobs"
Call = Callable[..., Result]


@pytest.fixture
def call(settings: Settings) -> Call:
    def run(*words: object) -> Result:
        result = CliRunner(env=settings.to_environ()).invoke(main, ["caller", *map(str, words)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def headers(services: Services) -> dict[str, dict[str, str]]:
    services.gate.stale_seconds = 0
    found = {}
    with services.backend.database.write() as session:
        for name in ("anna", "ben"):
            made = create_token(
                session, name=name, scopes={Scope.SUBMIT}, caller=name, expires_at=None, now=utc_now()
            )
            found[name] = {"Authorization": f"Bearer {made.text}"}
    return found


@pytest.fixture
def submit_as(client: FlaskClient, headers, make_picture) -> Callable[..., dict]:
    """Submit a job of a style that both have, and a content of one's own."""

    def do(caller: str, **fields: str) -> dict:
        pictures = {"content": make_picture(seed=len(caller)), "style": make_picture(seed=1)}
        files = {part: (io.BytesIO(data), f"{part}.png") for part, data in pictures.items()}
        answer = client.post(
            JOBS, data={**files, **fields}, headers={**headers[caller], "Idempotency-Key": f"key of {caller}"}
        )
        assert answer.status_code == 202, answer.text
        return answer.json

    return do


def test_they_are_listed_with_what_is_theirs(call, submit_as, headers):
    submit_as("anna")
    (anna, ben) = json.loads(call("list", "--json").stdout)["callers"]
    assert (anna["caller"], anna["jobs"], anna["unfinished"], anna["assets"], anna["tokens"]) == (
        *("anna", 1, 1, 2, 1),
    )
    assert (ben["caller"], ben["jobs"], ben["assets"], ben["tokens"]) == ("ben", 0, 0, 1)
    assert "anna" in call("list").stdout


def test_all_of_one_is_copied_into_a_folder(
    call, submit_as, workshop: Workshop, tmp_path: Path, client: FlaskClient, headers
):
    job, other = submit_as("anna", name="Harbour"), submit_as("ben")
    workshop.run_through(job["id"])
    folder = tmp_path / "out"
    told = json.loads(call("export", "anna", folder, "--json").stdout)
    assert (told["jobs"], told["assets"], told["missing"]) == (1, 2, [])
    kept = json.loads((folder / "jobs" / job["id"] / "job.json").read_text())
    assert (kept["id"], kept["name"], kept["status"]) == (job["id"], "Harbour", "succeeded")
    assert kept["events"][0]["sequence"] == 1
    with client.get(f"{JOBS}/{job['id']}/output", headers=headers["anna"]) as result:
        assert (folder / "jobs" / job["id"] / "result.png").read_bytes() == result.data
    for part in ("content", "style"):
        asset_id = job["input"][part]["asset_id"]
        with client.get(f"/api/v1/assets/{asset_id}/content", headers=headers["anna"]) as picture:
            assert (folder / "assets" / f"{asset_id}.png").read_bytes() == picture.data
    everything = " ".join(
        str(path) + path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()
    )
    assert other["id"] not in everything
    again = call("export", "anna", folder)
    assert again.exit_code == 2
    assert "is not empty" in again.stderr


def test_a_dry_run_removes_nothing(call, submit_as, settings):
    submit_as("anna")
    before = stored_files(settings)
    told = call("delete", "anna", "--dry-run")
    assert told.exit_code == 0
    assert "1 jobs, 2 pictures and 1 tokens of anna" in told.stdout
    assert stored_files(settings) == before
    assert "anna" in call("list").stdout


def test_all_of_one_goes_and_what_another_has_of_the_same_bytes_stays(
    call, submit_as, workshop, services, settings, client, headers
):
    job, other = submit_as("anna"), submit_as("ben")
    workshop.run_through(job["id"])
    client.put(f"/api/v1/assets/{job['input']['content']['asset_id']}/star", headers=headers["anna"])
    for _ in range(2):  # thumbnails are there, too
        client.get(f"/api/v1/assets/{job['input']['content']['asset_id']}/thumbnail", headers=headers["anna"])
    removed = call("delete", "anna")
    assert removed.exit_code == 0, removed.stdout + removed.stderr
    with services.backend.database.read() as session:
        for table in ("jobs", "assets", "tokens", "idempotency_keys"):
            callers = session.scalars(text(f"SELECT DISTINCT caller FROM {table}")).all()
            assert callers == ["ben"], table
    hashes = {picture["sha256"] for picture in other["input"].values()}
    pictures = [str(name) for name in stored_files(settings) if "/storage/assets/" in str(name)]
    assert pictures
    assert all(any(sha256 in name for sha256 in hashes) for name in pictures)
    assert not any(job["id"] in str(name) for name in stored_files(settings))
    assert client.get(JOBS, headers=headers["anna"]).status_code == 401
    assert client.get(f"{JOBS}/{other['id']}", headers=headers["ben"]).status_code == 200
    with client.get(
        f"/api/v1/assets/{other['input']['style']['asset_id']}/content", headers=headers["ben"]
    ) as kept:
        assert kept.status_code == 200
    gone = call("delete", "anna")
    assert gone.exit_code == 2
    assert "nothing is 'anna's; callers are ben" in gone.stderr


def test_a_job_that_a_worker_has_is_canceled_first_and_goes_the_next_time(
    call, submit_as, workshop, client, headers
):
    job = submit_as("anna")
    workshop.claim(job["id"])
    left = call("delete", "anna")
    assert left.exit_code == 1
    assert "left are 1 jobs" in left.stdout
    assert "call it again" in left.stderr
    assert client.get(JOBS, headers=headers["anna"]).status_code == 401  # nothing new comes
    workshop.cancel(job["id"], 3)
    assert call("delete", "anna").exit_code == 0


def test_the_last_caller_gone_lets_nobody_in(call, services, client):
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        create_token(session, name="me", scopes={Scope.ADMIN}, caller=None, expires_at=None, now=utc_now())
    assert client.get(JOBS).status_code == 401
    assert call("delete", "local").exit_code == 0
    with services.backend.database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM tokens")) == 0
    assert client.get(JOBS).status_code == 401
