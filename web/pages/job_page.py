"""The page of one job."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.job_view import read_view
from web.caller import current_caller
from web.pages.shell import page
from web.services import get_services

job_page = Blueprint("job_page", __name__, url_prefix="/jobs/<job_id>")


@job_page.get("")
def show(job_id: str) -> Response:
    """Show the page."""
    view = read_view(get_services(), job_id, caller=current_caller())
    return page("job.html", job=view.data)
