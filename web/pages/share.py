"""What a share link leads to: the page of one job, or its picture alone, for whoever has the link.

Nothing here asks who somebody is, or leads anywhere else. A link that is wrong, has expired or was revoked,
and one of a job that is gone, are answered alike: nobody learns which it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response
from werkzeug.exceptions import InternalServerError

from shared.clock import to_rfc3339, utc_now
from shared.errors import AtelierError, NotFound, ServiceError
from shared.logs import get_logger
from shared.picture import scaled_size
from shared.status import JobStatus
from web.access.shares import SHARE_PATH, FoundShare, Shared
from web.address import link
from web.api.http import send_bytes, send_stored
from web.api.job_view import read_view
from web.api.problems import status_of
from web.assets.thumbnails import LARGE_SIDE_PX, newest_preview
from web.db.models import Asset, Job
from web.jobs.queries import get_job
from web.jobs.sharing import open_share, require_output
from web.pages.job import option_lines
from web.pages.job_stage import working_frame
from web.pages.layout import page
from web.services import get_backend, get_services
from web.words import sentence, took

share_page = Blueprint("share_page", __name__, url_prefix=f"{SHARE_PATH}<token>")
#: Of a link that is revoked nothing may be left in a browser or a cache; and no other site learns of it.
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_NAMELESS = "A picture"
_GONE = ("There is nothing here.", "The link is not whole, has expired, or was revoked.")
_AWAY = ("This cannot be shown at the moment.", "Try again in a minute.")
_log = get_logger(__name__)


@share_page.get("")
def show(token: str) -> Response:
    """Show what the link is of: the page, or the picture itself."""
    shared = _open(token)
    if shared.link.of is Shared.OUTPUT:
        return _send_result(_find(shared))
    return _show_page(shared, link(f"{SHARE_PATH}{token}"))


@share_page.get("/<path:what>")
def show_picture(token: str, what: str) -> Response:
    """Give a picture of the page: ``picture`` (the result, or the newest preview), ``content``, ``style``."""
    shared = _open(token)
    send = _PICTURES.get(what) if shared.link.of is Shared.PAGE else None
    if send is None:
        raise NotFound()
    return send(_find(shared))


def shared_words(job: Mapping[str, Any]) -> str:
    """Return in a sentence how far a job is, of itself alone; `job` is as the API shows it."""
    status, step, steps = job["status"], job["progress"]["step"], job["progress"]["steps"]
    if status == JobStatus.SUCCEEDED:
        seconds = job["metrics"]["run_seconds"]
        return "Done." if seconds is None else f"Done in {took(seconds)}."
    if job["error"] and JobStatus(status).is_final:
        return sentence(job["error"]["title"])
    if status == JobStatus.QUEUED:
        return f"It waits to go on from step {step}." if step else "It waits for a worker."
    return f"Step {step} of {steps}."


def shown_picture(job: Mapping[str, Any], *, has_preview: bool) -> str | None:
    """Return what stands for a job: its ``result``, else a ``preview``; None where there is neither."""
    if job["outputs"]:
        return "result"
    return "preview" if has_preview else None


def picture_size(job: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (width, height) in px of a job's result, or the shape of its preview."""
    for output in job["outputs"]:
        return output["width"], output["height"]
    return working_frame(job)


def _show_page(shared: FoundShare, place: str) -> Response:
    backend, job_id = get_backend(), shared.link.job_id
    found = read_view(backend, job_id, caller=shared.caller)
    job = found.data
    has_preview = not job["outputs"] and newest_preview(backend.storage, found.job) is not None
    return page(
        "share.html",
        job=job,
        name=job["name"] or _NAMELESS,
        place=place,
        words=shared_words(job),
        shown=shown_picture(job, has_preview=has_preview),
        size=picture_size(job),
        content_size=_large_size(found.job.content),
        style_size=_large_size(found.job.style),
        options=option_lines(job["options"]),
        is_final=JobStatus(job["status"]).is_final,
        expires_at=to_rfc3339(shared.link.expires_at),
    )


def _large_size(asset: Asset) -> tuple[int, int]:
    return scaled_size(asset.width, asset.height, size=LARGE_SIDE_PX)


def _send_result(job: Job) -> Response:
    require_output(job)
    output = job.outputs[0]
    file = get_services().thumbnails.files.open(
        output["key"], sha256=output["sha256"], size_bytes=output["size_bytes"]
    )
    return send_stored(file, content_type=output["content_type"], etag=output["sha256"])


def _send_picture(job: Job) -> Response:
    if job.outputs:
        return _send_result(job)
    data = newest_preview(get_backend().storage, job)
    if data is None:
        raise NotFound()
    return _send_jpeg(data)


def _send_content(job: Job) -> Response:
    return _send_jpeg(get_services().thumbnails.large_of_asset(job.content))


def _send_style(job: Job) -> Response:
    return _send_jpeg(get_services().thumbnails.large_of_asset(job.style))


def _send_jpeg(data: bytes) -> Response:
    return send_bytes(data, content_type="image/jpeg", etag=hashlib.sha256(data).hexdigest())


_PICTURES: Mapping[str, Callable[[Job], Response]] = {
    "picture": _send_picture,
    "content": _send_content,
    "style": _send_style,
}


def _open(token: str) -> FoundShare:
    return open_share(get_backend(), token, now=utc_now())


def _find(shared: FoundShare) -> Job:
    with get_backend().database.read() as session:
        return get_job(session, shared.link.job_id, caller=shared.caller)


@share_page.after_request
def _set_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    return response


@share_page.errorhandler(AtelierError)
def _answer_error(error: AtelierError) -> Response:
    if isinstance(error, ServiceError):
        _log.error("share_not_shown", code=error.code, detail=error.detail)
        return _page_of(_AWAY, status_of(type(error)))
    if not isinstance(error, NotFound):
        _log.warning("share_without_picture", code=error.code, detail=error.detail)
    return _page_of(_GONE, 404)


@share_page.errorhandler(InternalServerError)
def _answer_internal(_error: InternalServerError) -> Response:
    return _page_of(_AWAY, 500)  # Flask has logged the traceback


def _page_of(words: tuple[str, str], status: int) -> Response:
    return page("share_gone.html", status=status, title=words[0], detail=words[1])
