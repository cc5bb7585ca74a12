"""The names of one installation in Redis; two installations on one Redis share none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The priorities that the broker tells apart; 0 is read first.
PRIORITY_STEPS = (0, 3, 6, 9)


@dataclass(frozen=True)
class Names:
    """What an installation's keys, channels and queues are called.

    Without an id they are those of the first release, which had one set of them for everybody.
    """

    installation_id: str | None

    @property
    def prefix(self) -> str:
        """What every name begins with, a colon at its end."""
        return f"atelier-{self.installation_id}:" if self.installation_id else "atelier:"

    def key(self, *parts: object) -> str:
        """Return the name of a key or channel."""
        return self.prefix + ":".join(map(str, parts))

    def queue(self, route: str) -> str:
        """Return the name of a route's queue, which is the broker's list for priority 0."""
        if self.installation_id:
            return self.prefix + route
        return "atelier.jobs" if route in ("any", "") else f"atelier.jobs.{route}"

    def queue_lists(self, route: str) -> list[str]:
        """Return the broker's lists of a queue, one for each priority, in the order of reading."""
        return [self.queue_list(route, step) for step in PRIORITY_STEPS]

    def queue_list(self, route: str, step: int) -> str:
        """Return the name of one of them; `step` is one of `PRIORITY_STEPS`."""
        queue = self.queue(route)
        return f"{queue}{self.separator}{step}" if step else queue

    @property
    def separator(self) -> str:
        """What kombu puts between a queue's name and a priority, and cuts names at: no name may hold it."""
        return "/" if self.installation_id else ":"

    def broker_options(self) -> Mapping[str, str]:
        """Return the names that kombu uses beside the queues, as options of its transport.

        Its own `global_keyprefix` would not do: it is left out of some commands, among them the one that
        finds messages to deliver again.
        """
        if not self.installation_id:
            return {}
        return {
            "unacked_key": self.key("unacked"),
            "unacked_index_key": self.key("unacked_index"),
            "unacked_mutex_key": self.key("unacked_mutex"),
            "fanout_prefix": self.key("fanout", "{db}."),
        }

    @property
    def unacked(self) -> str:
        """The hash of messages that were taken and are not yet acknowledged."""
        return self.broker_options().get("unacked_key", "unacked")

    @property
    def unacked_index(self) -> str:
        """The sorted set of when those messages were taken."""
        return self.broker_options().get("unacked_index_key", "unacked_index")


#: The names of the first release. Its nodes still use them; a node that sees no identity is heard of here.
FIRST_NAMES = Names(None)
