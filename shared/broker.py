"""The broker: names and settings that both ends of Celery share, and the sending end."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from shared.errors import RedisUnavailable
from shared.protocol import JobMessage
from shared.redis import Coordination
from shared.redis.connection import plain_url, redis_errors, tls_options
from shared.redis.names import Names
from shared.settings import Settings

TASK_NAME = "atelier.stylize"
#: Where jobs wait that any node may take.
DEFAULT_ROUTE = "any"
_PRIORITY_STEPS = [0, 3, 6, 9]
#: Longer than the longest job: after a crash the rescuer starts the next attempt, not the broker.
_VISIBILITY_SECONDS = 43_200


def broker_config(settings: Settings, names: Names) -> dict[str, Any]:
    """Return the Celery settings that both ends have to agree on."""
    queue = names.queue(DEFAULT_ROUTE)
    return {
        "broker_url": plain_url(settings),
        # Without a word of it kombu would speak TLS to whoever answers.
        "broker_use_ssl": tls_options(settings) or None,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": queue,
        "task_queues": [Queue(queue)],
        "task_create_missing_queues": False,
        "visibility_timeout": _VISIBILITY_SECONDS,
        "result_backend_transport_options": {"visibility_timeout": _VISIBILITY_SECONDS},
        "broker_transport_options": {
            "visibility_timeout": _VISIBILITY_SECONDS,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "health_check_interval": 25,
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "priority_steps": _PRIORITY_STEPS,
            "queue_order_strategy": "priority",
            "sep": ":",
            **names.broker_options(),
        },
    }


class Dispatch:
    """The sending end of the queue, which can also list the waiting messages."""

    def __init__(self, settings: Settings, coordination: Coordination) -> None:
        self._client, self._names = coordination.client, coordination.names
        self._queue = self._names.queue(DEFAULT_ROUTE)
        self._app = Celery("atelier-producer", set_as_current=False)
        self._app.conf.update(broker_config(settings, self._names))

    def send(self, message: JobMessage) -> None:
        """Put a message into the queue.

        Raises:
            RedisUnavailable: when it could not be sent; it may be sent again at any time.
        """
        try:
            with redis_errors():
                self._app.send_task(
                    TASK_NAME,
                    kwargs={"message": message.to_json()},
                    task_id=message.message_id,
                    queue=self._queue,
                    retry=False,
                )
        except OperationalError as error:
            raise RedisUnavailable(f"the broker does not answer: {error}") from error

    def waiting_ids(self, *, held_since: datetime) -> set[str]:
        """Return the ids of messages in the queue, and of those that a worker took since a moment.

        The job of a message that was taken earlier has a lease, or its worker is dead.

        Raises:
            RedisUnavailable: when Redis does not answer.
        """
        with redis_errors():
            texts = [
                text
                for step in _PRIORITY_STEPS
                for text in self._client.lrange(self._queue if step == 0 else f"{self._queue}:{step}", 0, -1)
            ]
            tags: Any = self._client.zrangebyscore(self._names.unacked_index, held_since.timestamp(), "+inf")
            held = self._client.hmget(self._names.unacked, tags) if tags else []
        envelopes = [json.loads(text) for text in texts] + [json.loads(text)[0] for text in held if text]
        return {envelope["headers"]["id"] for envelope in envelopes}

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
