"""One process that the harness started: in a session of its own, its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """Started, killed, stopped and started again under one name."""

    def __init__(self, name: str, words: Sequence[str], *, environ: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._words = list(words)
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: list[int] = []
        #: Whether it is meant to be running; a fault that takes it down says so.
        self.wanted = False

    @property
    def pid(self) -> int:
        """The id of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it is running when this returns, but not ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=ROOT, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        self._sessions.append(self._process.pid)
        self.wanted = True

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Wait for the end of one that ends by itself; return its exit code."""
        assert self._process is not None
        self.wanted = False
        return self._process.wait()

    def children(self) -> list[int]:
        """The ids of all other processes in its present session."""
        return [pid for pid, session in _sessions().items() if session == self.pid and pid != self.pid]

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and to its children."""
        for pid in [self.pid, *self.children()]:
            send(pid, number)

    def kill(self, *, alone: bool = False) -> None:
        """SIGKILL it, alone or with its children, and wait for its end."""
        assert self._process is not None
        self.wanted = False
        if alone:
            send(self.pid, signal.SIGKILL)
        else:
            self.signal_all(signal.SIGKILL)
        self._process.wait()

    def stop(self, seconds: float) -> bool:
        """End it by SIGTERM, by SIGKILL after `seconds`; nothing of it is left; return whether it obeyed."""
        self.wanted = False
        obeyed = True
        if self._process is not None:
            send(self.pid, signal.SIGCONT)
            send(self.pid, signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                obeyed = False
                self.kill()
        for pid, session in _sessions().items():
            if session in self._sessions:
                send(pid, signal.SIGKILL)
        return obeyed

    def tail(self, lines: int = 15) -> str:
        """The last lines that it wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process of ours, which may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _sessions() -> dict[int, int]:
    """The session of each process on this machine that is not a zombie."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z":
                found[int(folder.name)] = int(session)
    return found
