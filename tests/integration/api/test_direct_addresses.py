"""Files straight from the store: where it is a bucket a client may ask for that, and pages never do."""

from __future__ import annotations

import httpx2
import pytest
from flask.testing import FlaskClient

from shared.settings import Settings
from shared.storage.layout import marker_key
from tests.support.workshop import Workshop
from web.services import Services

pytestmark = pytest.mark.process

JOBS = "/api/v1/jobs"


@pytest.fixture(params=["bucket", "folder"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(settings: Settings, kind: str, request: pytest.FixtureRequest) -> Settings:
    return settings.model_copy(update=request.getfixturevalue("on_s3")) if kind == "bucket" else settings


@pytest.fixture
def job(submit, workshop: Workshop) -> dict:
    job = submit(name="Harbour")
    workshop.run_through(job["id"])
    return job


@pytest.mark.parametrize("what", ["output", "checkpoints/10"])
def test_a_direct_address_needs_no_token_and_gives_the_same_bytes(
    client: FlaskClient, job: dict, kind: str, what: str, problem_of
):
    address = f"{JOBS}/{job['id']}/{what}"
    answer = client.get(f"{address}?direct=true")
    if kind == "folder":
        problem_of(answer, 409, "direct_not_available")
        return
    assert answer.status_code == 307
    assert answer.headers["Cache-Control"] == "no-store"
    found = httpx2.get(answer.headers["Location"])
    assert found.status_code == 200
    with client.get(address) as ours:
        assert found.content == ours.data
        assert found.headers["Content-Type"] == ours.headers["Content-Type"]
    assert "Harbour" in found.headers["Content-Disposition"]
    assert "X-Amz-Expires=300" in answer.headers["Location"]


def test_without_asking_web_gives_the_file(client: FlaskClient, job: dict):
    for query in ("", "?direct=false"):
        with client.get(f"{JOBS}/{job['id']}/output{query}") as answer:
            assert answer.status_code == 200


def test_what_is_neither_is_refused(client: FlaskClient, job: dict, problem_of):
    problem = problem_of(client.get(f"{JOBS}/{job['id']}/output?direct=yes"), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/direct"


def test_a_file_that_is_not_there_or_not_whole_has_no_address(
    client: FlaskClient, job: dict, kind: str, services: Services, problem_of
):
    if kind == "folder":
        return
    (output,) = client.get(f"{JOBS}/{job['id']}").json["outputs"]
    key = next(key for key in services.backend.storage.list(f"jobs/{job['id']}") if "/result-" in key)
    services.backend.storage.write(key, b"cut off")
    problem_of(client.get(f"{JOBS}/{job['id']}/output?direct=true"), 500, "artifact_corrupt")
    services.backend.storage.delete(key)
    problem_of(client.get(f"{JOBS}/{job['id']}/output?direct=true"), 404, "artifact_missing")
    assert output["size_bytes"] > 7
    assert services.backend.storage.stat(marker_key(job["id"], 1)).size_bytes


def test_pages_show_pictures_of_web_alone(client: FlaskClient, job: dict):
    page = client.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"})
    assert "img-src 'self'" in page.headers["Content-Security-Policy"]
    assert "X-Amz" not in page.text
    assert client.get(f"{JOBS}/{job['id']}/thumbnail").content_type == "image/jpeg"
