"""What every page has around it: navigation, filters for templates, and problems shown as pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, render_template, request, url_for
from markupsafe import Markup

from shared.clock import from_rfc3339
from shared.errors import NotFound
from web.access.sessions import CSRF_FIELD
from web.address import link
from web.api import API_PATH
from web.api.conditional import ConditionalResponse
from web.api.problems import MEDIA_TYPE
from web.words import ago, file_size, sentence, span, took

#: Endpoint, and what the navigation calls it.
NAVIGATION = (
    ("jobs_page.index", "Jobs"),
    ("new_page.show", "New job"),
    ("workers_page.show", "Workers"),
    ("webhooks_page.show", "Webhooks"),
    ("docs.read_docs", "API"),
)


def dress_pages(app: Flask) -> None:
    """Give an app's templates what all pages share, and let people see problems as pages."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        span=span, took=took, ago=ago, file_size=file_size, moment=_moment, sentence=sentence
    )
    app.jinja_env.globals["root"] = lambda: link("")  # also in macros, which see no context
    app.jinja_env.globals["csrf_field"] = _csrf_field
    app.context_processor(lambda: {"navigation": _navigation(app), "access": g.get("asker")})
    app.before_request(_merge_slashes)
    app.add_url_rule("/favicon.ico", "favicon", _favicon)
    app.after_request(_show_problem)


def wants_page() -> bool:
    """Whether the request comes from a person's browser and is for a page, not for the API."""
    if request.path.startswith(API_PATH):
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def page(template: str, *, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template takes anything
    """Return a page; it shows what is so now, so a browser asks for it again each time."""
    return _html(render_template(template, **values), status)


def parts(*templates: str, **values: Any) -> Response:  # noqa: ANN401 - as above
    """Return parts of a page, of the templates that draw them in it, for a page that is open.

    The answer is 304 when they are as that page has them already.
    """
    return _html("".join(render_template(template, **values) for template in templates))


def _html(text: str, status: int = 200) -> Response:
    response = ConditionalResponse(text, status, content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    if status == 200:
        # Weak: it is the same however it is compressed.
        response.add_etag(weak=True)
        response.make_conditional(request)
    return response


def _csrf_field() -> Markup:
    """Return what every form that changes something has in it, for a browser that is signed in."""
    access = g.get("asker")
    if access is None or access.csrf_token is None:
        return Markup("")
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, access.csrf_token)


def _navigation(app: Flask) -> list[dict[str, Any]]:
    return [
        {"endpoint": endpoint, "title": title, "current": link(request.path) == url_for(endpoint)}
        for endpoint, title in NAVIGATION
        if endpoint in app.view_functions
    ]


def _merge_slashes() -> Response | None:
    """Lead a path with several slashes at its beginning to the one that was meant, on this very host.

    Werkzeug reads it as if there were one, so a page would be shown under an address whose relative links
    are names of other hosts.
    """
    path = request.environ.get("PATH_INFO", "")
    if not path.startswith("//"):
        return None
    # A browser takes a backslash for a slash: what is left must not begin with one either.
    meant = path.encode("latin-1", "replace").lstrip(b"/\\")
    query = request.query_string.decode("latin-1")
    address = link(f"/{quote(meant)}{f'?{query}' if query else ''}")
    return Response(status=308, headers={"Location": address})


def _favicon() -> Response:
    """Give the icon to those who ask without having read a page."""
    return current_app.send_static_file("icon.svg")


def _show_problem(response: Response) -> Response:
    if response.mimetype != MEDIA_TYPE or not wants_page():
        return response
    problem = response.get_json()
    if response.status_code == 401 and request.method == "GET" and not request.path.startswith("/parts/"):
        wanted = request.full_path.rstrip("?")
        where = url_for("sign_in_page.show", next=None if wanted == "/" else wanted)
        return Response(status=303, headers={"Location": where, "Cache-Control": "no-store"})
    title, detail = problem["title"], sentence(problem["detail"])
    if problem["code"] == NotFound.code and "job_id" in (request.view_args or {}):
        # An id is no word for people, and it stands in the address anyway.
        title, detail = "There is no such job.", "It may have been deleted, or its address is not whole."
    if any(fault["pointer"] == "/page_token" for fault in problem["errors"]):
        title = "This page of the list cannot be shown."
        detail = "Its address is damaged, or belongs to another search: begin again at the first page."
    shown = page("problem.html", status=response.status_code, problem=problem, title=title, detail=detail)
    for name, value in response.headers:
        if name not in ("Content-Type", "Content-Length", "Cache-Control"):
            shown.headers[name] = value
    return shown


def _moment(text: str) -> datetime:
    return from_rfc3339(text)
