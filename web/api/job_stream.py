"""A job's event stream: durable events by their number, and of live progress only the latest."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from shared.coordination.progress import LiveProgress
from shared.errors import NotFound
from web.api.job_json import eta_of, job_url, live_part, progress_of
from web.api.job_view import JobView, read_view
from web.job_watch import JobWatch
from web.models import JobEvent
from web.repository.history import events_after
from web.repository.jobs import get_version
from web.services import Services

_RECONNECT_MS = 2000


class JobStream:
    """The texts of one stream.

    A stream that starts afresh begins with a snapshot: a ``status`` event with the whole job. One that goes
    on after `last_id` begins with the durable events since. It ends after the final status, or after
    5 min: then the client comes back with its last id.
    """

    def __init__(self, services: Services, job_id: str, *, caller: str, last_id: int | None) -> None:
        self._services = services
        self._job_id = job_id
        self._caller = caller
        self._sent_id = last_id
        self._sent_live: LiveProgress | None = None
        self._progress_at = -math.inf

    def __iter__(self) -> Iterator[str]:
        timing, started = self._services.timing, time.monotonic()
        spoke_at = started
        yield f"retry: {_RECONNECT_MS}\n\n"
        with JobWatch(self._services.board, self._job_id, stopping=self._services.stopping) as watch:
            while True:
                texts, ended = self._news()
                if texts:
                    yield "".join(texts)
                    spoke_at = time.monotonic()
                if ended or self._services.stopping.is_set():
                    return
                if texts:
                    continue  # there may be more by now
                now = time.monotonic()
                if now - started >= timing.stream_seconds:
                    return
                if now - spoke_at >= timing.comment_seconds:
                    yield ": still here\n\n"
                    spoke_at = now
                next_progress = self._progress_at + timing.progress_seconds - now
                quiet_until = min(spoke_at + timing.comment_seconds, started + timing.stream_seconds)
                if next_progress > 0:
                    watch.wait(min(next_progress, quiet_until - now), only_changes=True)
                else:
                    watch.wait(quiet_until - now)

    def _news(self) -> tuple[list[str], bool]:
        """Return what there is to say now, and whether that was the last of it."""
        try:
            return self._look()
        except NotFound:
            return [], True  # deleted in this very moment

    def _look(self) -> tuple[list[str], bool]:
        texts: list[str] = []
        with self._services.database.read() as session:
            version = get_version(session, self._job_id)
        if version is None:
            return texts, True
        if self._sent_id is None or self._sent_id > version:
            view = self._view()
            self._sent_id = view.job.version
            texts.append(_event("status", _snapshot(view), number=view.job.version))
        elif self._sent_id < version:
            texts, view = self._durable(self._sent_id)
        elif self._may_progress():
            view = self._view()
        else:
            return texts, False
        if view.job.job_status.is_final and view.job.version <= (self._sent_id or 0):
            return texts, True
        return [*texts, *self._live(view)], False

    def _durable(self, after: int) -> tuple[list[str], JobView]:
        """Return the events since, and the job as it is; the last status among them carries it whole."""
        with self._services.database.read() as session:
            events = events_after(session, self._job_id, after)
        view = self._view()
        statuses = [event.sequence for event in events if event.type == "status"]
        texts = []
        for event in events:
            data = self._data(event)
            if statuses and event.sequence == statuses[-1] and event.data["status"] == view.job.status:
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

    def _view(self) -> JobView:
        return read_view(self._services, self._job_id, caller=self._caller)


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
