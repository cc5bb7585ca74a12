"""The page 'New job'."""

from __future__ import annotations

from flask import Blueprint, Response

from web.pages.shell import page

new_page = Blueprint("new_page", __name__)


@new_page.get("/new")
def show() -> Response:
    """Show the page."""
    return page("new.html")
