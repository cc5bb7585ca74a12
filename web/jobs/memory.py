"""The memory that a new job would need, and its refusal where no worker that is known could hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import InsufficientMemory, PictureTooNarrow
from shared.memory import (
    DeviceKind,
    Seat,
    Size,
    gigabytes,
    kind_of,
    largest_side,
    smallest_size,
    surely_exceeds,
)
from shared.options import Method, StyleOptions
from shared.redis.workers import WorkerBeat

#: What is reckoned for while nobody is known who would carry the job out.
_USUAL_WEIGHTS = "imagenet"


@dataclass(frozen=True)
class MemoryNeed:
    """What a worker's process would take with a job, and the most that it could; bytes.

    Both are of the worker that could hold the job best. `available_bytes` is None where none says how much
    memory it has.
    """

    needed_bytes: int | None
    available_bytes: int | None = None
    #: The refusal that is due, if one is.
    refusal: InsufficientMemory | None = None


@dataclass(frozen=True)
class _Candidate:
    seat: Seat
    worker_id: str
    there_bytes: int

    def needed_bytes(self, options: StyleOptions, sizes: Mapping[str, Size]) -> int | None:
        job = self.seat.job_bytes(options, sizes["content"], sizes["style"])
        return None if job is None else self.seat.process_bytes + job

    def holds(self, options: StyleOptions, sizes: Mapping[str, Size]) -> bool:
        needed = self.needed_bytes(options, sizes)
        return needed is None or needed <= self.there_bytes


def decide_memory(
    options: StyleOptions, sizes: Mapping[str, Size], beats: Sequence[WorkerBeat] | None
) -> MemoryNeed:
    """Decide whether a new job is refused, since no worker could hold it.

    It is not while there is a worker that would take it and does not say how much memory it has, nor while
    nobody would take it: another one may come.

    Args:
        options: The job's.
        sizes: Of `content` and `style`, (width, height) in px, at least as they are worked on.
        beats: What the workers say; None while they cannot be asked.
    """
    able = [beat for beat in beats or () if beat.serves(options.methods)]
    known = [found for beat in able if (found := _candidate(beat)) is not None]
    needs = [(one, needed) for one in known if (needed := one.needed_bytes(options, sizes)) is not None]
    if not needs:
        usual = Seat(DeviceKind.CPU, _USUAL_WEIGHTS, frozenset(options.methods))
        job = usual.job_bytes(options, sizes["content"], sizes["style"])
        return MemoryNeed(None if job is None else usual.process_bytes + job)
    best, needed = max(needs, key=lambda pair: pair[0].there_bytes / pair[1])
    need = MemoryNeed(needed, best.there_bytes)
    if len(needs) < len(able) or not surely_exceeds(needed, best.there_bytes):
        return need
    return MemoryNeed(needed, best.there_bytes, _refusal(options, sizes, best, needed, known))


def _candidate(beat: WorkerBeat) -> _Candidate | None:
    kind = kind_of(beat.device)
    if kind is None or beat.job_memory_bytes is None:
        return None
    return _Candidate(
        Seat(kind, beat.weights, frozenset(beat.methods)), beat.worker_id, beat.job_memory_bytes
    )


def _refusal(
    options: StyleOptions,
    sizes: Mapping[str, Size],
    best: _Candidate,
    needed: int,
    known: Sequence[_Candidate],
) -> InsufficientMemory:
    def fits(size: int) -> bool:
        try:
            smaller = options.model_copy(update={"size": size})
            return any(one.holds(smaller, sizes) for one in known)
        except PictureTooNarrow:
            return False

    # No style is too narrow for the fast method.
    parts = ("content", "style") if Method.GATYS in options.methods else ("content",)
    largest = largest_side(fits, least=smallest_size([sizes[part] for part in parts]))
    width, height = sizes["content"]
    advice = (
        f"the largest size that fits is {largest}" if largest else "not even the smallest size fits there"
    )
    detail = (
        f"size is {options.size}: with a content of {width} × {height} px the job needs about "
        f"{gigabytes(needed)}, and no worker that is connected could hold it: at most "
        f"{gigabytes(best.there_bytes)} could be had, at {best.worker_id}; {advice}"
    )
    return InsufficientMemory.at("/options/size", detail, code=InsufficientMemory.code)
