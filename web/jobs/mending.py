"""Rows that cannot be read as they are: made fit to be shown, so that a list shows all others and them.

Another release, a hand or a damaged disk may have put anything into a column. What is read for work is judged
where it is used; this is for looking only, and nothing of it is written back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from sqlalchemy.orm.attributes import set_committed_value

from shared.errors import InvalidOptions, JobUnreadable
from shared.logs import get_logger
from shared.options import read_stored_options
from shared.protocol import Count, Number, Output
from shared.status import DEFAULT_PRIORITY, JobStatus
from web.db.models import UNREADABLE_MOMENT, Asset, Job

_log = get_logger(__name__)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Weights(_Strict):
    name: str
    sha256: str | None = None
    notice: str | None = None


class _Error(_Strict):
    code: str
    title: str
    detail: str
    retryable: bool
    suggestion: str | None = None


class _Origin(_Strict):
    job_id: str
    step: int


class _Metrics(_Strict):
    queue_seconds: Number | None = None
    run_seconds: Number | None = None
    gpu_peak_bytes: Count | None = None


def _is(kind: Any) -> Callable[[object], bool]:  # noqa: ANN401 - a type or a union of types
    adapter: TypeAdapter[Any] = TypeAdapter(
        kind, config=None if _has_config(kind) else ConfigDict(strict=True)
    )

    def check(value: object) -> bool:
        try:
            adapter.validate_python(value)
        except ValidationError:
            return False
        return True

    return check


def _has_config(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_options(value: object) -> bool:
    try:
        return read_stored_options(value).steps > 0
    except InvalidOptions:
        return False


def _has_sizes(value: object) -> bool:
    return isinstance(value, Asset) and _is(Count)(value.width) and _is(Count)(value.height)


def _no_picture() -> Asset:
    return Asset(id="", sha256="", filename="", width=0, height=0)


_STATUSES = frozenset(status.value for status in JobStatus)
#: By column: whether a value can be shown, and what is shown in its place if it cannot.
_COLUMNS: Mapping[str, tuple[Callable[[object], bool], Callable[[], object]]] = MappingProxyType(
    {
        "status": (lambda value: value in _STATUSES, lambda: JobStatus.FAILED.value),
        "content": (_has_sizes, _no_picture),
        "style": (_has_sizes, _no_picture),
        "options": (_is_options, lambda: read_stored_options({}).shown()),
        "weights": (lambda value: value is None or _is(_Weights)(value), lambda: None),
        "outputs": (lambda value: isinstance(value, list) and all(map(_is(Output), value)), list),
        "error": (lambda value: value is None or _is(_Error)(value), lambda: None),
        "origin": (lambda value: value is None or _is(_Origin)(value), lambda: None),
        "metrics": (_is(_Metrics), dict),
        "losses": (_is(dict[str, Number] | None), lambda: None),
        "name": (_is(str), str),
        "status_reason": (_is(str | None), lambda: None),
        "version": (_is(Count), int),
        "attempt": (_is(Count), lambda: 1),
        "max_attempts": (_is(Count), lambda: 1),
        "priority": (_is(int), lambda: DEFAULT_PRIORITY),
        "step": (_is(Count), int),
        "resumed_from_step": (_is(Count | None), lambda: None),
        "run_timeout_seconds": (_is(Number | None), lambda: None),
        "worker_id": (_is(str | None), lambda: None),
        "device": (_is(str | None), lambda: None),
        "engine_version": (_is(str | None), lambda: None),
        "numerics": (_is(str | None), lambda: None),
        "is_exact": (_is(bool | None), lambda: None),
        "pinned_to": (_is(str | None), lambda: None),
        "created_at": (_is(datetime), lambda: UNREADABLE_MOMENT),
        "queued_at": (_is(datetime), lambda: UNREADABLE_MOMENT),
    }
)


def mend(job: Job) -> Job:
    """Replace in a job, which no session holds, what cannot be shown; return it.

    One whose status cannot be read is shown as failed, since nobody can do anything about it.
    """
    mended = [name for name, (is_good, _) in _COLUMNS.items() if not is_good(getattr(job, name))]
    for name in mended:
        set_committed_value(job, name, _COLUMNS[name][1]())
    if mended and job.error is None:
        error = JobUnreadable(f"what is stored of it cannot be read: {', '.join(mended)}")
        set_committed_value(job, "error", error.to_json())
    _log.error("row_unreadable", job_id=job.id, columns=mended)
    return job
