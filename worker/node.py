"""The Celery node: its app with the one task, the fork of its child, and its drain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

from celery import Celery, bootsteps, signals
from celery.exceptions import Reject

from shared.broker import DEFAULT_ROUTE, TASK_NAME, broker_config
from shared.clock import utc_now
from shared.errors import RedisUnavailable, ServiceError
from shared.installation import names_at
from shared.logs import configure_logs, get_logger
from shared.protocol import read_message
from shared.redis import Coordination
from shared.redis.names import FIRST_NAMES, Names
from shared.redis.workers import WorkerBeat, WorkerState
from shared.release import this_release
from shared.settings import Settings
from shared.storage import open_store
from worker.context import WorkerContext
from worker.devices import Device, MemoryMeter, RoomMeter
from worker.heartbeat import Heartbeat
from worker.node_state import NodeState
from worker.runner import Engine, Outcome, Runner

_OPEN_FILES = Path("/dev/fd")
_LOOK_SECONDS = 1.0
_STORAGE_SECONDS = 2.0

_log = get_logger(__name__)


class Node:
    """Settings, name, device and engine of one node, on both sides of its fork."""

    def __init__(
        self,
        settings: Settings,
        names: Names,
        *,
        name: str,
        device: Device,
        weights: str,
        load_engine: Callable[[], Engine],
        fleet_pid: int | None = None,
    ) -> None:
        """Prepare a node of the installation with these names.

        `weights` is what they are called, `load_engine` is called in the child alone. With a `fleet_pid` the
        node drains once it is no longer the child of that process.
        """
        self.settings = settings
        self._names = names
        self.name = name
        self.device = device
        self._weights = weights
        self._load_engine = load_engine
        self._fleet_pid = fleet_pid
        self._node_state = NodeState()
        self._runner: Runner | None = None
        self._heartbeat = self._make_heartbeat()
        self._gone = Event()
        self._last_looks: Thread | None = None

    def run(self) -> None:
        """Take jobs until SIGTERM; then check the running one in, and return."""
        app = self.make_app()
        handlers: list[tuple[Any, Any]] = [
            (signals.setup_logging, lambda **_: configure_logs(self.settings)),
            (signals.worker_init, self._guard),
            (signals.worker_process_init, self._load),
            (signals.worker_shutting_down, self._drain),
        ]
        for event, handler in handlers:
            event.connect(handler, weak=False)
        try:
            queue = self._names.queue(DEFAULT_ROUTE)
            names = [f"--hostname={self.name}", f"--queues={queue}", f"--loglevel={self.settings.log_level}"]
            options = ["--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
            app.worker_main(["--quiet", "worker", *names, *options])
        finally:
            for event, handler in handlers:
                event.disconnect(handler)
            self._leave()

    def make_app(self) -> Celery:
        """Return the Celery app with its one task and the settings of a worker."""
        app = Celery("atelier-worker")
        app.conf.update(broker_config(self.settings, self._names))
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
        app.steps["worker"].add(_heartbeat_step(self))
        _register_task(app, self.runner)
        return app

    def runner(self) -> Runner:
        """Return the child's runner, loading the engine if the start of the child could not."""
        if self._runner is None:
            engine = self._load_engine()
            context = WorkerContext.open(
                self.settings,
                self._names,
                worker_id=self.name,
                device=self.device.label,
                node_state=self._node_state,
            )
            self._runner = Runner(context, engine, draining=lambda: self._node_state.is_draining)
            self._node_state.be_ready(engine.weights.notice)
        return self._runner

    def look(self) -> None:
        """Say what the node is doing; end as with SIGTERM if it is asked to, or if its fleet is gone."""
        asked = self._heartbeat.look()
        orphaned = self._fleet_pid is not None and os.getppid() != self._fleet_pid
        if (asked or orphaned) and not self._node_state.is_draining:
            _log.info("drain_asked" if asked else "fleet_gone", worker_id=self.name)
            # Noted at once: a second SIGTERM would hit a node that is already leaving.
            self._node_state.drain()
            os.kill(os.getpid(), signal.SIGTERM)

    def keep_looking(self) -> None:
        """Go on beating from a thread: the timer has ended, and no child is forked any more."""
        self._last_looks = Thread(target=self._look_until_gone, name="heartbeat", daemon=True)
        self._last_looks.start()

    def _guard(self, **_: object) -> None:
        if "tensorflow" in sys.modules:
            raise RuntimeError("TensorFlow is loaded in the parent of a pool: its children would hang")

    def _load(self, **_: object) -> None:
        close_inherited_sockets()
        # All are read by TensorFlow when it is loaded, so before the engine is.
        os.environ["CUDA_VISIBLE_DEVICES"] = self.device.visible or "-1"
        # The driver's tool numbers GPUs by their place on the bus; CUDA by itself begins with the fastest.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._node_state.begin()
        self.runner()
        _log.info("engine_ready", device=self.device.label, weights=self._weights)

    def _drain(self, **_: object) -> None:
        self._node_state.drain()

    def _look_until_gone(self) -> None:
        self._heartbeat.look()
        while not self._gone.wait(_LOOK_SECONDS):
            self._heartbeat.look()

    def _leave(self) -> None:
        self._gone.set()
        if self._last_looks is not None:
            self._last_looks.join()  # a beat after this one's leaving would bring it back
        self._heartbeat.stop()

    def _make_heartbeat(self) -> Heartbeat:
        return Heartbeat(
            Coordination.connect(self.settings, self._names).workers,
            self._node_state,
            MemoryMeter(self.device),
            facts=first_beat(self.name, self.device, self._weights),
            room=RoomMeter(open_store(self.settings.resolved_storage_url).room),
            health_file=self.settings.health_file,
        )


