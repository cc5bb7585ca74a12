"""The event stream of a job: durable events by their number, and of live progress only the latest."""

from __future__ import annotations

import json
import math
import time
from typing import Any

from flask import Blueprint, Response, request

from shared.errors import NotFound, TooManyStreams
from shared.redis.live import LiveProgress
from web.access.limits import quota_at_once
from web.access.tokens import Access
from web.api import API_PATH
from web.api.job_view import LIVE, JobView, eta_of, job_url, live_part, progress_of, read_shared_view
from web.api.openapi import Answer, Operation, Parameter
from web.db.models import JobEvent
from web.jobs.queries import get_job, get_version
from web.jobs.transitions import events_after
from web.later import Turn, send_stream
from web.security import current_asker, current_caller
from web.services import Services, get_services

#: When clients come back. After a restart all of them do, and not all at once.
_RECONNECT_MS, _RECONNECT_SPREAD_MS = 2000, 1500
events = Blueprint("events", __name__, url_prefix=f"{API_PATH}/jobs/<job_id>")


class JobStream:
    """What is said in one stream.

    A stream that starts afresh begins with a snapshot: a ``status`` event with the whole job. One that goes
    on after `last_id` begins with the durable events since. It ends after the final status, or after
    5 min: then the client comes back with its last id.
    """

    def __init__(self, services: Services, job_id: str, *, caller: str, last_id: int | None) -> None:
        self._services = services
        self._job_id = job_id
        self._caller = caller
        self._sent_id = last_id
        self._since = -math.inf
        self._sent_live: LiveProgress | None = None
        self._progress_at = -math.inf
        self._started: float | None = None
        self._has_told = False
        self._spoke_at = 0.0
        self._reconnect_ms = _RECONNECT_MS + round(_RECONNECT_SPREAD_MS * services.spread.next())
        #: Whether there may be live progress; None as long as the job was not looked at.
        self._may_be_live: bool | None = None

    @property
    def job_id(self) -> str:
        """The job that it tells of."""
        return self._job_id

    def take_turn(self, *, since: float) -> Turn:
        """Return what there is to say now; what was read after `since` is new enough."""
        self._since = since
        is_first = self._started is None
        if self._started is None:
            self._started = self._spoke_at = time.monotonic()
        texts, ended = self._news()
        data, now, timing = "".join(texts), time.monotonic(), self._services.timing
        if texts:
            self._spoke_at = now
            if not self._has_told:
                # Within the first event: some clients drop a block that is none.
                data, self._has_told = f"retry: {self._reconnect_ms}\n{data}", True
        elif is_first:
            data = ": watching\n\n"  # with it the answer's head leaves
        if ended or self._services.stopping.is_set():
            return _turn(data, None)
        if texts:
            return _turn(data, 0)  # there may be more by now
        if now - self._started >= timing.stream_seconds:
            return _turn(data, None)
        if now - self._spoke_at >= timing.comment_seconds:
            data, self._spoke_at = ": still here\n\n", now
        quiet_until = min(self._spoke_at + timing.comment_seconds, self._started + timing.stream_seconds)
        next_progress = self._progress_at + timing.progress_seconds - now
        if next_progress > 0:
            return _turn(data, min(next_progress, quiet_until - now), only_changes=True)
        return _turn(data, quiet_until - now)

    def _news(self) -> tuple[list[str], bool]:
        """Return what there is to say now, and whether that was the last of it."""
        try:
            return self._look()
        except NotFound:
            return [], True  # deleted in this very moment

    def _look(self) -> tuple[list[str], bool]:
        texts: list[str] = []
        with self._services.backend.database.read() as session:
            version = get_version(session, self._job_id)
        if version is None:
            return texts, True
        if self._sent_id is None or self._sent_id > version:
            view = self._read(self._since)
            self._sent_id = view.job.version
            texts.append(_event("status", _snapshot(view), number=view.job.version))
        elif self._sent_id < version:
            texts, view = self._durable(self._sent_id)
        elif self._may_be_live is not False and self._may_progress():
            view = self._read(self._since)
        else:
            return texts, False
        # Its status stays what it is until its version is another one.
        self._may_be_live = view.job.job_status in LIVE
        if view.job.job_status.is_final and view.job.version <= (self._sent_id or 0):
            return texts, True
        return [*texts, *self._live(view)], False

    def _durable(self, after: int) -> tuple[list[str], JobView]:
        """Return the events since, and the job as it is; the last one and the last status carry it whole."""
        with self._services.backend.database.read() as session:
            events = events_after(session, self._job_id, after)
        view = self._read(self._since)
        if events and view.job.version < events[-1].sequence:
            view = self._read(time.monotonic())  # that was begun to be read before
        statuses = [event.sequence for event in events if event.type == "status"]
        texts = []
        for event in events:
            data = self._data(event)
            is_last_status = event.sequence == max(statuses, default=0)
            if event.sequence == view.job.version or (
                is_last_status and event.data["status"] == view.job.status
            ):
                data["job"] = view.data
            texts.append(_event(event.type, data, number=event.sequence))
        if events:
            self._sent_id = events[-1].sequence
        return texts, view

    def _data(self, event: JobEvent) -> dict[str, Any]:
        data = {name: value for name, value in event.data.items() if name not in ("key", "picture_key")}
        if event.type == "checkpoint" and "step" in data:
            data["url"] = job_url(self._job_id, "checkpoints", data["step"])
        if event.type == "output":
            data["url"] = job_url(self._job_id, "output")
        if event.type == "status":
            data["version"] = event.sequence
        return data

    def _live(self, view: JobView) -> list[str]:
        live = live_part(view.job, view.live)
        if live is None or live == self._sent_live or not self._may_progress():
            return []
        texts = []
        eta = eta_of(live)
        progress = {
            "attempt": live.attempt,
            **progress_of(view.job, live).model_dump(mode="json"),
            "eta": eta.model_dump() if eta else None,
        }
        texts.append(_event("progress", progress))
        before = self._sent_live
        is_new = before is None or (before.attempt, before.preview_step) != (live.attempt, live.preview_step)
        if live.preview_step and is_new:
            url = f"{job_url(self._job_id, 'preview')}?step={live.preview_step}"
            texts.append(_event("preview", {"step": live.preview_step, "url": url}))
        self._sent_live, self._progress_at = live, time.monotonic()
        return texts

    def _may_progress(self) -> bool:
        return time.monotonic() - self._progress_at >= self._services.timing.progress_seconds

    def _read(self, since: float) -> JobView:
        return read_shared_view(self._services.backend, self._job_id, caller=self._caller, since=since)


