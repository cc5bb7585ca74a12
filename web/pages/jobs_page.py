"""The page 'Jobs'."""

from __future__ import annotations

from flask import Blueprint, Response

from web.pages.shell import page

jobs_page = Blueprint("jobs_page", __name__)


@jobs_page.get("/")
def index() -> Response:
    """Show the page."""
    return page("jobs.html")
