"""The main job with the storage in a bucket: the real processes, the real engine, a real S3 server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.test_service import submit, wait_for
from tests.support.s3_server import S3Server
from tests.support.service import Service, run_service

pytestmark = pytest.mark.acceptance


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket()


@pytest.fixture
def service(tmp_path: Path, untrained_cache: Path, s3_server: S3Server, bucket: str) -> Iterator[Service]:
    changes = {"STORAGE_URL": f"s3://{bucket}/atelier", "S3_ENDPOINT": s3_server.endpoint}
    with run_service(tmp_path, cache_dir=untrained_cache, **changes) as running:
        yield running


def test_a_job_runs_from_submit_to_delete(
    service: Service, s3_server: S3Server, bucket: str, make_picture: Callable[..., bytes], tmp_path: Path
):
    with service.client() as client:
        job = submit(
            client,
            make_picture(64, 48, seed=1),
            make_picture(48, 64, seed=2),
            steps=12,
            size=48,
            checkpoint_every=5,
        )
        done = wait_for(client, job, until=lambda job: job["status"] == "succeeded")
        address = f"/jobs/{job['id']}"
        output = client.get(f"{address}/output")
        assert hashlib.sha256(output.content).hexdigest() == done["outputs"][0]["sha256"]
        direct = client.get(f"{address}/output", params={"direct": "true"})
        assert direct.status_code == 307
        assert httpx2.get(direct.headers["Location"]).content == output.content
        checkpoints = client.get(f"{address}/checkpoints").json()["checkpoints"]
        assert [checkpoint["step"] for checkpoint in checkpoints] == [5, 10, 12]
        assert client.get(f"{address}/checkpoints/10").headers["Content-Type"] == "image/jpeg"

        page = client.get(f"{service.url}{address}", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "img-src 'self'" in page.headers["Content-Security-Policy"]
        thumbnail = client.get(f"{address}/thumbnail")
        assert (thumbnail.status_code, thumbnail.headers["Content-Type"]) == (200, "image/jpeg")

        forked = client.post(f"{address}/fork", json={"step": 10, "options": {"steps": 14}}).json()
        wait_for(client, forked, until=lambda job: job["status"] == "succeeded")

        keys = s3_server.keys(bucket, "atelier/")
        assert "atelier/installation.json" in keys
        assert any(key.endswith("/attempt-1/result.json") for key in keys)
        for each in (job, forked):
            assert client.delete(f"/jobs/{each['id']}").status_code == 204
        left = s3_server.keys(bucket, "atelier/jobs/")
        assert left == []
    assert not (tmp_path / "storage").exists()
