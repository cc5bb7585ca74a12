"""The Celery app of a node: its settings, its steps and the one task.

What they do is in `worker.node`; here is where Celery is told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from celery import Celery, bootsteps
from celery.concurrency.prefork import TaskPool
from kombu import Queue
from kombu.transport.redis import Transport

from shared.broker import TASK_NAME, broker_config
from shared.redis.names import Names
from shared.settings import Settings
from shared.trace import TRACE_HEADER

_LOOK_SECONDS = 1.0
_TEND_SECONDS = 0.2


class Tended(Protocol):
    """What Celery calls of a node."""

    def begin(self) -> None:
        """Celery's worker begins."""

    def look(self) -> None:
        """Another second has passed."""

    def tend(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's consumer
        """A moment has passed: decide whether messages are taken."""

    def close(self) -> None:
        """Celery's worker ends, for whatever reason."""

    def carry_out(
        self, message_id: str, message: dict[str, Any], *, queue: str, traceparent: object = None
    ) -> None:
        """Carry out a message of a queue, in the child; `traceparent` is what its header has of a trace."""


def make_app(
    node: Tended,
    settings: Settings,
    names: Names,
    *,
    queues: Sequence[str],
    transport: type[Transport],
    pool: type[TaskPool],
) -> Celery:
    """Return the app of a node that takes messages from queues, by a transport and a pool of its own."""
    app = Celery("atelier-worker")
    app.conf.update(broker_config(settings, names))
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
        # An error reply of Redis is no reason to end.
        broker_channel_error_retry=True,
        broker_transport=transport,
        # kombu's bindings lead messages to queues; ours go to their queue by its name.
        task_queues=[Queue(queue, no_declare=True) for queue in queues],
        task_default_queue=queues[0],
        worker_pool=pool,
    )
    app.steps["worker"].add(_node_step(node))
    app.steps["consumer"].add(_closed_step(queues))
    _register_task(app, node)
    return app


def _node_step(node: Tended) -> type[bootsteps.StartStopStep]:
    """Return a bootstep that looks from the parent's own timer: a thread would not survive its forks well."""

    class NodeStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Looks from the start of the worker on, until its end."""

        requires = ("celery.worker.components:Timer",)

        def start(self, parent: Any) -> None:  # noqa: ANN401 - Celery's worker
            node.begin()
            parent.timer.call_repeatedly(_LOOK_SECONDS, node.look)
            parent.timer.call_repeatedly(_TEND_SECONDS, lambda: node.tend(parent.consumer))

        def close(self, _parent: Any) -> None:  # noqa: ANN401 - Celery's worker
            """The first thing that Celery does when it stops; waiting for the child comes after it."""
            node.close()

    return NodeStep


def _closed_step(queues: Sequence[str]) -> type[bootsteps.StartStopStep]:
    """Return a bootstep that lets each connection begin without taking messages; `Node.tend` decides."""

    class ClosedStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Comes between the consumer of tasks and the loop in which it consumes."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:  # noqa: ANN401 - Celery's consumer
            for queue in queues:
                consumer.app.amqp.queues.deselect(queue)
                consumer.task_consumer.cancel_by_queue(queue)

    return ClosedStep


def _register_task(app: Celery, node: Tended) -> None:
    """Give the app its task, which the child carries out."""

    @app.task(name=TASK_NAME, acks_late=True, bind=True)  # type: ignore[untyped-decorator]
    def stylize(task: Any, message: dict[str, Any]) -> None:  # noqa: ANN401 - Celery's task
        queue = task.request.delivery_info["routing_key"]
        # Celery shows the headers of a message as they are.
        traceparent = getattr(task.request, TRACE_HEADER, None)
        node.carry_out(str(task.request.id), message, queue=queue, traceparent=traceparent)
