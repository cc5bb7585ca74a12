"""The node: one Celery worker with one child process on one device. The parent never loads TensorFlow."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals

from shared.broker import QUEUE, broker_config
from shared.clock import utc_now
from shared.coordination.connection import connect_redis
from shared.coordination.workers import WorkerBeat, WorkerRegistry
from shared.errors import RedisUnavailable
from shared.logs import configure_logs, get_logger
from shared.settings import Settings
from worker.desk import open_desk
from worker.devices import Device
from worker.runner import Engine, Runner
from worker.task import register_task

_log = get_logger(__name__)
_BEAT_SECONDS = 5.0


class Node:
    """Settings, name, device and engine of one node, on both sides of its fork."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str,
        device: Device,
        weights: str,
        load_engine: Callable[[], Engine],
    ) -> None:
        """Prepare a node; `weights` is what they are called, `load_engine` is called in the child alone."""
        self.settings = settings
        self.name = name
        self.device = device
        self._weights = weights
        self._load_engine = load_engine
        self._draining = multiprocessing.get_context("fork").Event()
        self._runner: Runner | None = None
        self._registry = WorkerRegistry(connect_redis(settings), worker_seconds=settings.worker_seconds)
        self._started_at: datetime = utc_now()

    def run(self) -> None:
        """Take jobs until SIGTERM; then check the running one in, and return."""
        app = self.make_app()
        handlers: list[tuple[Any, Any]] = [
            (signals.setup_logging, lambda **_: configure_logs(self.settings)),
            (signals.worker_init, self._guard),
            (signals.worker_process_init, self._load),
            (signals.worker_shutting_down, self._drain),
        ]
        for signal, handler in handlers:
            signal.connect(handler, weak=False)
        try:
            names = [f"--hostname={self.name}", f"--queues={QUEUE}", f"--loglevel={self.settings.log_level}"]
            options = ["--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
            app.worker_main(["--quiet", "worker", *names, *options])
        finally:
            for signal, handler in handlers:
                signal.disconnect(handler)
            self._leave()

    def make_app(self) -> Celery:
        """Return the Celery app with its one task and the settings of a worker."""
        app = Celery("atelier-worker")
        app.conf.update(broker_config(self.settings))
        app.conf.update(
            worker_prefetch_multiplier=1,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_acks_on_failure=True,
            worker_cancel_long_running_tasks_on_connection_loss=False,
            worker_proc_alive_timeout=600,
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            worker_send_task_events=False,
            worker_enable_remote_control=False,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
        )
        app.steps["worker"].add(_beat_step(self))
        register_task(app, self.runner)
        return app

    def runner(self) -> Runner:
        """Return the child's runner, loading the engine if the start of the child could not."""
        if self._runner is None:
            engine = self._load_engine()
            desk = open_desk(self.settings, worker_id=self.name, device=self.device.label)
            self._runner = Runner(desk, engine, draining=self._draining.is_set)
        return self._runner

    def beat(self) -> None:
        """Say that the node is alive: in Redis, and by touching the health file."""
        now = utc_now()
        beat = WorkerBeat(
            worker_id=self.name,
            device=self.device.label,
            weights=self._weights,
            started_at=self._started_at,
            at=now,
        )
        try:
            self._registry.beat(beat)
        except RedisUnavailable as error:
            _log.warning("beat_lost", reason=error.detail)
            return
        if self.settings.health_file:
            Path(self.settings.health_file).touch()

    def _guard(self, **_: object) -> None:
        if "tensorflow" in sys.modules:
            raise RuntimeError("TensorFlow is loaded in the parent of a pool: its children would hang")

    def _load(self, **_: object) -> None:
        # Both are read by TensorFlow when it is loaded, so before the engine is.
        os.environ["CUDA_VISIBLE_DEVICES"] = self.device.visible or "-1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self.runner()
        _log.info("engine_ready", device=self.device.label, weights=self._weights)

    def _drain(self, **_: object) -> None:
        self._draining.set()

    def _leave(self) -> None:
        try:
            self._registry.leave(self.name)
        except RedisUnavailable as error:
            _log.warning("leave_lost", reason=error.detail)


def _beat_step(node: Node) -> type[bootsteps.StartStopStep]:
    """Return a bootstep that beats from the parent's own timer: a thread would not survive its forks well."""

    class Beat(bootsteps.StartStopStep):  # type: ignore[misc]
        """Beats from the start of the worker on."""

        requires = ("celery.worker.components:Timer",)

        def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's worker
            node.beat()
            parent.timer.call_repeatedly(_BEAT_SECONDS, node.beat)

    return Beat
