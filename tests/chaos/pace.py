"""How quick everything in a run is; all in seconds. What the service promises is counted in these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """The settings of the same names, short where a run would otherwise only wait for them."""

    lease: float = 2.5
    renew: float = 0.4
    rescue: float = 0.5
    dispatch: float = 0.1
    #: After this long without a step a worker counts as hung.
    stall: float = 4.0
    #: A node beats every 5 s and counts as alive for this long.
    worker: float = 15.0
