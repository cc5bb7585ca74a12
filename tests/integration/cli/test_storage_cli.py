"""`atelier storage copy`: an installation moves to a bucket and back, and goes on there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient

from shared.settings import Settings
from tests.support.workshop import Workshop
from web.app import create_app
from web.cli.main import main
from web.services import Services, services_of

pytestmark = pytest.mark.process

Call = Callable[..., Result]


@pytest.fixture
def call(settings: Settings, on_s3: dict[str, str]) -> Call:
    def run(*words: object) -> Result:
        environ = settings.model_copy(update={"s3_endpoint": on_s3["s3_endpoint"]}).to_environ()
        result = CliRunner(env=environ).invoke(main, ["storage", "copy", *map(str, words)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def test_an_installation_moves_and_its_jobs_are_there(
    call: Call, submit, workshop: Workshop, services: Services, settings: Settings, on_s3: dict[str, str]
):
    job = submit()
    workshop.run_through(job["id"])
    source, target = settings.resolved_storage_url, on_s3["storage_url"]
    told = json.loads(call(source, target, "--json").stdout)
    assert told["copied_files"] == told["files"] > 2
    assert told["installation_id"] == services.backend.identity.installation.id
    said = call(source, target).stdout
    assert "Copied: 0 files, 0.0 MB; the others were there." in said
    assert told["sha256"] in said
    assert f"Set ATELIER_STORAGE_URL to {target}" in said
    moved = create_app(settings.model_copy(update=on_s3))
    try:
        client: FlaskClient = moved.test_client()
        output = client.get(f"/api/v1/jobs/{job['id']}/output")
        assert output.status_code == 200
        assert client.get(f"/jobs/{job['id']}", headers={"Accept": "text/html"}).status_code == 200
        submitted = client.get(job["urls"]["thumbnail"])
        assert submitted.status_code == 200
    finally:
        services_of(moved).close()


def test_one_place_is_not_copied_into_itself(call: Call, services: Services, settings: Settings):
    source = settings.resolved_storage_url
    for target in (source, f"{source}/inner", settings.data_dir.as_uri()):
        result = call(source, target)
        assert result.exit_code == 2, result.output
        assert "are one place" in result.stderr
    assert call("s3://bucket/a", "s3://bucket/a/b").exit_code == 2


def test_what_is_no_storage_is_refused_by_its_place(call: Call, settings: Settings, tmp_path: Path):
    result = call("s3://x", settings.resolved_storage_url)
    assert result.exit_code == 2
    assert "FROM is 's3://x': allowed is s3://bucket/prefix" in result.stderr
    result = call(tmp_path.as_uri(), "ftp://there")
    assert result.exit_code == 2
    assert "TO is 'ftp://there'" in result.stderr


def test_without_an_installation_there_is_nothing_to_copy(call: Call, tmp_path: Path):
    result = call((tmp_path / "none").as_uri(), (tmp_path / "to").as_uri())
    assert result.exit_code != 0
    assert "carries no identity" in result.stderr
    assert not (tmp_path / "to").exists()
