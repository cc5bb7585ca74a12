"""Child processes: starting and stopping them, and the decision whether one that ended is started again."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from types import FrameType, TracebackType
from typing import IO, Any, Protocol, Self

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_TAIL_BYTES = 8192
_ENTRY = Path(__file__).resolve().parents[1] / "atelier_entry.py"
_PROC = Path("/proc")
_PRIVATE_FOLDER = 0o700
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True)
class Ending:
    """How a process ended: exit code (negative: a signal), seconds it ran, endings in a row before."""

    code: int
    ran_seconds: float
    earlier: int


@dataclass(frozen=True)
class RestartDecision:
    """What follows: start again after `delay_seconds`, never when None; `earlier` for the next ending."""

    delay_seconds: float | None
    earlier: int


def decide_restart(ending: Ending, *, final_codes: frozenset[int] = frozenset()) -> RestartDecision:
    """Decide about a process that ended without being asked to.

    The delay doubles from 0.5 s to 30 s, and starts anew after a minute without an ending. `final_codes` are
    exit codes by which a program says that starting it again would change nothing.
    """
    if ending.code in final_codes:
        return RestartDecision(None, ending.earlier)
    earlier = 0 if ending.ran_seconds >= _STEADY_SECONDS else ending.earlier
    delay = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(earlier, 16))
    return RestartDecision(delay, earlier + 1)


def keep_private() -> None:
    """Let this process, and its children, make files and folders that its user alone may read."""
    os.umask(0o077)


def make_private(folder: Path) -> None:
    """Shut other users out of a folder of this user; an earlier release let them read it."""
    if folder.is_dir() and folder.stat().st_uid == os.geteuid():
        folder.chmod(_PRIVATE_FOLDER)


def describe_code(code: int) -> str:
    """Return an exit code as people say it: ``exit code 1``, ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def own_python(name: str, *words: str) -> list[str]:
    """Return how to start a program (``atelier``, ``atelier-worker``), or a module of ours by its name.

    It works in any folder and whatever is on Python's path, which may have packages with the names of ours.
    """
    return [sys.executable, "-P", str(_ENTRY), name, *words]


@dataclass(frozen=True)
class Program:
    """What to run, where its log goes, and how it is stopped.

    Without an `environ` it has the environment of whoever starts it; without a `log`, the same input and
    outputs. A higher `stage` is started later and stopped earlier. `grace_seconds` pass between SIGTERM and
    SIGKILL; by default it is never killed. With one of the `final_codes` it says that starting it again would
    change nothing. The service does not start without those that are `required`. Where there is an `output`,
    both of its outputs go to this descriptor, from which somebody else writes the log.
    """

    name: str
    words: Sequence[str]
    environ: Mapping[str, str] | None = None
    log: Path | None = None
    stage: int = 0
    grace_seconds: float = math.inf
    final_codes: frozenset[int] = frozenset()
    required: bool = False
    output: int | None = None


class Child(Protocol):
    """A process as a supervisor sees it."""

    program: Program

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""

    def start(self) -> None:
        """Start it."""

    def ended(self) -> int | None:
        """Return the exit code once it has ended and all that it left behind is gone; None while it runs."""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to its whole group."""


class ChildProcess:
    """A child in a session of its own, so that Ctrl-C reaches only the supervisor."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """The id of the running process; None when there is none."""
        return self._process.pid if self._process else None

    @property
    def ran_seconds(self) -> float:
        """Seconds since it was started."""
        return monotonic() - self._started

    def start(self) -> None:
        """Start it; with a log, both of its outputs are appended there, or go to whoever writes it."""
        log, output = self.program.log, self.program.output
        if output is not None:
            self._process = self._popen(subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        elif log is None:
            self._process = self._popen(None, stdout=None, stderr=None)
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                self._process = self._popen(subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        self._started = monotonic()

    def ended(self) -> int | None:
        """Return the exit code once it has ended and all that it left behind is gone; None while it runs."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is not None:
            # The pool of a killed node, the workers of a killed web server.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; SIGKILL goes to its whole group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _popen(
        self, stdin: int | None, *, stdout: IO[bytes] | int | None, stderr: int | None
    ) -> subprocess.Popen[bytes]:
        environ = self.program.environ
        return subprocess.Popen(  # noqa: S603 - our own programs
            list(self.program.words),
            env=None if environ is None else dict(environ),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


class StopSignal:
    """Hears the signals that end a process, as a context, and can be waited for by any thread.

    A handler runs in the main thread between any two of its steps, also while that holds a lock: of an
    `Event` that it waits for, or of the log. So a handler takes none, and neither does the put of a
    `SimpleQueue`.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
        self._numbers = numbers
        self._is_set = False
        self._told: SimpleQueue[None] = SimpleQueue()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._hear) for number in self._numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        """Whether one of them has come, or `set` was called."""
        return self._is_set

    def set(self) -> None:
        """Do as if one had come."""
        self._is_set = True
        self._told.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until one comes; return whether one has."""
        with contextlib.suppress(Empty):
            self._told.get(timeout=seconds)
            self._told.put(None)  # for the others that wait, and for the next time
        return self._is_set

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as Python calls it
        self.set()


def this_process() -> str:
    """Return what tells this process from all others, on any machine; empty where nothing does."""
    try:
        boot = _BOOT_ID.read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink()
        return f"{boot} {namespace} {os.getpid()} {_started(os.getpid())}"
    except (OSError, IndexError):
        return ""


def is_gone(process: str) -> bool:
    """Whether a process that `this_process` told has ended for sure; False for one that cannot be seen."""
    ours, theirs = this_process().split(" "), process.split(" ")
    if len(ours) != 4 or len(theirs) != 4 or ours[:2] != theirs[:2] or not theirs[2].isdecimal():
        return False
    try:
        return _started(int(theirs[2])) != theirs[3]
    except FileNotFoundError:
        return True
    except (OSError, IndexError, ValueError):
        return False


def _started(pid: int) -> str:
    """Return when a process was started, in ticks since the boot; empty for a zombie.

    The name of the program, in brackets, may hold anything.
    """
    state, *rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def log_tail(path: Path | None, lines: int) -> list[str]:
    """Return the last lines of a log, without empty ones; none when there is no log."""
    if path is None:
        return []
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]
