"""What the node's Celery is given to read: messages of ours, and nothing that could end it.

Celery ends its worker, or reconnects without end, over an entry that is no message, and over a refusal of
Redis. Both are kept from it here, at the one place where a reply of Redis becomes an entry.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from queue import Empty
from time import monotonic
from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from shared.broker import TASK_NAME
from shared.clock import utc_now
from shared.errors import RedisUnavailable, UnreadableMessage
from shared.logs import get_logger
from shared.protocol import is_message_id
from shared.redis.set_aside import SetAside
from shared.trace import TRACE_HEADER, read_traceparent

#: After a refusal Redis is asked again so much later.
_PAUSE_SECONDS = 1.0
#: So long the node has to stop taking messages, when it has given one back.
_GIVEN_BACK_SECONDS = 0.5

_log = get_logger(__name__)


def read_entry(entry: bytes, *, queue: str) -> dict[str, Any]:
    """Return an entry of a queue as an envelope that Celery can handle: its id, job message and trace alone.

    Whatever else an entry carries (callbacks, time limits, another queue to go back to) is not ours.

    Raises:
        UnreadableMessage: when it is no message of ours; what is wrong in one sentence.
    """
    try:
        outer = json.loads(entry.decode())
    except UnicodeDecodeError:
        raise UnreadableMessage("it is no UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"it is no JSON: {error}") from None
    headers, properties = _object(outer, "headers"), _object(outer, "properties")
    if headers.get("task") != TASK_NAME:
        raise UnreadableMessage(f"its task is {headers.get('task')!r}, not {TASK_NAME}")
    message_id, tag = headers.get("id"), properties.get("delivery_tag")
    if not is_message_id(message_id) or not is_message_id(tag):
        raise UnreadableMessage("its id or its delivery tag is none of ours")
    if outer.get("content-type") != "application/json":
        raise UnreadableMessage(f"its content type is {outer.get('content-type')!r}, not application/json")
    priority = properties.get("priority")
    return envelope(
        message_id,
        _read_body(outer.get("body"), properties.get("body_encoding")),
        queue=queue,
        tag=tag,
        priority=priority if isinstance(priority, int) and 0 <= priority <= 9 else 0,
        traceparent=read_traceparent(headers.get(TRACE_HEADER)),
    )


def envelope(
    message_id: str,
    message: Mapping[str, Any],
    *,
    queue: str,
    tag: str,
    priority: int = 0,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """Return the entry for a job message, as kombu writes it; with its trace, if it has one."""
    traced = {} if traceparent is None else {TRACE_HEADER: traceparent}
    links = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[], {"message": message}, links]).encode()
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py",
            "task": TASK_NAME,
            "id": message_id,
            "root_id": message_id,
            "parent_id": None,
            "ignore_result": True,
            **traced,
        },
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": priority,
            "body_encoding": "base64",
            "delivery_tag": tag,
        },
    }


def _object(outer: object, name: str) -> Mapping[str, Any]:
    if not isinstance(outer, dict):
        raise UnreadableMessage("it is no JSON object")
    found = outer.get(name)
    if not isinstance(found, dict):
        raise UnreadableMessage(f"it has no {name}")
    return found


def _read_body(body: object, encoding: object) -> dict[str, Any]:
    if not isinstance(body, str) or encoding != "base64":
        raise UnreadableMessage(f"its body is no text in base64, but {type(body).__name__} in {encoding!r}")
    try:
        words = json.loads(base64.b64decode(body, validate=True))
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"its body cannot be read: {error}") from None
    try:
        arguments, named, *_ = words
        message = {**named}.pop("message")
    except (ValueError, TypeError, KeyError):
        raise UnreadableMessage("its body holds no job message") from None
    if arguments != [] or not isinstance(message, dict):
        raise UnreadableMessage("its body holds no job message")
    return message


class Inbox:
    """Where the entries of a node's queues come in. `refusal` is why Redis hands out none at present."""

    def __init__(
        self,
        set_aside: SetAside,
        *,
        queues: Mapping[str, str],
        is_first: Callable[[], bool] = lambda: True,
    ) -> None:
        """Prepare to read from some lists, each with the queue that it belongs to, in the order of `queues`.

        `is_first`: what is given back now is to be taken before all that waits.
        """
        self.is_first = is_first
        self.refusal: str | None = None
        self._set_aside = set_aside
        self._queues = queues
        self._rests_until = float("-inf")
        self._owed: deque[Callable[[kombu_redis.QoS], None]] = deque()

    def in_order(self, active: Collection[str]) -> list[str]:
        """Return those queues that are active, the first to be taken from first."""
        return [queue for queue in dict.fromkeys(self._queues.values()) if queue in active]

    @property
    def is_resting(self) -> bool:
        """Whether Redis is not asked for a moment."""
        return monotonic() < self._rests_until

    def rest(self, seconds: float) -> None:
        """Do not ask Redis for so long."""
        self._rests_until = monotonic() + seconds

    def take(self, read: Callable[[], Any]) -> tuple[str, bytes] | None:
        """Return what Redis has handed out: the queue it belongs to and the entry; None when it is nothing.

        `read` returns Redis' reply to the question for an entry.
        """
        try:
            reply = read()
        except redis.ResponseError as error:
            self.refuse(error)
            return None
        self.refusal = None
        if not reply:
            return None
        source, entry = reply[0].decode(), bytes(reply[1])
        queue = self._queues.get(source, source)
        try:
            return queue, json.dumps(read_entry(entry, queue=queue)).encode()
        except UnreadableMessage as error:
            self.put_aside(entry, reason=error.detail, source=source)
            return None

    def refuse(self, error: Exception) -> None:
        """Note that Redis refuses, and leave it alone for a moment."""
        if self.refusal is None:
            _log.error("broker_refuses", reason=str(error))
        self.refusal = f"Redis hands out no jobs: {error}"
        self.rest(_PAUSE_SECONDS)

    def put_aside(self, entry: bytes, *, reason: str, source: str) -> None:
        """Set an entry aside; while Redis does not take it, it is kept here."""
        text, now = entry.decode(errors="backslashreplace"), utc_now()
        _log.error("entry_set_aside", reason=reason, source=source, entry=text[:200])
        self.owe(lambda _qos: self._set_aside.put(text, reason=reason, source=source, now=now))

    def owe(self, act: Callable[[kombu_redis.QoS], None]) -> None:
        """Do something in Redis as soon as it allows it; before that, nothing more is taken."""
        self._owed.append(act)

    def settle(self, qos: kombu_redis.QoS) -> bool:
        """Do what is owed, and return whether nothing is left of it."""
        while self._owed:
            try:
                self._owed[0](qos)
            except (redis.RedisError, OSError, RedisUnavailable) as error:
                self.refuse(error)
                return False
            self._owed.popleft()
        return True


