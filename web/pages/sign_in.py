"""The page to sign in with a token, and the way out."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Response, g, request

from shared.clock import utc_now
from shared.errors import AtelierError, DatabaseUnavailable, TooManySignIns, Unauthenticated
from web.access.sessions import COOKIE, LASTS, end_session, read_cookie, start_session
from web.address import link, parse_address
from web.api.problems import status_of
from web.pages.layout import page
from web.services import get_backend, get_services

_MOST_CHARS = 2000
sign_in_page = Blueprint("sign_in_page", __name__)


@sign_in_page.get("/signin")
def show() -> Response:
    """Show the form."""
    return _page(request.args.get("next", ""))


@sign_in_page.post("/signin")
def sign_in() -> Response:
    """Sign a browser in, and go on to where it was to go."""
    services, wanted = get_services(), request.form.get("next", "")
    address = request.remote_addr or ""
    try:
        services.sign_ins.require(address)
        with services.backend.database.write() as session:
            cookie = start_session(session, request.form.get("token", "").strip(), now=utc_now())
    except (TooManySignIns, DatabaseUnavailable) as error:
        return _page(wanted, error)
    if cookie is None:
        services.sign_ins.note_failure(address)
        return _page(wanted, Unauthenticated("the token is not known here, has expired, or was revoked"))
    response = Response(status=303, headers={"Location": link(_path(wanted)), "Cache-Control": "no-store"})
    place = parse_address(services.backend.settings.public_url)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=LASTS,
        path=f"{place.root}/",
        secure=place.origin.startswith("https:"),
        httponly=True,
        samesite="Strict",
    )
    return response


@sign_in_page.post("/signout")
def sign_out() -> Response:
    """Sign the browser out: its cookie is of no use from now on, wherever a copy of it may be."""
    with get_backend().database.write() as session:
        end_session(session, read_cookie(request.environ))
    get_services().gate.forget(request.environ)
    response = Response(status=303, headers={"Location": link("/signin"), "Cache-Control": "no-store"})
    response.delete_cookie(COOKIE, path=f"{parse_address(get_backend().settings.public_url).root}/")
    return response


def _page(wanted: str, error: AtelierError | None = None) -> Response:
    status = 200 if error is None else status_of(type(error))
    g.asker = None  # nobody is to be greeted here
    response = page("sign_in.html", status=status, next=_path(wanted), error=error)
    response.headers["Cache-Control"] = "no-store"
    return response


def _path(wanted: str) -> str:
    """Return a path of this service that may be gone on to; anything else leads to the first page."""
    parts = urlsplit(wanted[:_MOST_CHARS]) if wanted.isprintable() else None
    is_ours = (
        parts is not None
        and not parts.scheme
        and not parts.netloc
        and wanted.startswith("/")
        # A browser takes a backslash for a slash, and two of them lead to another host.
        and wanted[1:2] not in ("/", "\\")
        and "\\" not in wanted
    )
    return wanted[:_MOST_CHARS] if is_ours else "/"
