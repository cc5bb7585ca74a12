"""The stage of a job's page: which picture is shown, its frame, and the stops of the reel. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.picture import scaled_size
from shared.status import JobStatus
from web.api.job_view import job_url

View = Literal["result", "compare", "draft", "content", "style"]
VIEWS: tuple[View, ...] = ("result", "compare", "draft", "content", "style")
#: What stands left of the slider; right of it is the picture that shows how far the job is.
Left = Literal["content", "draft"]
#: What every browser can show; other pictures are shown in small, as a JPEG.
_SHOWN_TYPES = {"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif"}
#: The frame's long side is at most as long, and a small picture at most so many times as large as it is.
_FRAME_PX = 1600
_LARGEST_FACTOR = 5
_MOST_THUMBNAILS = 20
_MOST_CHOICES = 20


@dataclass(frozen=True)
class Picture:
    """One picture on the stage; `step` is None where it has none that is known."""

    kind: Literal["result", "preview", "checkpoint", "draft", "content"]
    url: str
    step: int | None = None


@dataclass(frozen=True)
class Stop:
    """One stop of the reel: a checkpoint. `version` is another one when its picture may be another one.

    `has_state` says whether a fork can begin there.
    """

    step: int
    url: str
    losses: Mapping[str, float | None]
    version: str
    has_state: bool = True

    @property
    def thumbnail_url(self) -> str:
        """Where it is in small."""
        return f"{self.url}/thumbnail?v={self.version}"


def working_frame(job: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (width, height) in px that a job works at; `job` is as the API shows it."""
    content = job["input"]["content"]
    return scaled_size(content["width"], content["height"], size=int(job["options"]["size"]))


def frame_size(width: int, height: int) -> tuple[int, int]:
    """Return the frame of a picture in px: of exactly its shape, several times as large if it is small."""
    factor = max(1, min(_LARGEST_FACTOR, _FRAME_PX // max(width, height)))
    return width * factor, height * factor


def latest_picture(
    job: Mapping[str, Any],
    stops: Sequence[Stop],
    *,
    preview_attempt: int | None,
    draft_url: str | None = None,
) -> Picture:
    """Return the picture that shows how far a job is.

    Args:
        job: As the API shows it.
        stops: Its checkpoints.
        preview_attempt: The last attempt with a preview; None is none.
        draft_url: What the fast method has made of the same pictures, if it has.
    """
    status = JobStatus(job["status"])
    is_live = status in (JobStatus.RUNNING, JobStatus.CANCELING)
    step = job["progress"]["step"]
    if is_live and preview_attempt == job["attempt"]["number"]:
        return Picture("preview", f"{job['urls']['preview']}?step={step}", step)
    # An extended job keeps its result until it has the next one.
    if job["urls"]["output"]:
        sha256 = job["outputs"][0]["sha256"]
        return Picture("result", f"{job['urls']['output']}?v={sha256[:16]}")
    if stops:
        return Picture("checkpoint", stops[-1].url, stops[-1].step)
    if preview_attempt is not None:
        return Picture("preview", job["urls"]["preview"])
    if draft_url is not None:
        return Picture("draft", draft_url)
    return Picture("content", job["input"]["content"]["url"])


def chosen_picture(stops: Sequence[Stop], step: str | None) -> Picture | None:
    """Return the checkpoint that was asked for by its step; None when there is none."""
    found = next((stop for stop in stops if str(stop.step) == step), None)
    return Picture("checkpoint", found.url, found.step) if found else None


def views_of(*, offers_draft: bool) -> list[View]:
    """Return the views that a job has; that of the draft where there is one, or may be one."""
    return [view for view in VIEWS if view != "draft" or offers_draft]


def chosen_view(word: str | None, views: Sequence[View] = VIEWS) -> View:
    """Return the view that was asked for, if there is one, else the result."""
    return next((view for view in views if view == word), "result")


def chosen_left(word: str | None, picture: Picture, *, draft_url: str | None) -> Left:
    """Return what stands left of the slider: the draft if it was asked for, and is not what stands right."""
    has_both = draft_url is not None and picture.kind not in ("draft", "content")
    return "draft" if word == "draft" and has_both else "content"


def draft_url_of(draft_id: str, sha256: str) -> str:
    """Return where the picture of a draft is; another address for another picture."""
    return f"{job_url(draft_id, 'output')}?v={sha256[:16]}"


def stop_of(
    job_id: str, step: int, losses: Mapping[str, float | None], sha256: str, *, has_state: bool = True
) -> Stop:
    """Return the stop of a checkpoint; `sha256` is that of its state, whether that is kept or not."""
    return Stop(step, job_url(job_id, "checkpoints", step), losses, sha256[:8], has_state)


def spread(stops: Sequence[Stop], *, most: int = _MOST_THUMBNAILS) -> list[Stop]:
    """Return up to `most` stops, evenly spread, the first and the last among them."""
    if len(stops) <= most:
        return list(stops)
    gap = (len(stops) - 1) / (most - 1)
    return [stops[math.floor(place * gap + 0.5)] for place in range(most)]


def fork_steps(stops: Sequence[Stop], shown: int | None) -> list[int]:
    """Return the steps to choose from for a fork: of those that have a state, and the one that is shown."""
    steps = {stop.step for stop in spread([stop for stop in stops if stop.has_state], most=_MOST_CHOICES)}
    return sorted(steps | ({shown} if shown is not None else set()))


def fork_step(stops: Sequence[Stop], chosen: int | None) -> int | None:
    """Return the step that a fork begins with unless another is chosen; None when there is none.

    That is the one that is looked at; where its state is not kept, the nearest one.
    """
    steps = [stop.step for stop in stops if stop.has_state]
    if chosen is None or not steps:
        return steps[-1] if steps else None
    return min(steps, key=lambda step: (abs(step - chosen), step))


def shown_url(asset_url: str, content_type: str) -> str:
    """Return where an uploaded picture is in a form that browsers show."""
    if content_type in _SHOWN_TYPES:
        return asset_url
    return f"{asset_url.removesuffix('/content')}/thumbnail"
