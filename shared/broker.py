"""The broker: names and settings that both ends of Celery share, and the sending end."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, TypeVar

import redis
from celery import Celery
from kombu import Queue
from kombu.serialization import dumps

from shared.logs import get_logger
from shared.options import Method
from shared.protocol import JobMessage, is_message_id, new_id
from shared.redis import Coordination
from shared.redis.connection import broker_url, is_wrong_type, redis_errors, tls_options
from shared.redis.names import PRIORITY_STEPS, Names
from shared.settings import Settings
from shared.status import DEFAULT_PRIORITY
from shared.trace import TRACE_HEADER

TASK_NAME = "atelier.stylize"
#: Where jobs wait for the optimisation, which every node of the first releases serves.
DEFAULT_ROUTE = "any"
#: Where drafts and other jobs of the fast method wait.
FAST_ROUTE = "fast"
#: The routes, and which methods a node has to serve to take what waits there. A node that takes from several
#: begins with the first: what is done in a second does not wait behind what takes minutes.
ROUTES: Mapping[str, frozenset[Method]] = MappingProxyType(
    {
        FAST_ROUTE: frozenset({Method.FAST}),
        "both": frozenset({Method.GATYS, Method.FAST}),
        DEFAULT_ROUTE: frozenset({Method.GATYS}),
    }
)
#: Longer than the longest job: after a crash the rescuer starts the next attempt, not the broker.
_VISIBILITY_SECONDS = 43_200
#: Nodes hold one message each; those of dead nodes stay until the broker gives them back.
_MOST_HELD = 5000
#: The window has far fewer; what is beyond is seen later.
_MOST_READ = 10_000
_DIGEST_DIGITS = 16
_T = TypeVar("_T")
_log = get_logger(__name__)


def routes_of(methods: Collection[Method], *, numerics: str | None = None) -> list[str]:
    """Return the routes that a node takes from which serves these methods, in that order.

    Those of its `numerics` come before those that are anybody's: what was begun is gone on with first.
    """
    served = [route for route, needed in ROUTES.items() if needed <= set(methods)]
    if numerics is None:
        return served
    fast = [route for route in served if route == FAST_ROUTE]
    others = [route for route in served if route != FAST_ROUTE]
    return [*fast, *(route_at(route, numerics) for route in others), *others]


def route_at(route: str, numerics: str | None) -> str:
    """Return the route of those jobs of a route that only nodes of some numerics are to go on with.

    Without numerics it is the route itself.
    """
    if numerics is None:
        return route
    return f"{route}@{hashlib.sha256(numerics.encode()).hexdigest()[:_DIGEST_DIGITS]}"


def route_for(methods: Collection[Method]) -> str:
    """Return the route of a job that needs all of these methods."""
    return next(route for route, needed in ROUTES.items() if needed == set(methods))


def list_of(route: str, priority: int) -> int:
    """Return in which of the lists of a route's queue a job waits, as one of `PRIORITY_STEPS`.

    Nodes read the first lists of all their queues before the second of any, so what is urgent does not wait
    behind what is not, in whichever queue that is. Within a list the dispatcher keeps the order. The fast
    method takes a second, and goes first; so does what was handed back (`Dispatch.send_first`).
    """
    if route == FAST_ROUTE:
        return PRIORITY_STEPS[0]
    return next(step for least, step in _LEAST_OF_LISTS if priority >= least or step == PRIORITY_STEPS[-1])


#: The lowest priority in each list.
_LEAST_OF_LISTS = tuple(zip((8, DEFAULT_PRIORITY, 3, 0), PRIORITY_STEPS, strict=True))


def broker_config(settings: Settings, names: Names) -> dict[str, Any]:
    """Return the Celery settings that both ends have to agree on."""
    queue = names.queue(DEFAULT_ROUTE)
    return {
        "broker_url": broker_url(settings),
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
            "priority_steps": list(PRIORITY_STEPS),
            "queue_order_strategy": "priority",
            "sep": names.separator,
            **names.broker_options(),
        },
    }


@dataclass(frozen=True)
class Entry:
    """One entry of a queue in the broker; without an id it is none of ours, and `fault` says why."""

    key: str
    text: str
    message_id: str | None
    fault: str = ""


@dataclass(frozen=True)
class BrokerView:
    """What is in the broker: the entries that wait, the next to be taken first, and what nodes hold."""

    entries: Sequence[Entry]
    #: The messages that nodes have taken and not acknowledged, with the moment when they took them.
    held: Mapping[str, datetime]
    #: Tags and texts of what nodes hold, or held, and what is no message.
    held_junk: Mapping[str, str]

    @property
    def waiting(self) -> set[str]:
        """The ids of the messages that wait."""
        return {entry.message_id for entry in self.entries if entry.message_id is not None}

    def held_about(self, now: datetime, span: timedelta) -> set[str]:
        """Return the ids of messages that a node took about now, by its own clock: at most a span away.

        The job of one that was taken earlier has a lease, or its node is dead. One that was taken in the
        future was taken by a node whose clock is wrong, nobody knows when.
        """
        return {message_id for message_id, taken_at in self.held.items() if abs(taken_at - now) <= span}


class Dispatch:
    """The sending end of the queues: it puts messages in, looks at what waits, and takes some out.

    Entries are written as kombu does, but by our own connection: many at once, and at either end. Every
    method raises `RedisUnavailable` when Redis does not answer; what was sent may be sent again at any time.
    """

    def __init__(self, settings: Settings, coordination: Coordination) -> None:
        self._client, self._names = coordination.client, coordination.names
        self._app = Celery("atelier-producer", set_as_current=False)
        self._app.conf.update(broker_config(settings, self._names))

    def send(
        self, messages: Sequence[JobMessage], *, route: str = DEFAULT_ROUTE, step: int = PRIORITY_STEPS[0]
    ) -> None:
        """Put messages behind all that wait in a list of a route's queue, the first of them first."""
        if messages:
            key = self._names.queue_list(route, step)
            texts = [self._entry(message, route, step) for message in messages]
            self._ask(lambda: self._client.lpush(key, *texts))

    def insert(self, messages: Sequence[tuple[JobMessage, Entry]], *, route: str, step: int) -> None:
        """Put each message right before an entry of that list; first of all, where a node has taken it."""
        if not messages:
            return
        key = self._names.queue_list(route, step)
        texts = [(self._entry(message, route, step), entry.text) for message, entry in messages]

        def push() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for text, before in texts:
                # Nodes take from the right end.
                pipeline.linsert(key, "AFTER", before, text)
            lengths = pipeline.execute()
            # What an entry stood behind was taken before it.
            taken = [text for (text, _), length in zip(texts, lengths, strict=True) if length <= 0]
            if taken:
                self._client.rpush(key, *reversed(taken))

        self._ask(push)

    def send_first(
        self, messages: Sequence[JobMessage], *, instead: Sequence[Entry] = (), route: str = DEFAULT_ROUTE
    ) -> None:
        """Put messages before all that wait in the queue of a route, in the place of some entries there.

        They are in the first of its lists.
        """
        if not messages:
            return
        queue, step = self._names.queue(route), PRIORITY_STEPS[0]
        # Nodes take from the right end.
        texts = [self._entry(message, route, step) for message in reversed(messages)]

        def push() -> None:
            pipeline = self._client.pipeline(transaction=True)
            for entry in instead:
                pipeline.lrem(entry.key, -1, entry.text)
            pipeline.rpush(queue, *texts)
            pipeline.execute()

        self._ask(push)

    def look(self, routes: Collection[str] = tuple(ROUTES)) -> BrokerView:
        """Return what waits in the queues of routes, and what nodes hold."""
        keys = [key for route in routes for key in self._names.queue_lists(route)]

        def read() -> list[Any]:
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.lrange(key, -_MOST_READ, -1)
            pipeline.zrange(self._names.unacked_index, 0, _MOST_HELD - 1, desc=True, withscores=True)
            # Not for its number: nodes fail at a key of another type, so it is to be noticed here.
            pipeline.hlen(self._names.unacked)
            return list(pipeline.execute())

        *lists, tags, _ = self._ask(read)
        held: Any = []
        if tags:
            held = self._ask(lambda: self._client.hmget(self._names.unacked, [tag for tag, _ in tags]))
        entries = [
            _read_entry(key, text) for key, texts in zip(keys, lists, strict=True) for text in reversed(texts)
        ]
        taken: dict[str, datetime] = {}
        junk: dict[str, str] = {}
        for (tag, score), text in zip(tags, held, strict=True):
            if text is None:
                continue
            message_id = _held_id(text)
            if message_id is None:
                junk[tag] = text
            else:
                taken.setdefault(message_id, _moment(score))
        return BrokerView(entries, taken, junk)

    def remove(self, entries: Sequence[Entry]) -> None:
        """Take entries out of their queues; one that a node has taken meanwhile is left to it."""
        if entries:

            def remove() -> None:
                pipeline = self._client.pipeline(transaction=False)
                for entry in entries:
                    pipeline.lrem(entry.key, 1, entry.text)
                pipeline.execute()

            self._ask(remove)

    def remove_held(self, tags: Sequence[str]) -> None:
        """Forget what is held under these tags: nodes that mean to deliver it again would fail."""
        if tags:
            self._ask(lambda: self._client.hdel(self._names.unacked, *tags))
            self._ask(lambda: self._client.zrem(self._names.unacked_index, *tags))

    def close(self) -> None:
        """Close the connections."""
        self._app.close()

    def _entry(self, message: JobMessage, route: str, step: int) -> str:
        """Return a message as kombu writes it into a list, and back into it when a node gives it back."""
        task = self._app.amqp.as_task_v2(
            message.message_id, TASK_NAME, kwargs={"message": message.to_json()}, ignore_result=None
        )
        content_type, encoding, body = dumps(task.body, serializer="json")
        traced = {} if message.traceparent is None else {TRACE_HEADER: message.traceparent}
        headers = {**task.headers, **traced}
        properties = {
            **task.properties,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": self._names.queue(route)},
            "priority": step,
            "body_encoding": "base64",
            "delivery_tag": new_id(),
        }
        return json.dumps(
            {
                "body": base64.b64encode(body.encode()).decode(),
                "content-encoding": encoding,
                "content-type": content_type,
                "headers": headers,
                "properties": properties,
            }
        )

    def _ask(self, question: Callable[[], _T]) -> _T:
        with redis_errors():
            try:
                return question()
            except redis.ResponseError as error:
                if not is_wrong_type(error):
                    raise
            self._move_strangers()
            return question()

    def _move_strangers(self) -> None:
        """Move keys aside that have our names and are of another type than ours."""
        expected = {self._names.unacked: "hash", self._names.unacked_index: "zset"}
        expected |= {key: "list" for route in ROUTES for key in self._names.queue_lists(route)}
        for key, kind in expected.items():
            found = str(self._client.type(key))
            if found not in (kind, "none"):
                _log.error("key_is_no_queue", key=key, type=found, moved_to=f"{key}:damaged")
                self._client.rename(key, f"{key}:damaged")


def _read_entry(key: str, text: str) -> Entry:
    try:
        found = json.loads(text)["headers"]["id"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        return Entry(key, text, None, f"it is no message: {type(error).__name__}: {error}")
    if not is_message_id(found):
        return Entry(key, text, None, "its id is none of ours")
    return Entry(key, text, found)


def _held_id(text: str) -> str | None:
    """Return the id of a message that a node holds; None when it is none, or would not be delivered again."""
    try:
        envelope, _exchange, _route = json.loads(text)
        found = envelope["headers"]["id"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None
    return found if is_message_id(found) else None


def _moment(score: float) -> datetime:
    """Return the moment that a score tells; one that is none is long past."""
    try:
        return datetime.fromtimestamp(score, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
