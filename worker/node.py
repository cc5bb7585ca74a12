"""The Celery node: its app with the one task, the fork of its child, and its drain."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any

from billiard import active_children
from celery import Celery, signals
from celery.exceptions import Reject
from celery.worker.state import reserved_requests

from shared.broker import routes_of
from shared.clock import to_rfc3339, utc_now
from shared.errors import RedisUnavailable, UnreadableMessage
from shared.logs import configure_logs, get_logger
from shared.options import Method
from shared.protocol import PROTOCOL, asked_numerics, asked_protocol, read_message
from shared.redis import Coordination
from shared.redis.names import Names
from shared.redis.workers import WorkerBeat, WorkerState
from shared.settings import Settings, touch_health_file
from shared.storage import store_of
from worker.arrival import first_beat
from worker.celery_app import make_app
from worker.child import close_inherited_sockets, decide_load_delay_seconds
from worker.context import WorkerContext, token_of
from worker.crash import Crashes, make_pool
from worker.deliveries import Inbox, envelope, make_transport
from worker.devices import Device, RoomMeter
from worker.ending import FAILED, NAME_TAKEN, Ending, decide_haste
from worker.heartbeat import Heartbeat
from worker.intake import IntakeFacts, StorageWatch, decide_intake, decide_no_room
from worker.memory import MemoryMeter
from worker.node_state import NodeState
from worker.runner import Engine, Outcome, Runner
from worker.scratch import Scratch
from worker.sharing import environ_of_node

_LOOK_SECONDS = 1.0
_DRAIN_LOOK_SECONDS = 0.2
_STORAGE_SECONDS = 2.0
_LEAVE_SECONDS = 0.5
_LONGEST_REST_SECONDS = 30.0
#: More loads of the engine in a row are said aloud; a child that is replaced counts as one.
_MOST_LOADS = 3
#: The exit code by which a child tells its pool that nothing is wrong (`billiard.pool.EX_RECYCLE`).
_RECYCLED = 0x9B

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
        methods: Collection[Method],
        load_engine: Callable[[], Engine],
        numerics: Mapping[str, str] = MappingProxyType({}),
        not_served: Mapping[str, str] = MappingProxyType({}),
        labels: Mapping[str, str] = MappingProxyType({}),
        threads: int | None = None,
        is_in_fleet: bool = False,
    ) -> None:
        """Prepare a node of the installation with these names.

        `weights` is what they are called, `methods` are those that it serves, `numerics` say what decides the
        bytes of each (`worker.numerics`), `not_served` say why the machine lacks a method, `labels` are told
        of it, `load_engine` is called in the child alone. `threads` are its share of the processors, if it
        has one. Of a node `is_in_fleet` the fleet's process is the one that hears a second SIGTERM.
        """
        self.settings = settings
        self._names = names
        self.name = name
        self.device = device
        self._weights = weights
        self._load_engine = load_engine
        self._threads = threads
        routes = routes_of(methods, numerics=numerics.get(Method.GATYS))
        self._queues = [names.queue(route) for route in routes]
        self._facts = first_beat(name, device, weights, methods, numerics, not_served, labels)
        self._redis = Coordination.connect(settings, names)
        self._node_state = NodeState()
        self._inbox = Inbox(
            self._redis.set_aside,
            queues={key: names.queue(route) for route in routes for key in names.queue_lists(route)},
            is_first=self._gives_back_first,
        )
        self._room = RoomMeter(store_of(settings).room)
        self._crashes = Crashes(
            settings, names, self._node_state, worker_id=name, token=token_of(name, self._facts.run)
        )
        self._heartbeat = Heartbeat(
            self._redis.workers,
            self._node_state,
            MemoryMeter(device),
            facts=self._facts,
            room=self._room,
            note_well=lambda: touch_health_file(settings),
        )
        self._reason: str | None = None
        self._ending = Ending(self._node_state, hears_haste=not is_in_fleet)
        self._gone = Event()
        self._last_looks: Thread | None = None
        self._scratch: Scratch | None = None
        # What follows is of a child.
        self._context: WorkerContext | None = None
        self._runner: Runner | None = None
        self._refusals = 0
        #: Whether it ends in a moment.
        self.is_leaving = False

    @property
    def rival(self) -> WorkerBeat | None:
        """The other node that has this one's name, when that is why this one has ended."""
        return self._heartbeat.rival

    def run(self) -> int:
        """Take jobs until the node is asked to drain; then check the running one in.

        Returns:
            The exit code: 0 only if the node was asked to, by SIGTERM or SIGINT, by a drain, or by the end of
            its fleet; `NAME_TAKEN`; or another one, with which it has to be started again.
        """
        self._ending.listen()
        if not self._take_name():
            self._heartbeat.stop()
            return self._ending.code
        try:
            self._scratch = Scratch.make()
            self._scratch.remove_at_exit()
            self._scratch.use("parent")
        except OSError as error:
            # A disk that is full: what the engine needs of it, its load will tell.
            _log.error("no_scratch", reason=str(error))
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
            names = [
                # Celery would fill in what follows a percent sign.
                f"--hostname={self.name.replace('%', '_')}",
                f"--queues={','.join(self._queues)}",
                f"--loglevel={self.settings.log_level}",
            ]
            options = ["--pool=prefork", "--concurrency=1", "--without-gossip", "--without-mingle"]
            app.worker_main(["--quiet", "worker", *names, *options])
        finally:
            for event, handler in handlers:
                event.disconnect(handler)
            self._leave()
        if self._ending.code:
            _log.error("node_failed", worker_id=self.name, exit_code=self._ending.code)
        return self._ending.code

    def make_app(self) -> Celery:
        """Return the Celery app of the node."""
        return make_app(
            self,
            self.settings,
            self._names,
            queues=self._queues,
            transport=make_transport(self._inbox),
            pool=make_pool(self._crashes.note),
        )

    def runner(self) -> Runner:
        """Return the child's runner, loading the engine if the start of the child could not."""
        if self._runner is None:
            with self._ended_by_drain():
                engine = self._load_engine()
            self._runner = Runner(
                self._open_context(),
                engine,
                draining=lambda: self._node_state.is_draining,
                # Nothing else ends a call that does not come back; the parent sees a crash.
                on_hung=os.abort,
            )
            if engine.notice:
                _log.warning("weights_notice", weights=self._weights, notice=engine.notice)
            self._node_state.be_ready(engine.notice)
        return self._runner

    def carry_out(
        self, message_id: str, message: dict[str, Any], *, queue: str, traceparent: object = None
    ) -> None:
        """Carry out what a message of a queue asks for, in the child, as a part of its trace if it has one.

        Raises:
            Reject: when the message has to go back into the queue.
        """
        if self.is_leaving:
            sleep(_LEAVE_SECONDS)  # so that it does not go back and forth
            raise Reject("this child is being replaced", requeue=True)
        if asked_protocol(message) > PROTOCOL:
            # Control sends it again, until a node of that release takes it.
            _log.warning("message_for_younger_node", id=message_id, protocol=asked_protocol(message))
            return
        wanted = asked_numerics(message)
        if wanted not in (None, self._facts.numerics.get(Method.GATYS)):
            # It was on its way when this node came: control finds it lost, and sends it to those it is for.
            _log.warning("message_for_other_numerics", id=message_id, numerics=wanted)
            return
        try:
            try:
                outcome = self.runner().run(read_message(message, traceparent=traceparent))
            except UnreadableMessage as error:
                self._put_aside(message_id, message, error, queue=queue)
                return
        except RedisUnavailable as error:
            # It keeps nothing that it cannot claim.
            seconds = min(_LONGEST_REST_SECONDS, 2.0**self._refusals)
            self._refusals += 1
            _log.warning("message_given_back", id=message_id, reason=error.detail, again_in_seconds=seconds)
            self._node_state.rest(f"no job can be claimed: {error.detail}", seconds=seconds)
            raise Reject("it cannot be claimed", requeue=True) from error
        self._refusals = 0
        if outcome is Outcome.FAULTED:
            self.replace_child()
        if outcome in (Outcome.RELEASED, Outcome.FAULTED):
            raise Reject("this node does not go on with it", requeue=True)

    def _put_aside(
        self, message_id: str, message: dict[str, Any], error: UnreadableMessage, *, queue: str
    ) -> None:
        # Control sends it again, under another tag; it is to be known as the same.
        entry = envelope(message_id, message, queue=queue, tag=message_id)
        _log.error("message_set_aside", id=message_id, reason=error.detail)
        self._open_context().redis.set_aside.put(
            json.dumps(entry), reason=error.detail, source=queue, now=utc_now()
        )

    def replace_child(self) -> None:
        """Let this child end soon, once it has told what became of its task; the pool forks another one.

        Its device, its driver or the engine may be in a state that only a new process is rid of.
        """

        def leave() -> None:
            sleep(_LEAVE_SECONDS)
            os._exit(_RECYCLED)

        _log.warning("child_replaced", faults_in_a_row=self._node_state.faults_in_a_row)
        self.is_leaving = True
        self._node_state.begin()
        Thread(target=leave, name="leave", daemon=True).start()

    def look(self) -> None:
        """Say what the node is doing; end as with SIGTERM if it has to."""
        asked = self._heartbeat.look(self._reason)
        if self._node_state.is_draining:
            return
        if asked:
            self._end("drain_asked", 0)
        elif self._heartbeat.rival is not None:
            self._end("name_taken", NAME_TAKEN)
        elif self._node_state.is_moved:
            self._end("storage_of_another_installation", FAILED)

    def tend(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's consumer
        """Take messages, or stop to."""
        tasks = consumer.task_consumer
        if tasks is None or consumer.connection is None:
            return
        note = self._node_state.read()
        is_taking = bool(tasks.consuming_from(self._queues[0]))
        intake = decide_intake(
            IntakeFacts(
                is_ready=note.state is not WorkerState.STARTING,
                is_draining=self._node_state.is_draining,
                is_named=self._heartbeat.is_named,
                is_holding=bool(reserved_requests),
                is_taking=is_taking,
                unhealthy=note.why_idle(monotonic()) or self._why_not_ready(),
                refusal=self._inbox.refusal,
                no_room=decide_no_room(self._room.read(), self.settings),
                sight_age_seconds=self._node_state.sight_age_seconds,
                unseen_seconds=self._node_state.unseen_seconds,
            )
        )
        self._reason = intake.reason
        if intake.taking and not is_taking:
            for queue in self._queues:
                consumer.add_task_queue(queue)
        elif is_taking and not intake.taking:
            # What Redis hands out in this moment, kombu gives back: nobody takes it any more.
            for queue in self._queues:
                consumer.cancel_task_queue(queue)

    def begin(self) -> None:
        """Begin, now that Celery has installed its own handlers of signals."""
        if self._ending.begin():
            self._ending.end_celery()
        self.look()

    def close(self) -> None:
        """Go on beating, and let the child hand its job back, whatever it is that ends Celery."""
        self._node_state.drain()
        Thread(target=self._end_in_time, name="deadline", daemon=True).start()
        self.keep_looking()

    def keep_looking(self) -> None:
        """Go on beating from a thread: the timer has ended, and no child is forked any more."""
        self._last_looks = Thread(target=self._look_until_gone, name="heartbeat", daemon=True)
        self._last_looks.start()

    def _guard(self, **_: object) -> None:
        if "tensorflow" in sys.modules:
            raise RuntimeError("TensorFlow is loaded in the parent of a pool: its children would hang")

    def _load(self, **_: object) -> None:
        self._node_state.begin()
        try:
            close_inherited_sockets()
            os.environ.update(environ_of_node(self.device, self._threads))
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
            if self._scratch is not None:
                self._scratch.use("child")
            self._wait_to_load()
            runner = self.runner()
            context = self._open_context()
            watch = StorageWatch(
                context.store, self._names, self._node_state, on_lost=runner.health.lose_storage
            )
            watch.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, another process may be spared it
            _log.exception("engine_not_loaded")
            self._node_state.be_unhealthy(f"the engine cannot be loaded: {type(error).__name__}: {error}")
            os._exit(_RECYCLED)
        _log.info("engine_ready", device=self.device.label, weights=self._weights, threads=self._threads)

    @contextmanager
    def _ended_by_drain(self) -> Iterator[None]:
        """End this child as soon as the node drains: it holds no job, and a load may take long."""
        is_loaded = Event()

        def watch() -> None:
            while not is_loaded.wait(_DRAIN_LOOK_SECONDS):
                if self._node_state.is_draining:
                    os._exit(_RECYCLED)

        watcher = Thread(target=watch, name="drain", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_loaded.set()
            watcher.join()

    def _wait_to_load(self) -> None:
        """Wait ever longer before the engine is loaded, after the children before this one died of it."""
        deadline = monotonic() + decide_load_delay_seconds(self._node_state.loads)
        while monotonic() < deadline:
            if self._node_state.is_draining:
                os._exit(_RECYCLED)
            sleep(_DRAIN_LOOK_SECONDS)

    def _gives_back_first(self) -> bool:
        """Whether a message that is given back is the next for whoever comes.

        The one over which this node's child is replaced is not: this node would be the first to come.
        """
        note = self._node_state.read()
        is_replaced = note.state is WorkerState.STARTING and note.unhealthy is None
        return self._node_state.is_draining or not is_replaced

    def _why_not_ready(self) -> str | None:
        loads = self._node_state.loads
        return (
            f"its process ended {loads - 1} times while the engine was loaded"
            if loads > _MOST_LOADS
            else None
        )

    def _open_context(self) -> WorkerContext:
        if self._context is None:
            self._context = WorkerContext.open(
                self.settings,
                self._names,
                worker_id=self.name,
                device=self.device.label,
                node_state=self._node_state,
                run=self._facts.run,
                numerics=self._facts.numerics,
            )
        return self._context

    def _take_name(self) -> bool:
        """Wait until the name is this node's; False if another has it, or if the node is told to end.

        A node that died without a word has it for a while. While Redis is away nobody knows; the node asks
        again when it is back, and takes no message before.
        """
        while not self._ending.is_asked:
            self._heartbeat.look()
            if self._heartbeat.rival is not None:
                self._say_ending("name_taken", NAME_TAKEN)
                return False
            if self._heartbeat.is_named or self._heartbeat.is_away:
                return True
            self._ending.wait(_LOOK_SECONDS)
        return False

    def _drain(self, **_: object) -> None:
        self._ending.ask()
        self._node_state.drain()

    def _end(self, why: str, code: int) -> None:
        self._say_ending(why, code)
        # Noted at once, so that it is asked once.
        self._node_state.drain()
        self._ending.end_celery()

    def _say_ending(self, why: str, code: int) -> None:
        self._ending.fix(code)
        rival = self._heartbeat.rival
        facts = {} if rival is None else {"host": rival.host, "started_at": to_rfc3339(rival.started_at)}
        (_log.error if code else _log.info)(why, worker_id=self.name, **facts)

    def _end_in_time(self) -> None:
        """End this process at once, without what its job has not stored, when its time is over."""
        began = monotonic()
        while not self._gone.wait(_DRAIN_LOOK_SECONDS):
            why = decide_haste(
                is_hurried=self._ending.is_hurried,
                draining_seconds=monotonic() - began,
                drain_seconds=self.settings.drain_seconds,
            )
            if why is not None:
                _log.error("drain_cut_short", worker_id=self.name, reason=why)
                for child in active_children():
                    os.kill(child.pid, signal.SIGKILL)
                # Its beat and its claim end by themselves; Redis may not answer, and is not asked.
                os._exit(self._ending.code)

    def _look_until_gone(self) -> None:
        self._heartbeat.look(self._reason)
        while not self._gone.wait(_LOOK_SECONDS):
            self._heartbeat.look(self._reason)

    def _leave(self) -> None:
        self._gone.set()
        if self._last_looks is not None:
            self._last_looks.join()  # a beat after this one's leaving would bring it back
        self._heartbeat.stop()
