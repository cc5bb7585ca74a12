"""`atelier up` whose only worker is drained: it stays down, and everyone is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.service import SCRIPTS, run_service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.acceptance
_PATIENCE_SECONDS = 90


def test_a_drained_worker_stays_down(tmp_path: Path, untrained_cache: Path):
    with run_service(tmp_path, cache_dir=untrained_cache) as service, service.client() as client:

        def states() -> dict[str, str]:
            return {worker["id"]: worker["state"] for worker in client.get("/workers").json()["workers"]}

        wait_until(lambda: states().get("worker-1") == "idle", seconds=_PATIENCE_SECONDS)
        command = [SCRIPTS / "atelier", "drain", "worker-1"]
        answer = subprocess.run(command, env=service.environ, capture_output=True, text=True)
        assert (answer.returncode, answer.stdout) == (0, "draining\n")
        log = tmp_path / "up.log"
        wait_until(lambda: "No worker is left" in log.read_text(), seconds=_PATIENCE_SECONDS)
        assert "worker-1 ended with exit code 0; it is not started again by itself." in log.read_text()
        assert "worker-1" not in states()
        message = client.get("/queue").json()["message"]
        # The one for drafts is still there.
        assert (
            "no worker that is connected serves the method 'gatys'; start one: 'atelier worker add'"
            in message
        )