def first_beat(name: str, device: Device, weights: str) -> WorkerBeat:
    """Return what does not change in the beats of a run of a node that begins now."""
    now, release = utc_now(), this_release()
    return WorkerBeat(
        worker_id=name,
        host=socket.gethostname(),
        device=device.label,
        weights=weights,
        version=release.version,
        build=release.build,
        protocol=release.protocol,
        started_at=now,
        at=now,
    )


def wait_for_names(settings: Settings, beat: WorkerBeat, *, stopping: Event) -> Names | None:
    """Return the Redis names of the installation whose storage this machine sees; None when told to stop.

    Until it sees one, the node says so under the names that belong to no installation: every service on this
    Redis shows it as unhealthy.
    """
    store = open_store(settings.resolved_storage_url)
    lobby = Coordination.connect(settings, FIRST_NAMES).workers
    told = ""
    while not stopping.is_set():
        try:
            names = names_at(store)
        except ServiceError as error:
            if error.detail != told:
                told = error.detail
                _log.error("storage_not_usable", code=error.code, detail=error.detail)
            unhealthy = {"state": WorkerState.UNHEALTHY, "reason": error.detail, "at": utc_now()}
            with contextlib.suppress(RedisUnavailable):
                lobby.beat(beat.model_copy(update=unhealthy))
            stopping.wait(_STORAGE_SECONDS)
        else:
            if told:
                with contextlib.suppress(RedisUnavailable):
                    lobby.leave(beat.worker_id)
            return names
    return None


def _heartbeat_step(node: Node) -> type[bootsteps.StartStopStep]:
    """Return a bootstep that looks from the parent's own timer: a thread would not survive its forks well."""

    class HeartbeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Looks from the start of the worker on, until its end."""

        requires = ("celery.worker.components:Timer",)

        def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's worker
            node.look()
            parent.timer.call_repeatedly(_LOOK_SECONDS, node.look)

        def close(self, _parent: Any) -> None:  # noqa: ANN401 - Celery's worker
            """The first thing that Celery does when it stops; waiting for the child comes after it."""
            node.keep_looking()

    return HeartbeatStep


def _register_task(app: Celery, runner: Callable[[], Runner]) -> None:
    """Give the app its task; `runner` is called in the child that carries it out."""

    @app.task(name=TASK_NAME, acks_late=True)  # type: ignore[untyped-decorator]
    def stylize(message: dict[str, Any]) -> None:
        outcome = runner().run(read_message(message))
        if outcome is Outcome.RELEASED:
            raise Reject("this node is shutting down", requeue=True)


def close_inherited_sockets() -> None:
    """Put nothing in the place of every connection that this process has open to another one.

    To be called in a new child, before it opens any of its own. A child that is forked in place of one that
    died holds copies of its parent's connections to Redis. When Redis restarts and the parent closes its own,
    epoll goes on reporting a connection that others hold open (see "epoll(7)", questions and answers): the
    parent would spin, and take a whole processor core for as long as that child lives.

    The numbers stay taken: objects of the parent that are forgotten later close them once more, and must not
    hit what has been opened since.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(file.name) for file in _OPEN_FILES.iterdir()]:
        if _is_connection(number):
            os.dup2(nothing, number, inheritable=False)
    os.close(nothing)


def _is_connection(number: int) -> bool:
    """Whether an open file is a socket whose peer has an address: those to the parent have none."""
    try:
        copy = os.dup(number)
    except OSError:
        return False  # that of the listing itself, which is closed by now
    try:
        connection = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False  # no socket
    with connection:
        try:
            return bool(connection.getpeername())
        except OSError:
            return False  # not connected
