"""The whole service on this machine for `up` and `demo`: Redis, web, control and workers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from types import TracebackType

from shared.clock import utc_now
from shared.errors import RedisUnavailable
from shared.installation import names_at
from shared.options import Method
from shared.processes import ChildProcess, Program, make_private, own_python
from shared.redis import Coordination
from shared.redis.connection import require_fit_redis
from shared.redis.workers import WorkerBeat, WorkerState
from shared.settings import PREFIX, Settings
from shared.storage import store_of
from web.cli.client import ApiClient
from web.cli.local.guard import Guard
from web.cli.local.host import FolderLock, StopRequest, require_free_port
from web.cli.local.log_keeper import LogKeeper
from web.cli.local.logs import LogView
from web.cli.local.redis_server import RedisChild, RedisServer
from web.cli.local.supervisor import Supervisor
from web.cli.local.worker_requests import answer_requests, forget_requests
from web.cli.output import Output, StartFailed
from web.db.database import Database

#: Exit codes of a worker that is not restarted: it was drained, or a restart would fail again.
_DRAINED, _WRONG_SETTINGS, _NO_WEIGHTS = 0, 2, 3

#: The worker beside the others that makes drafts alone.
DRAFT_WORKER = "drafts"
_LOOK_SECONDS = 0.1
_READY_SECONDS = 60.0
_WORKER_SECONDS = 180.0
_GRACE_SECONDS = {"redis": 20.0, "web": 15.0, "control": 15.0, "worker": 60.0}
_STAGES = {"redis": 0, "web": 1, "control": 2, "worker": 3}


def program() -> list[str]:
    """Return how to call this program again: by its path where its name alone is not found."""
    if shutil.which("atelier"):
        return ["atelier"]
    if Path(sys.argv[0]).is_file() and os.access(sys.argv[0], os.X_OK):
        return [sys.argv[0]]
    return [sys.executable, "-m", "atelier_entry", "atelier"]


def require_usable_database(settings: Settings) -> None:
    """Prove that there is a database of this service, or nothing yet.

    Raises:
        DatabaseUnusable, DatabaseUnavailable: with a sentence, before anything is started.
    """
    database = Database(settings.resolved_database_url)
    try:
        database.examine()
    finally:
        database.close()


class Stack:
    """A service, as a context: entering starts it and waits until it answers, leaving stops it."""

    def __init__(
        self,
        settings: Settings,
        *,
        environ: Mapping[str, str],
        workers: int,
        own_redis: bool,
        output: Output,
        stop_request: StopRequest,
        show_logs: bool = True,
    ) -> None:
        self.settings = settings
        self._environ = environ
        self.owns_redis = own_redis
        self._output = output
        self._stop_request = stop_request
        self._view = LogView() if show_logs else None
        self._worker_names = [f"worker-{number}" for number in range(1, workers + 1)]
        self._has_said_no_worker = False
        self._exits = ExitStack()
        self._started_at: datetime = utc_now()

    def __enter__(self) -> Stack:
        """Start the service.

        Raises:
            UpRefused: before anything is started, when the folder or the port is in use.
            DatabaseUnavailable, RedisTooOld: before anything is started, when what is there cannot be used.
            StartFailed, RedisUnavailable: when a part does not start; all others are stopped again.
        """
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def tick(self) -> None:
        """Check the processes and what is asked for once; raise KeyboardInterrupt if a stop was requested."""
        self._keeper.check()
        self._supervisor.tick()
        answer_requests(self.settings.data_dir, self._carry_out)
        self._say_if_no_worker_is_left()
        if self._view is not None:
            for name, line in self._view.new_lines():
                self._output.say(f"{name:<9} {line}")
        self._stop_request.check()

    def wait_for_worker(self) -> WorkerBeat | None:
        """Return the first of our workers that is ready; None if all ended, or after 3 minutes.

        The one for drafts alone does not count.
        """
        names = names_at(store_of(self.settings))
        registry = Coordination.connect(self.settings, names).workers
        deadline = monotonic() + _WORKER_SECONDS
        while monotonic() < deadline and not self._is_without_workers():
            self.tick()
            try:
                beats = registry.alive()
            except RedisUnavailable:
                beats = []
            for beat in beats:
                # A worker of an earlier run stays in Redis for seconds; a new one first loads its engine.
                is_ready = beat.started_at >= self._started_at and beat.state is not WorkerState.STARTING
                if is_ready and beat.serves([Method.GATYS]):
                    return beat
            sleep(_LOOK_SECONDS)
        return None

    def command(self, *words: str) -> str:
        """Return the command `atelier worker …` for this service, as it is typed."""
        there = (
            ()
            if self.settings.data_dir == Settings().data_dir
            else ("--data-dir", str(self.settings.data_dir))
        )
        return shlex.join([*program(), "worker", *words, *there])

    def _carry_out(self, request: str) -> str:
        """Do what somebody asks for: ``add`` a worker, or ``start NAME``; return what was done."""
        verb, _, name = request.partition(" ")
        if verb == "start":
            self._supervisor.start_given_up(name)
        else:
            name = f"worker-{len(self._worker_names) + 1}"
            self._worker_names.append(name)
            self._start_worker(name)
        self._has_said_no_worker = False
        return f"{name} is started"

    def log_tails(self) -> str:
        """Return the last lines of all logs, for a message about a failure."""
        names = ["web", "control", *self._worker_names, *([DRAFT_WORKER] if self._worker_names else [])]
        return "\n".join(f"  {self._log(name)}:{self._supervisor.tail(name)}" for name in names)

    def _is_without_workers(self) -> bool:
        """Whether every worker has ended for good; False when none was started."""
        return bool(self._worker_names) and set(self._worker_names) <= set(self._supervisor.given_up)

    def _say_news(self, text: str) -> None:
        self._output.say(text, style="yellow")

    def _say_if_no_worker_is_left(self) -> None:
        if self._is_without_workers() and not self._has_said_no_worker:
            self._has_said_no_worker = True
            self._output.say(
                f"No worker is left: jobs are accepted and wait. Add one: {self.command('add')}",
                style="yellow",
            )

    def _start(self) -> None:
        lock = self._exits.enter_context(FolderLock(self.settings.data_dir, holder="another 'atelier'"))
        make_private(self.settings.data_dir)
        require_free_port(self.settings.host, self.settings.port)
        require_usable_database(self.settings)
        if not self.owns_redis:
            require_fit_redis(self.settings)
        guard = self._exits.enter_context(Guard(keep_open=(lock.fd,)))
        keeper = LogKeeper(
            most_bytes=self.settings.log_bytes,
            older=self.settings.log_files,
            say=self._say_news,
            keep_open=(lock.fd,),
        )
        self._keeper = self._exits.enter_context(keeper)
        self._supervisor = Supervisor(
            guard,
            say=self._say_news,
            how_again=lambda name: f" To start it: {self.command('start', name)}",
            read_tail=self._keeper.tail,
        )
        if self._view is not None:
            self._exits.enter_context(self._view)
        forget_requests(self.settings.data_dir)
        self._exits.callback(self._stop)
        if self.owns_redis:
            server = RedisServer(self.settings.data_dir / "redis", password=token_hex())
            self.settings = self.settings.model_copy(update={"redis_url": server.url})
            self._note_redis_url(server)
            self._supervisor.start(RedisChild(server, self._program("redis", "redis", [], log=server.log)))
        self._start_child("web", "web", own_python("atelier", "web"))
        self._start_child("control", "control", own_python("atelier", "control"))
        self._wait_until_ready()
        # Not before: the identity that a worker looks for is made by the others, at the first start.
        for name in self._worker_names:
            self._start_worker(name)
        if self._worker_names:
            # Of its own, so that a draft never waits behind a long job.
            self._start_child(
                DRAFT_WORKER,
                "worker",
                own_python("atelier-worker", "run", "--name", DRAFT_WORKER, "--methods", Method.FAST.value),
            )

    @property
    def redis_url_file(self) -> Path:
        """Where the address of a Redis of its own is, with its password."""
        return self.settings.data_dir / "redis" / "url"

    def _note_redis_url(self, server: RedisServer) -> None:
        server.folder.mkdir(exist_ok=True)
        self.redis_url_file.unlink(missing_ok=True)
        handle = os.open(self.redis_url_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"{server.url}\n")

    def _start_worker(self, name: str) -> None:
        self._start_child(name, "worker", own_python("atelier-worker", "run", "--name", name))

    def _start_child(self, name: str, kind: str, words: list[str]) -> None:
        log = self._log(name)
        program = self._program(name, kind, words, log=log)
        if self._view is not None:
            self._view.skip_to_end(log)
        self._stop_request.check()
        self._supervisor.start(ChildProcess(program))

    def _program(self, name: str, kind: str, words: list[str], *, log: Path) -> Program:
        return Program(
            name=name,
            words=words,
            environ={**self._without_token(), **self.settings.to_environ()},
            log=log,
            output=self._keeper.open(log),
            stage=_STAGES[kind],
            grace_seconds=_GRACE_SECONDS[kind],
            final_codes=frozenset({_DRAINED, _WRONG_SETTINGS, _NO_WEIGHTS})
            if kind == "worker"
            else frozenset(),
            required=kind != "worker",
        )

    def _without_token(self) -> dict[str, str]:
        """Return the environment without what the command line alone shows to a service."""
        return {name: value for name, value in self._environ.items() if name != f"{PREFIX}TOKEN"}

    def _log(self, name: str) -> Path:
        return self.settings.data_dir / "logs" / f"{name}.log"

    def _wait_until_ready(self) -> None:
        deadline = monotonic() + _READY_SECONDS
        with ApiClient(self.settings.local_url) as client:
            while not client.is_ready():
                self.tick()
                if monotonic() > deadline:
                    raise StartFailed(
                        f"the service did not become ready within {_READY_SECONDS:g} s:\n{self.log_tails()}"
                    )
                sleep(_LOOK_SECONDS)
        self._supervisor.settle()

    def _stop(self) -> None:
        self._output.say("Stopping …")
        self._stop_request.on_repeat(self._supervisor.hurry)
        self._supervisor.stop()
        self._output.say("All processes have stopped.")
