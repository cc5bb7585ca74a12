"""The real web process, its database, storage and Redis, and requests to it."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import update

from shared.errors import ArtifactMissing, StorageUnavailable
from shared.settings import Settings
from tests.support.control import say_control_runs
from tests.support.waiting import wait_until
from tests.support.web_process import WebProcess
from tests.support.workshop import Workshop
from web.db.models import Base, InstallationRow, JobChange, JobName
from web.services import Services, open_services

EXAMPLES = Path(__file__).parents[2] / "examples"
_TRIES = 20


class Site:
    """One web process. Nobody carries jobs out but the workshop, and that when a test says so."""

    def __init__(self, settings: Settings) -> None:
        self._web = WebProcess(settings)
        self.settings = self._web.settings
        self.url = self._web.url
        self.log = self._web.log

    @cached_property
    def services(self) -> Services:
        """The same database, storage and Redis, seen from the test's process."""
        return open_services(self.settings)

    @cached_property
    def workshop(self) -> Workshop:
        """Who carries jobs out."""
        return Workshop(self.services)

    def start(self) -> None:
        """Start the web process and return when it answers."""
        self._web.start()
        httpx2.get(f"{self.url}/healthz", timeout=60).raise_for_status()

    def kill(self) -> None:
        """Kill the web process as a power cut would."""
        assert self._web.process is not None
        self._web.end()

    def restart(self) -> None:
        """Kill the web process, if it runs, and start it again on the same port."""
        self._web.end()
        self.start()

    def empty(self) -> None:
        """Forget every job, picture and worker."""
        with self.services.backend.database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                # Storage and database stay of one installation; what is derived follows the jobs.
                if table not in (InstallationRow.__table__, JobName.__table__, JobChange.__table__):
                    session.execute(table.delete())
            session.execute(update(InstallationRow).values(needs_token=False))
        # What a token may do is looked up once a second.
        wait_until(lambda: not self.asks_for_a_token(), seconds=20)
        self.services.backend.redis.client.flushall()
        say_control_runs(self.services.backend.redis)
        for folder in ("assets", "jobs"):
            self._empty_folder(folder)
        self.log.clear()

    def asks_for_a_token(self) -> bool:
        """Whether the web process lets nobody in without one."""
        return httpx2.get(f"{self.url}/api/v1/token", timeout=60).status_code == 401

    def _empty_folder(self, folder: str) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                self.services.backend.storage.delete_tree(folder)
                return
            except (ArtifactMissing, StorageUnavailable):
                # The server still makes a thumbnail for a page that has been left.
                if not tries_left:
                    raise

    def close(self) -> None:
        """End everything."""
        self._web.end()
        self.services.close()

    def submit(
        self,
        *,
        content: bytes | None = None,
        style: bytes | None = None,
        options: dict[str, Any] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Submit a job over HTTP, of the example pictures if no others are given, and return it."""
        files = {
            "content": ("content.png", content or (EXAMPLES / "content.png").read_bytes()),
            "style": ("style.png", style or (EXAMPLES / "style.png").read_bytes()),
        }
        words = {
            name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()
        }
        data = {"reuse": "false", "options": json.dumps({"size": 256, **(options or {})}), **words}
        answer = httpx2.post(f"{self.url}/api/v1/jobs", files=files, data=data, timeout=60)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the API tells it."""
        answer = httpx2.get(f"{self.url}/api/v1/jobs/{job_id}", timeout=60)
        answer.raise_for_status()
        job: dict[str, Any] = answer.json()
        return job

    def act(self, job_id: str, action: str, **body: Any) -> dict[str, Any]:
        """Ask something of a job over HTTP: cancel, pause, resume, retry, extend or fork."""
        url = f"{self.url}/api/v1/jobs/{job_id}/{action}"
        answer = httpx2.post(url, json=body, timeout=60) if body else httpx2.post(url, timeout=60)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, over HTTP."""
        httpx2.delete(f"{self.url}/api/v1/jobs/{job_id}", timeout=60).raise_for_status()
