"""The processes of a run: Redis with its append-only file, web, control, and the nodes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

from shared.broker import DEFAULT_ROUTE, FAST_ROUTE, list_of
from shared.redis.connection import connect_redis
from shared.redis.workers import WorkerRegistry
from shared.settings import PREFIX, Settings
from shared.status import DEFAULT_PRIORITY, FINAL_STATUSES
from shared.storage import store_of
from shared.storage.moving import copy_files
from tests.chaos.disk import Disk, set_disk
from tests.chaos.jumping_clock import set_shift
from tests.chaos.pace import Pace
from tests.chaos.process import Process
from tests.support.installation import names_of
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.s3_server import CREDENTIALS, S3Server
from tests.support.waiting import wait_until
from web.backend import Backend
from web.cli.local.redis_server import RedisServer

_TRIES = 20


class Cluster:
    """A context in which everything runs; nothing of it is left but a `redis` that it was given."""

    def __init__(
        self,
        folder: Path,
        *,
        workers: int,
        engine: str,
        step_seconds: float,
        pace: Pace,
        plant: str = "",
        redis: RedisServer | None = None,
        node_name: str = "node",
        has_bucket: bool = False,
    ) -> None:
        self.folder = folder
        self.pace = pace
        self.plant = plant
        self.steps_folder, self.logs = folder / "steps", folder / "logs"
        for path in (self.steps_folder, self.logs, folder / "data" / "storage"):
            path.mkdir(parents=True, exist_ok=True)
        #: A server, and the way to it: they end once the files are looked at.
        self._bucket = ExitStack()
        self._on_s3 = self._start_bucket() if has_bucket else {}
        #: Where deaths are wanted; see `tests.chaos.commit_deaths`.
        self.commit_deaths = folder / "commit-deaths"
        #: Whether a killed child is back at work at once.
        self.is_quick = engine == "sleeping"
        self.clock_file, self.disk_file = folder / "clock", folder / "disk"
        set_shift(self.clock_file, 0)
        set_disk(self.disk_file, Disk.WELL)
        self.redis, self._is_guest = redis or RedisServer(folder / "redis"), redis is not None
        self.settings = self._make_settings()
        self.store = store_of(self.settings)
        self.client = connect_redis(self.settings)
        Backend.open(self.settings).close()  # the identity is made with the database
        self.names = names_of(self.settings)
        self.registry = WorkerRegistry(self.client, self.names, worker_seconds=self.settings.worker_seconds)
        self._words = words = ["--engine", engine, "--step-seconds", str(step_seconds), "--plant", plant]
        self._thawed = Event()
        self._thawed.set()
        self.web, self.control = (self._part(kind, "", *words) for kind in ("web", "control"))
        #: For the fast jobs, which no other takes.
        self.light = self._part("node", f"{node_name}-light", *words, "--method", "fast")
        self.nodes = [self.light]
        self.nodes += [
            self._part("node", f"{node_name}-{number}", *words) for number in range(1, workers + 1)
        ]

    @property
    def processes(self) -> list[Process]:
        """All but Redis."""
        return [self.web, self.control, *self.nodes]

    @property
    def lines(self) -> list[str]:
        """The broker's lists of messages that wait: for the nodes, and for the light one."""
        return [
            self.names.queue_list(route, list_of(route, DEFAULT_PRIORITY))
            for route in (DEFAULT_ROUTE, FAST_ROUTE)
        ]

    @property
    def queues(self) -> list[str]:
        """These lists, and those of the other priorities."""
        return [name for route in (DEFAULT_ROUTE, FAST_ROUTE) for name in self.names.queue_lists(route)]

    @property
    def stream(self) -> str:
        """The stream of reports."""
        return self.names.key("events")

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.settings.port}"

    def __enter__(self) -> Cluster:
        try:
            if not self._is_guest:
                self.redis.start()
            self.web.start()
            wait_until(self.answers, seconds=60, what="web answers")  # it makes the database's tables
            self.control.start()
            for number, node in enumerate(self.nodes):
                node.start()
                if number % 4 == 3:  # sixty at once would starve web and control of the processor
                    sleep(0.5)
            wait_until(self._all_beat, seconds=300, what="all nodes beat")
        except BaseException:
            self.close()
            self._bucket.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is not None:  # nobody looks at the files any more
            self._bucket.close()

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
        if not self._is_guest:
            self.redis.stop()

    def with_a_folder(self) -> Settings:
        """Return settings by which all files lie in a folder; those of a bucket are copied there first."""
        with self._bucket:
            if not self._on_s3:
                return self.settings
            plain = self.settings.model_copy(update=dict.fromkeys(self._on_s3, ""))
            self.store.delete_tree("check")
            copy_files(self.store, store_of(plain))
            return plain

    def _start_bucket(self) -> dict[str, str]:
        """Start an S3 server, and a way to it that can be broken; return the settings of a bucket there."""
        server = self._bucket.enter_context(S3Server(self.folder))
        self.way_to_bucket = self._bucket.enter_context(Proxy(server.port))
        os.environ.update(CREDENTIALS)  # all processes are children of this one
        endpoint = f"http://127.0.0.1:{self.way_to_bucket.port}"
        return {"storage_url": f"s3://{server.make_bucket()}/atelier", "s3_endpoint": endpoint}

    def answers(self) -> bool:
        """Whether the web process takes connections."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.settings.port)) == 0

    def holders(self) -> dict[str, list[tuple[str, int]]]:
        """Return, by node, the attempts that it holds a lease on, as Redis knows it now."""
        keys = list(self.client.scan_iter(match=self.names.key("lease", "*"), count=1000))
        held: dict[str, list[tuple[str, int]]] = {}
        for key in keys:
            job_id = key.removeprefix(self.names.key("lease", ""))
            owner = self.client.get(key)
            attempt = self.client.hget(self.names.key("job", job_id), "attempt")
            if owner and attempt:
                # The token is the node's name and its run.
                held.setdefault(owner.partition(":")[0], []).append((job_id, int(attempt)))
        return held

    def statuses(self, *, frozen: bool = False) -> dict[str, str]:
        """Return the status of every job, as the database has it now; `frozen` is for who froze it."""
        return dict(self._select("SELECT id, status FROM jobs", frozen=frozen))

    def steps_done(self, job_id: str, *, frozen: bool = False) -> int | None:
        """Return at which step a job has succeeded; None if it has not."""
        query = f"SELECT step FROM jobs WHERE id = '{job_id}' AND status = 'succeeded'"
        found = self._select(query, frozen=frozen)
        return int(found[0][0]) if found else None

    def count(self, *, final: bool) -> int:
        """Return how many jobs have ended, or have not, as the database has it now."""
        ends = ", ".join(f"'{status}'" for status in sorted(FINAL_STATUSES))
        word = "IN" if final else "NOT IN"
        return int(self._select(f"SELECT count(*) FROM jobs WHERE status {word} ({ends})")[0][0])

    def untold(self) -> int:
        """Return how many messages to webhooks have still to be delivered."""
        return int(self._select("SELECT count(*) FROM deliveries WHERE state = 'pending'")[0][0])

    def versions(self) -> dict[str, int]:
        """Return the version of every job."""
        return dict(self._select("SELECT id, version FROM jobs"))

    def lost_workers(self) -> dict[str, int]:
        """Return how many lost workers each job counts."""
        return dict(self._select("SELECT id, lost_workers FROM jobs"))

    def wipe_redis(self) -> None:
        """Kill Redis, and start it without its data."""
        self.redis.stop(signal.SIGKILL)
        shutil.rmtree(self.redis.folder)
        self.redis.start()

    def died_alone(self) -> list[Process]:
        """The processes that ended although nobody killed them."""
        return [process for process in self.processes if process.wanted and not process.is_running()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let nobody else of this process look into the database, which is going to be another one."""
        self._thawed.clear()
        try:
            yield
        finally:
            self._thawed.set()

    def command(self, kind: str, *words: object) -> None:
        """Run a command of the web host, again while somebody has the database open.

        Raises:
            RuntimeError: when it fails.
        """
        part = self._part(kind, "", *self._words, "--target", *map(str, words))
        for _ in range(_TRIES):
            part.start()
            code = part.wait()
            # A backup of a storage with damaged files is made, and ends with 1.
            if code == 0 or ((code, kind) == (1, "backup") and "Error:" not in part.tail(3)):
                return
            if "is in use" not in part.tail():
                break
            sleep(0.3)
        raise RuntimeError(f"{kind} failed:\n{part.tail()}")

    def _select(self, query: str, *, frozen: bool = False) -> list[Any]:
        if not frozen:
            self._thawed.wait()
        with closing(sqlite3.connect(self.settings.data_dir / "atelier.db", timeout=30)) as database:
            return database.execute(query).fetchall()

    def _all_beat(self) -> bool:
        if dead := self.died_alone():
            raise RuntimeError(f"{dead[0].name} did not start:\n{dead[0].tail()}")
        return len(self.registry.alive()) >= len(self.nodes)

    def _make_settings(self) -> Settings:
        pace = self.pace
        return Settings(
            redis_url=self.redis.url,
            data_dir=self.folder / "data",
            cache_dir=self.folder.parent / "cache",
            port=free_port(),
            vgg19_weights="untrained",
            lease_seconds=pace.lease,
            renew_seconds=pace.renew,
            rescue_seconds=pace.rescue,
            dispatch_seconds=pace.dispatch,
            stall_seconds=pace.stall,
            worker_seconds=pace.worker,
            # The collector of garbage works all the time, and jumping clocks make everything look old to it.
            prune_seconds=1,
            garbage_hours=1,
            # A clock that jumps by most of a day makes a draft old, too.
            draft_hours=12,
            # Faults come faster here than in any life: no job may fail for their number, no draft be refused.
            max_attempts=100,
            max_deliveries=50,
            max_drafts=1000,
            webhook_http=True,
            webhook_networks="127.0.0.1/32",
            s3_timeout_seconds=2,
            **self._on_s3,
        )

    def _part(self, kind: str, name: str = "", *words: str) -> Process:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        environ |= self.settings.to_environ()
        # One processor each, as on a machine of its own; and no surprises in the lone run.
        environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-m", "tests.chaos.part", kind, "--name", name]
        command += ["--folder", str(self.folder), *words]
        return Process(name or kind, command, environ=environ, log=self.logs / f"{name or kind}.log")
