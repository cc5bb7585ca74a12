"""All that the page of a job shows, read once: the job, its checkpoints, attempts and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ArtifactMissing, StorageUnavailable
from shared.options import StyleOptions
from shared.storage.layout import preview_key
from shared.storage.store import ArtifactStore
from web.api.job_view import read_view
from web.models import Job, JobAttempt, JobCheckpoint, JobEvent
from web.pages.job_stage import (
    Picture,
    Stop,
    View,
    chosen_picture,
    chosen_view,
    latest_picture,
    shown_url,
    stop_of,
)
from web.pages.new_form import preset_values
from web.pages.option_fields import PRESET, OptionField, option_fields, option_texts
from web.repository.history import events_after, list_attempts, list_checkpoints
from web.services import Services

#: A history this long is not read to its end by anybody; the newest part counts.
_MOST_EVENTS = 500


@dataclass(frozen=True)
class OptionLine:
    """An option as the job has it; `usual` is what its preset says, if that is another value."""

    field: OptionField
    value: str
    usual: str | None


@dataclass(frozen=True)
class JobSheet:
    """What there is to show; `data` is the job as the API shows it."""

    data: Mapping[str, Any]
    checkpoints: Sequence[JobCheckpoint]
    attempts: Sequence[JobAttempt]
    events: Sequence[JobEvent]
    stops: Sequence[Stop]
    latest: Picture
    chosen: Picture | None
    view: View
    content_url: str
    style_url: str

    @property
    def picture(self) -> Picture:
        """What is on the stage: the checkpoint that was asked for, else the latest picture."""
        return self.chosen or self.latest


def read_sheet(
    services: Services, job_id: str, *, caller: str, step: str | None, view: str | None
) -> JobSheet:
    """Return a caller's job with all that its page shows; `step` and `view` are what it asked to see.

    Raises:
        NotFound: when there is none with this id.
    """
    found = read_view(services, job_id, caller=caller)
    with services.database.read() as session:
        checkpoints = list_checkpoints(session, job_id)
        attempts = list_attempts(session, job_id)
        after = max(0, found.job.version - _MOST_EVENTS)
        events = events_after(session, job_id, after, limit=_MOST_EVENTS)
    stops = [stop_of(job_id, row.step, row.losses, row.sha256) for row in checkpoints]
    job, data = found.job, found.data
    return JobSheet(
        data=data,
        checkpoints=checkpoints,
        attempts=attempts,
        events=events,
        stops=stops,
        latest=latest_picture(data, stops, preview_attempt=_preview_attempt(services.storage, job)),
        chosen=chosen_picture(stops, step),
        view=chosen_view(view),
        content_url=shown_url(data["input"]["content"]["url"], job.content.content_type),
        style_url=shown_url(data["input"]["style"]["url"], job.style.content_type),
    )


def option_lines(options: Mapping[str, Any]) -> list[OptionLine]:
    """Return every option of a job but the preset; options that came after it are as they are by default."""
    usual = option_texts(preset_values(str(options.get(PRESET, StyleOptions.model_fields[PRESET].default))))
    texts = usual | option_texts(options)
    return [
        OptionLine(
            field,
            texts[field.name],
            usual[field.name] if texts[field.name] != usual[field.name] else None,
        )
        for field in option_fields()
    ]


def _preview_attempt(storage: ArtifactStore, job: Job) -> int | None:
    """Return the last attempt that has a preview; None if none has, or while that cannot be told."""
    for attempt in range(job.attempt, 0, -1):
        try:
            storage.stat(preview_key(job.id, attempt))
        except ArtifactMissing:
            continue
        except StorageUnavailable:
            return None
        return attempt
    return None