def _turn(text: str, seconds: float | None, *, only_changes: bool = False) -> Turn:
    return Turn(text.encode("utf-8", "replace"), seconds, only_changes=only_changes)


def _snapshot(view: JobView) -> dict[str, Any]:
    return {
        "status": view.job.status,
        "status_reason": view.job.status_reason,
        "attempt": view.job.attempt,
        "version": view.job.version,
        "job": view.data,
    }


def _event(kind: str, data: dict[str, Any], *, number: int | None = None) -> str:
    """Return one event as it goes over the wire; only durable ones have a number to come back with."""
    numbered = f"id: {number}\n" if number is not None else ""
    return f"{numbered}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


@events.get("/events")
@Operation(
    "Watch a job",
    "jobs",
    answers={
        200: Answer("Server-sent events", media_types=("text/event-stream",)),
        204: Answer("The job has ended, and you have seen its last event: do not come back"),
    },
    refusals=(NotFound, TooManyStreams),
    parameters=(
        Parameter(
            "Last-Event-ID",
            "The last id you have seen: the durable events since are sent again; what is no number is none",
            "header",
            {"type": "integer"},
        ),
    ),
)
def watch_job(job_id: str) -> Response:
    """Watch a job: `status`, `attempt`, `checkpoint`, `output` and `change` events are durable, with an `id`.

    `progress` (at most twice a second) and `preview` tell the latest only. A fresh stream begins with a
    `status` event that holds the whole `job`, one with `Last-Event-ID` with the durable events since. The
    last of those that are known holds the whole `job` too, as does a `status` that is still so. A comment
    comes every 15 s. The stream ends after the final status, and after 5 min, when a client is expected to
    come back.
    """
    services, caller = get_services(), current_caller()
    with services.backend.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    last_id = _last_id(request.headers.get("Last-Event-ID"))
    if job.job_status.is_final and last_id == job.version:
        return Response(status=204)
    _take_place(services)
    stream = JobStream(services, job.id, caller=caller, last_id=last_id)
    response = send_stream(stream, services, content_type="text/event-stream; charset=utf-8")
    asker = current_asker().caller
    response.call_on_close(lambda: _give_place_back(services, asker))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _take_place(services: Services) -> None:
    """Take a place for a stream: one of the caller's, and one of all.

    Raises:
        TooManyStreams: when there is none.
    """
    asker = current_asker()
    most = most_streams(services, asker)
    if not services.own_streams.take(asker.caller, most=most):
        raise TooManyStreams(
            f"the caller '{asker.caller}' has {most} event streams open; at most {most} may be at once"
        ).of(quota_at_once("streams", most))
    if not services.streams.take():
        services.own_streams.give_back(asker.caller)
        count = services.streams.count
        raise TooManyStreams(f"all {count} event streams are taken; poll the job, or try again later").of(
            quota_at_once("streams", count)
        )


def _give_place_back(services: Services, asker: str) -> None:
    services.streams.give_back()
    services.own_streams.give_back(asker)


def most_streams(services: Services, access: Access) -> int:
    """Return how many streams a caller may have open; 0 is as many as there are for all.

    As long as no token is needed, all are one caller.
    """
    return 0 if access.token_id is None else services.backend.settings.max_streams


def _last_id(text: str | None) -> int | None:
    """Return the id a client saw last; one that we cannot have sent means a fresh start."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    return int(text)
