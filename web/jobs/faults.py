"""The faults of nodes: a job is handed back when its node may be at fault, and fails when it is the job.

The row remembers which nodes handed it back and why, until somebody asks for the job anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    CheckpointInvalid,
    EngineFailed,
    OutOfMemory,
    WorkerCrashLoop,
)

#: As often one node alone may hand a job back, while no other could take it.
MOST_ALONE = 3
#: Files that a node does not see may be there for others; control looks for them itself.
OF_FILES = frozenset({ArtifactMissing.code, ArtifactCorrupt.code, CheckpointInvalid.code})
#: At one node another try changes nothing: the memory is what it is, or several processes were lost already.
_SURE = frozenset({OutOfMemory.code, WorkerCrashLoop.code})
_KEY = "faults"
_MOST_KEPT = 10
_ERROR_KEYS = ("code", "title", "detail", "retryable", "suggestion")


@dataclass(frozen=True)
class NodeFault:
    """Why a node handed a job back: the error as a job would carry it."""

    worker: str
    code: str
    detail: str
    error: Mapping[str, Any]

    def to_json(self) -> dict[str, str]:
        """Return what the row keeps of it."""
        return {"worker": self.worker, "code": self.code, "detail": self.detail}


def read_fault(data: Mapping[str, Any]) -> NodeFault | None:
    """Return the fault in the data of a report that gives a job back, if there is one."""
    fault = data.get("fault")
    if not isinstance(fault, Mapping):
        return None
    standing = EngineFailed().to_json()
    error = {key: fault.get(key, standing[key]) for key in _ERROR_KEYS}
    return NodeFault(str(fault.get("worker")), str(error["code"]), str(error["detail"]), error)


def earlier_faults(metrics: object) -> list[dict[str, str]]:
    """Return the faults that a job's metrics remember, oldest first; what cannot be read is passed over."""
    found = metrics.get(_KEY) if isinstance(metrics, Mapping) else None
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and _is_told(one)]


def _is_told(fault: Mapping[str, Any]) -> bool:
    return isinstance(fault.get("worker"), str) and isinstance(fault.get("code"), str)


def with_fault(metrics: object, fault: NodeFault) -> dict[str, Any]:
    """Return a job's metrics with one more fault."""
    known = dict(metrics) if isinstance(metrics, Mapping) else {}
    return {**known, _KEY: [*earlier_faults(metrics), fault.to_json()][-_MOST_KEPT:]}


def without_faults(metrics: object) -> dict[str, Any]:
    """Return the metrics of a job that somebody asks for anew."""
    known = dict(metrics) if isinstance(metrics, Mapping) else {}
    return {key: value for key, value in known.items() if key != _KEY}


def decide_fault(
    fault: NodeFault, earlier: Sequence[Mapping[str, str]], *, has_others: bool, damage: str | None = None
) -> dict[str, Any] | None:
    """Decide about a fault: return the error that the job fails with, or None when another node is to try.

    Args:
        fault: What the node tells.
        earlier: The faults before this one.
        has_others: Whether another node is alive that takes jobs.
        damage: What is wrong with the job's own files as control itself sees them; None when nothing is.
    """
    if damage is not None:
        return {**fault.error, "detail": f"{fault.detail} ({damage})"}
    same = [one for one in earlier if one["code"] == fault.code]
    others = sorted({one["worker"] for one in same} - {fault.worker})
    if others:
        return {
            **fault.error,
            "detail": f"{fault.detail}; the same at {' and '.join([*others, fault.worker])}",
        }
    times = 1 + len(same)
    most_alone = 1 if fault.code in _SURE else MOST_ALONE
    if times >= most_alone and not has_others:
        often = "" if times == 1 else f"{times} times "
        detail = f"{fault.detail}; {often}at {fault.worker}, and no other worker takes jobs"
        return {**fault.error, "detail": detail}
    # A node that works well is not stopped by it, and might try for as long as the others are busy.
    if times >= MOST_ALONE and fault.code == OutOfMemory.code:
        return {**fault.error, "detail": f"{fault.detail}; {times} times at {fault.worker}"}
    return None
