"""What faults happen to: the cluster, its load, and what was done to them so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import time
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.load import Load
from tests.chaos.process import Process


@dataclass(frozen=True)
class Loss:
    """A lease that a fault took away from a node, and when."""

    at: float
    node: str
    job_id: str
    attempt: int


@dataclass
class Injection:
    """One fault as it was injected; moments are seconds of a clock that never jumps."""

    kind: str
    at: float
    until: float
    losses: list[Loss]

    @property
    def node(self) -> str:
        """The node that lost its leases; empty when none did."""
        return self.losses[0].node if self.losses else ""


@dataclass
class Scene:
    """What faults happen to."""

    cluster: Cluster
    load: Load
    chance: Random
    #: The keys of checkpoints that were damaged.
    damaged: set[str] = field(default_factory=set)
    #: What a fault itself found broken.
    breaches: list[str] = field(default_factory=list)
    _left: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)

    def busy_node(self) -> Process:
        """A node that holds a lease, if one does, else any; the light one has faults of its own."""
        busy = self.cluster.holders()
        others = [node for node in self.cluster.nodes if node is not self.cluster.light]
        return self.chance.choice([node for node in others if node.name in busy] or others)

    def next_of(self, choices: Sequence[Any]) -> Any:
        """Return one of these by chance; each comes once before any comes twice."""
        left = self._left.setdefault(tuple(choices), [])
        if not left:
            left += self.chance.sample(choices, len(choices))
        return left.pop()

    def losses_of(self, nodes: Iterable[Process]) -> list[Loss]:
        """What these nodes hold now."""
        held, now = self.cluster.holders(), time()
        return [Loss(now, node.name, *lease) for node in nodes for lease in held.get(node.name, [])]


Fault = Callable[[Scene], list[Loss]]
