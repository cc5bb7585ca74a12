"""The forms in which the harness is run; each is a command of its own with a seed of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.chaos.faults import FAULTS, OF_A_BUCKET, OF_A_FOLDER
from tests.chaos.pace import Pace
from tests.chaos.plants import PLANTS
from tests.chaos.run import Plan

_EVERY = tuple(kind for kind in FAULTS if kind not in OF_A_BUCKET)


def make_form(name: str, seed: int, *, plant: str = "") -> Plan:
    """Return the plan of a form; the bug of a planted one is brought out by its own faults."""
    plan = FORMS[name](seed)
    if not plant:
        return plan
    known = PLANTS[plant]
    return replace(plan, kinds=known.kinds, faults=known.faults, plant=plant)


def in_a_bucket(plan: Plan) -> Plan:
    """Return the plan with the storage in a bucket, and with the faults of one in place of a folder's."""
    kinds = tuple(kind for kind in plan.kinds if kind not in OF_A_FOLDER)
    if len(kinds) < len(plan.kinds):
        kinds += tuple(sorted(OF_A_BUCKET))
    count = len(kinds) if plan.faults == len(plan.kinds) else plan.faults
    return replace(plan, kinds=kinds, faults=count, has_bucket=True)


def _short(seed: int) -> Plan:
    """Every kind of fault once, in three to four minutes."""
    return Plan(
        seed=seed, jobs=60, workers=4, faults=len(_EVERY), kinds=_EVERY, gap_seconds=(0.2, 1.2),
        engine="sleeping", steps=20, step_seconds=0.08, backlog=12, pace=Pace(), minutes=12, wishes=1.3,
    )  # fmt: skip


def _volume(seed: int) -> Plan:
    """Ten thousand jobs on sixty workers, and Redis wiped when half of them are done."""
    return Plan(
        seed=seed, jobs=10_000, workers=60, faults=60, kinds=_EVERY, gap_seconds=(6, 14),
        engine="sleeping", steps=8, step_seconds=0.45, backlog=600,
        pace=Pace(lease=10, renew=2, rescue=1, dispatch=0.2, stall=30, worker=60), minutes=90, wishes=0.3,
        wipe_in_the_middle=True,
    )  # fmt: skip


def _real(seed: int) -> Plan:
    """Two hundred faults while the real engine works on pictures of 48 px."""
    return Plan(
        seed=seed, jobs=150, workers=3, faults=200, kinds=_EVERY, gap_seconds=(0.4, 2.4),
        engine="real", steps=20, step_seconds=0, backlog=8,
        pace=Pace(lease=4, renew=0.6, rescue=0.5, stall=20, worker=30), minutes=60,
    )  # fmt: skip


def _defaults(seed: int) -> Plan:
    """Lost workers only, with the leases that the settings have by default: this is slow."""
    return Plan(
        seed=seed, jobs=12, workers=6, faults=16, kinds=("kill_child", "kill_node", "make_zombie"),
        gap_seconds=(1, 6), engine="sleeping", steps=120, step_seconds=0.25, backlog=6,
        pace=Pace(lease=30, renew=5, rescue=3, dispatch=0.2, stall=120, worker=30), minutes=30, wishes=0,
    )  # fmt: skip


def _planted(seed: int) -> Plan:
    """A few jobs, and the faults that bring out the planted bug."""
    return Plan(
        seed=seed, jobs=24, workers=3, faults=0, kinds=(), gap_seconds=(0.2, 0.8),
        engine="sleeping", steps=30, step_seconds=0.05, backlog=8, pace=Pace(), minutes=2, wishes=1.6,
    )  # fmt: skip


FORMS: dict[str, Callable[[int], Plan]] = {
    "short": _short, "volume": _volume, "real": _real, "defaults": _defaults, "planted": _planted,
}  # fmt: skip
