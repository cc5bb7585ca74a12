"""Share links of a job: made and revoked. What they lead to is in `web.pages.share`."""

from __future__ import annotations

from flask import Blueprint, Response
from pydantic import BaseModel, Field

from shared.clock import utc_now
from shared.errors import DatabaseUnavailable, MalformedRequest, MissingPart, NotFound, NotReady
from web.access.shares import Shared
from web.api import API_PATH
from web.api.http import json_answer, read_body, refuse_body
from web.api.openapi import JSON, Answer, Operation
from web.api.schemas import Moment
from web.jobs.fields import ShareBody
from web.jobs.sharing import revoke_shares, share_job
from web.security import current_caller
from web.services import get_backend

job_shares = Blueprint("job_shares", __name__, url_prefix=f"{API_PATH}/jobs/<job_id>/shares")


class ShareOut(BaseModel):
    """A link that was made just now."""

    url: str = Field(description="Where it leads; shown this once, and kept nowhere")
    of: Shared
    expires_at: Moment


@job_shares.post("")
@Operation(
    "Share a job",
    "jobs",
    answers={201: Answer("The link", (ShareOut,))},
    refusals=(MalformedRequest, MissingPart, NotFound, NotReady, DatabaseUnavailable),
    bodies={JSON: ShareBody},
)
def create(job_id: str) -> Response:
    """Make a link to the job's page, or to its picture alone, for whoever gets it: no token is needed there.

    The page shows the name, the status, the result or the newest preview, the two pictures in small, the
    options and times; nothing of the caller, of labels, file names or other jobs, and no metadata of the
    two pictures.
    """
    made = share_job(get_backend(), job_id, read_body(ShareBody), caller=current_caller(), now=utc_now())
    shown = ShareOut(url=made.url, of=made.of, expires_at=made.expires_at)
    return json_answer(shown.model_dump(mode="json"), 201, headers={"Cache-Control": "no-store"})


@job_shares.delete("")
@Operation(
    "Revoke a job's links",
    "jobs",
    answers={204: Answer("No link that was made before leads to the job any more")},
    refusals=(MalformedRequest, NotFound, DatabaseUnavailable),
)
def revoke(job_id: str) -> Response:
    """Revoke all links to the job and its picture, at once; asking again changes nothing."""
    refuse_body()
    revoke_shares(get_backend(), job_id, caller=current_caller())
    return Response(status=204)
