"""The real web process, which can be ended and started again on its port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import httpx2

from shared.settings import Settings
from tests.support.ports import free_port

_START = """
import os
from shared.settings import load_settings
from web.server import run_web
run_web(load_settings(os.environ))
"""
_START_SECONDS = 60


class WebProcess:
    """gunicorn as `atelier` runs it, in a process group of its own; `log` is what it wrote."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(update={"port": free_port()})
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self.log: list[str] = []
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it and return when it serves."""
        environ = {"PATH": "", "HOME": str(self.settings.data_dir), **self.settings.to_environ()}
        # A group of its own: a kill must reach gunicorn's worker as well as its parent.
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        booted = threading.Event()
        self._reader = threading.Thread(target=self._read_log, args=(self.process, booted), daemon=True)
        self._reader.start()
        assert booted.wait(_START_SECONDS), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int | None:
        """Send it a signal, SIGKILL also to its child; return its exit status when both are gone."""
        if self.process is None:
            return None
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it and its child are gone; return its exit status."""
        assert self.process is not None
        assert self._reader is not None
        self._reader.join()  # ends when nobody holds the pipe any more
        code = self.process.wait()
        self.process = None
        return code

    def client(self) -> httpx2.Client:
        """Return a client of its own."""
        return httpx2.Client(base_url=self.url, timeout=30, trust_env=False)

    def _read_log(self, process: subprocess.Popen[str], booted: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                if "Booting worker" in line:
                    booted.set()
        booted.set()  # it has ended: nobody needs to wait any longer
