"""A real service for the command line: the web app, control's projector, and a runner with a test engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from werkzeug.serving import BaseWSGIServer, make_server

from shared.broker import ROUTES
from shared.settings import Settings
from shared.status import JobStatus
from tests.support.control import pretend_control
from tests.support.engines import Gate, SteadyEngine
from tests.support.installation import names_of
from tests.support.waiting import wait_until
from web.app import create_app
from web.cli.main import main
from web.control.dispatcher import message_for
from web.control.process import Control
from web.jobs.queries import get_job
from web.jobs.queue import jobs_to_dispatch
from web.services import services_of
from worker.context import WorkerContext
from worker.runner import Runner

_PATIENCE_SECONDS = 20


class Service:
    """The web side always; a worker only while `working`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.asked = threading.Event()
        self.app.before_request(self.asked.set)
        self.control = Control(settings)
        pretend_control(self.control.backend.redis)
        self.stopping = threading.Event()
        self._server: BaseWSGIServer | None = None
        self._port = 0
        self._threads: list[threading.Thread] = []
        self.open()
        self._run(self._project)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Listen; after a `shut`, on the same port again."""
        self._server = make_server("127.0.0.1", self._port, self.app, threaded=True)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        self._run(self._server.serve_forever)

    def shut(self) -> None:
        """Stop listening, as a web process that is being restarted."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def work(self, engine: SteadyEngine) -> None:
        """Carry out queued jobs with this engine from now on."""
        self._run(lambda: self._work(engine))

    def wait_for(self, job_id: str, status: JobStatus) -> None:
        def has_come() -> bool:
            with self.control.backend.database.read() as session:
                job = get_job(session, job_id)
                return job is not None and job.job_status is status

        wait_until(has_come, seconds=_PATIENCE_SECONDS, what=f"the job to be {status}")

    def close(self) -> None:
        self.stopping.set()
        services_of(self.app).stopping.set()
        self.shut()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)
        services_of(self.app).close()
        self.control.close()

    def _run(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        self._threads.append(thread)

    def _project(self) -> None:
        while not self.stopping.is_set():
            self.control.projector.step(block_ms=50)

    def _work(self, engine: SteadyEngine) -> None:
        context = WorkerContext.open(
            self.settings, names_of(self.settings), worker_id="node-a", device="cpu", talk_seconds=0
        )
        runner = Runner(context, engine, draining=self.stopping.is_set)
        while not self.stopping.wait(0.02):
            with self.control.backend.database.read() as session:
                due = [message_for(job) for job in jobs_to_dispatch(session, room=dict.fromkeys(ROUTES, 1))]
            for message in due:
                runner.run(message)
                self.control.projector.drain()
        context.redis.close()


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    # The service's logs must not run into what the command line, in the same process, writes.
    structlog.configure(processors=[_drop])
    service = Service(settings)
    yield service
    service.close()
    structlog.reset_defaults()


def _drop(_logger: object, _method: str, _event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    raise structlog.DropEvent


@pytest.fixture
def atelier(service: Service) -> Callable[..., Result]:
    """Run `atelier` against the service."""

    def run(*words: object) -> Result:
        result = CliRunner(env={"ATELIER_URL": service.url}).invoke(main, [str(word) for word in words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What holds an engine before its third step; it is open at the end."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def pictures(tmp_path, make_picture) -> list[str]:
    """The paths of a content and a style picture."""
    paths = [tmp_path / "content.png", tmp_path / "style.png"]
    for seed, path in enumerate(paths):
        path.write_bytes(make_picture(seed=seed))
    return [str(path) for path in paths]
