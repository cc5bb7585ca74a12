"""Planted bugs of how nodes are judged, and of what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kombu.transport.redis import Transport

from shared.redis.names import Names
from worker.deliveries import Inbox

if TYPE_CHECKING:
    from web.db.models import Job


def blame_the_job() -> None:
    """Let a job fail as soon as one node has failed it."""
    from web.control import blame

    blame.decide_fault = lambda fault, *_, **__: dict(fault.error)


def never_rest() -> None:
    """Let a node that fails job after job take the next one."""
    from worker.health import Health

    Health.fail = lambda self, error: self._node_state.add_fault()  # type: ignore[method-assign]


def hold_for_ever() -> None:
    """Count a message as held as long as Redis has not heard that it is done with."""
    from kombu.transport.redis import QoS

    from worker import node

    make_transport = node.make_transport

    def make(inbox: Inbox) -> type[Transport]:
        transport = make_transport(inbox)
        transport.Channel.QoS.ack = QoS.ack
        return transport

    node.make_transport = make


def forget_the_light_node() -> None:
    """Never look for a fast job whose lease is lost."""
    from shared.broker import FAST_ROUTE
    from web.control.rescuer import Rescuer

    rescue_one = Rescuer._rescue_one

    def forgetful(self: Rescuer, seen: Job, *rest: Any) -> bool:
        return seen.route != FAST_ROUTE and rescue_one(self, seen, *rest)

    Rescuer._rescue_one = forgetful  # type: ignore[method-assign]


def keep_replaced() -> None:
    """Let a draft be made although another one has taken its place."""
    from web.jobs import drafts

    drafts.cancel_replaced = lambda *_, **__: None


def share_names() -> None:
    """Call things in Redis the same in every installation."""
    Names.prefix = property(lambda self: "atelier:")  # type: ignore[method-assign, assignment]


def share_stream() -> None:
    """Call the stream of reports the same in every installation."""
    key = Names.key

    def shared_key(self: Names, *parts: object) -> str:
        return "atelier:events" if parts == ("events",) else key(self, *parts)

    Names.key = shared_key  # type: ignore[method-assign]


def share_unacked() -> None:
    """Leave kombu the names that it gives to messages that are worked on."""

    def no_options(self: Names) -> Mapping[str, str]:
        return {}

    Names.broker_options = no_options  # type: ignore[method-assign]


SHARED: dict[str, Callable[[], None]] = {
    "names": share_names, "stream": share_stream, "unacked": share_unacked,
}  # fmt: skip