class _NamedRedis(type):
    """The class of a class that is called as in a URL: so Celery tells what it is connected to."""

    def __str__(cls) -> str:
        return "redis"


def _push(qos: kombu_redis.QoS, queue: str, text: str) -> None:
    with qos.channel.conn_or_acquire() as client:
        client.rpush(queue, text)


def make_transport(inbox: Inbox) -> type[kombu_redis.Transport]:
    """Return kombu's transport for Redis with `inbox` between Redis and Celery."""

    class Client(redis.Redis):
        """The client whose replies become messages."""

        def __init__(self, *, channel: Channel, **options: Any) -> None:  # noqa: ANN401 - redis-py's
            super().__init__(**options)
            self._channel = channel

        def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:  # noqa: ANN401
            def read() -> Any:  # noqa: ANN401 - whatever Redis replies
                return super(Client, self).parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]

            if command_name != "BRPOP":
                return read()
            taken = inbox.take(read)
            if taken is None:
                return None
            queue, entry = taken
            # kombu cuts the priority off, which the list for the usual one does not have.
            return f"{queue}{self._channel.sep}0".encode(), entry

    class QoS(kombu_redis.QoS):  # type: ignore[misc]
        """What the node holds of the broker's messages."""

        def can_consume(self) -> bool:
            """Whether Redis may be asked for one more message."""
            return not inbox.is_resting and inbox.settle(self) and bool(super().can_consume())

        def append(self, message: Any, delivery_tag: str) -> None:  # noqa: ANN401 - kombu's message
            """Note in Redis that a message is held; one that cannot be noted goes back."""
            try:
                super().append(message, delivery_tag)
            except redis.ResponseError as error:
                inbox.refuse(error)
                queue, text = message.delivery_info["routing_key"], json.dumps(message._raw)
                inbox.owe(lambda qos: _push(qos, queue, text))
                raise Empty from error

        def ack(self, delivery_tag: str) -> None:
            """Let a message go."""
            self._settle(delivery_tag, lambda qos: qos._remove_from_indices(delivery_tag).execute())

        def reject(self, delivery_tag: str, requeue: bool = False) -> None:
            """Give a message back to its queue, or let it go."""
            if not requeue:
                self.ack(delivery_tag)
                return
            last = not inbox.is_first()
            self._settle(delivery_tag, lambda qos: qos.restore_by_tag(delivery_tag, leftmost=last))
            inbox.rest(_GIVEN_BACK_SECONDS)

        def _settle(self, delivery_tag: str, act: Callable[[kombu_redis.QoS], None]) -> None:
            # Done with here whether Redis hears of it or not: kombu would count the message as held for ever,
            # and a node that may hold one would never take another.
            inbox.owe(act)
            inbox.settle(self)
            self._quick_ack(delivery_tag)

    class Channel(kombu_redis.Channel):  # type: ignore[misc]
        """A channel with the two of them."""

        def _update_queue_cycle(self) -> None:
            # kombu holds them as a set, in whatever order.
            self._queue_cycle.update(inbox.in_order(self.active_queues))

        def _get_client(self) -> Callable[..., redis.Redis]:
            return partial(Client, channel=self)

    Channel.QoS = QoS

    class Transport(kombu_redis.Transport, metaclass=_NamedRedis):  # type: ignore[misc]
        """A transport of such channels."""

    Transport.Channel = Channel
    return Transport
