"""The processes of a run: Redis with its append-only file, web, control, and the nodes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from shared.coordination.connection import connect_redis
from shared.coordination.workers import WorkerRegistry
from shared.redis_server import RedisServer
from shared.settings import PREFIX, Settings
from tests.chaos.jumping_clock import set_shift
from tests.chaos.process import Process, wait_until


@dataclass(frozen=True)
class Pace:
    """How quick everything is; all in seconds. Promises are counted in these."""

    lease: float = 2.5
    renew: float = 0.4
    rescue: float = 0.5
    dispatch: float = 0.1


class Cluster:
    """A context in which everything runs; nothing of it is left afterwards."""

    def __init__(
        self, folder: Path, *, workers: int, engine: str, step_seconds: float, pace: Pace, plant: str = ""
    ) -> None:
        self.folder = folder
        self.pace = pace
        self.steps_folder, self.logs = folder / "steps", folder / "logs"
        for path in (self.steps_folder, self.logs, folder / "data" / "storage"):
            path.mkdir(parents=True, exist_ok=True)
        self.clock_file = folder / "clock"
        set_shift(self.clock_file, 0)
        self.redis = RedisServer(folder / "redis")
        self.settings = self._make_settings()
        self.client = connect_redis(self.settings)
        self.registry = WorkerRegistry(self.client, worker_seconds=self.settings.worker_seconds)
        self.web, self.control = self._part("web"), self._part("control")
        words = ["--engine", engine, "--step-seconds", str(step_seconds), "--plant", plant]
        words += ["--steps-folder", str(self.steps_folder)]
        self.nodes = [self._part("node", f"node-{number}", *words) for number in range(1, workers + 1)]

    @property
    def processes(self) -> list[Process]:
        """All but Redis."""
        return [self.web, self.control, *self.nodes]

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.settings.port}"

    def __enter__(self) -> Cluster:
        try:
            self.redis.start()
            self.web.start()
            self.control.start()
            for number, node in enumerate(self.nodes):
                node.start()
                if number % 4 == 3:  # sixty at once would starve web and control of the processor
                    sleep(0.5)
            wait_until(self.answers, seconds=60, what="web answers")
            wait_until(
                lambda: len(self.registry.alive()) == len(self.nodes), seconds=300, what="all nodes beat"
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for node in self.nodes:
            if node.is_running():
                node.signal_all(signal.SIGCONT)
                node.signal_all(signal.SIGKILL)
        self.disobedient = [process.name for process in (self.control, self.web) if not process.stop(20)]
        for node in self.nodes:
            node.stop(5)
        self.client.close()
        self.redis.stop()

    def answers(self) -> bool:
        """Whether the web process takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.settings.port)) == 0

    def wipe_redis(self) -> None:
        """Kill Redis, and start it without its data."""
        self.redis.stop(signal.SIGKILL)
        shutil.rmtree(self.redis.folder)
        self.redis.start()

    def died_alone(self) -> list[Process]:
        """The processes that ended although nobody killed them."""
        return [process for process in self.processes if process.wanted and not process.is_running()]

    def _make_settings(self) -> Settings:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        pace = self.pace
        return Settings(
            redis_url=self.redis.url,
            data_dir=self.folder / "data",
            cache_dir=self.folder.parent / "cache",
            port=port,
            vgg19_weights="untrained",
            lease_seconds=pace.lease,
            renew_seconds=pace.renew,
            rescue_seconds=pace.rescue,
            dispatch_seconds=pace.dispatch,
            stall_seconds=30,
            worker_seconds=12,
            # Faults come faster here than in any life: no job may fail for their number.
            max_attempts=100,
            max_deliveries=50,
        )

    def _part(self, kind: str, name: str = "", *words: str) -> Process:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        environ |= self.settings.to_environ()
        # One processor each, as on a machine of its own; and no surprises in the lone run.
        environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-m", "tests.chaos.part", kind, "--name", name]
        command += ["--clock", str(self.clock_file), *words]
        return Process(name or kind, command, environ=environ, log=self.logs / f"{name or kind}.log")
