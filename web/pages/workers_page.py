"""The page 'Workers'."""

from __future__ import annotations

from flask import Blueprint, Response

from web.pages.shell import page

workers_page = Blueprint("workers_page", __name__)


@workers_page.get("/workers")
def show() -> Response:
    """Show the page."""
    return page("workers.html")
