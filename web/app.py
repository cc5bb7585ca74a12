"""The factory of the web app: blueprints, security, compression."""

from __future__ import annotations

from types import TracebackType

from flask import Flask, Response, request
from flask_compress import Compress
from werkzeug.middleware.proxy_fix import ProxyFix

from shared.settings import Settings
from web.address import Mounted, WsgiApp, parse_address
from web.api.assets import assets
from web.api.conditional import ConditionalResponse
from web.api.documentation import docs
from web.api.estimates import estimates
from web.api.events import events
from web.api.health import health
from web.api.http import FormRequest
from web.api.job_actions import job_actions
from web.api.job_files import job_files, thumbnails
from web.api.jobs import jobs
from web.api.limits import limits
from web.api.metrics import metrics
from web.api.polls import Polls
from web.api.problems import handle_problems
from web.api.queries import check_queries
from web.api.shares import job_shares
from web.api.tokens import tokens
from web.api.webhooks import webhooks
from web.api.workers import workers
from web.later import AT_ONCE_KEY, answer_instead
from web.pages.gallery import jobs_page
from web.pages.job import job_page
from web.pages.layout import dress_pages
from web.pages.new_job import new_page
from web.pages.share import share_page
from web.pages.sign_in import sign_in_page
from web.pages.static_files import serve_static_files
from web.pages.webhooks import webhooks_page
from web.pages.workers import workers_page
from web.security import guard_requests, handle_traffic, logged_path, own_hosts
from web.services import hold_services, open_services

#: An event stream must not wait for a full block, a job's ETag is its own, and pictures are compressed.
_MEDIA_TYPES = ["text/html", "text/css", "text/javascript", "image/svg+xml"]
#: For every request that does not say otherwise; uploads do.
_MAX_BODY_BYTES = 1_000_000


class _App(Flask):
    """The app; what it logs holds no token of a share link."""

    def log_exception(
        self,
        exc_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None],
    ) -> None:
        """Log an error that nobody expected."""
        self.logger.error(
            "Exception on %s [%s]", logged_path(request.path), request.method, exc_info=exc_info
        )


def compress_pages(app: Flask) -> None:
    """Let an app compress its pages and their files for browsers that say they can read it."""
    app.before_request(_read_encodings)
    app.config.update(COMPRESS_MIMETYPES=_MEDIA_TYPES, COMPRESS_STREAMS=False)
    Compress(app)
    app.after_request(_read_static)  # runs before the compression, as the later one


def _read_encodings() -> None:
    # Flask-Compress takes one with q=0 for one that is wanted, and does not read a space before the q.
    wanted = [f"{name};q={quality:g}" for name, quality in request.accept_encodings if quality > 0]
    request.environ["HTTP_ACCEPT_ENCODING"] = ", ".join(wanted)


def _read_static(response: Response) -> Response:
    # Files are streamed, and a stream is not compressed (above): ours are a few kB, read whole.
    if request.endpoint == "static" and response.mimetype in _MEDIA_TYPES and response.status_code == 200:
        response.direct_passthrough = False
        response.make_sequence()
    return response


def create_app(settings: Settings) -> Flask:
    """Return the app; the database is brought to this version, Redis need not be there.

    Raises:
        DatabaseUnavailable: when the database cannot be opened.
        InvalidSettings: when the storage's URL is not known, or `ATELIER_URL` is no address.
    """
    app = _App("web", static_folder="static", template_folder="templates")
    app.config.update(
        MAX_CONTENT_LENGTH=_MAX_BODY_BYTES,
        MAX_FORM_PARTS=20,
        # Also in tests an unexpected error is answered, not raised.
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.strict_slashes = False
    app.request_class, app.response_class = FormRequest, ConditionalResponse
    hold_services(app, open_services(settings))
    handle_traffic(app)
    guard_requests(app, settings)
    check_queries(app)
    handle_problems(app)
    dress_pages(app)
    serve_static_files(app)
    compress_pages(app)
    answer_instead(app)
    for blueprint in (
        assets,
        jobs,
        estimates,
        job_actions,
        job_files,
        thumbnails,
        job_shares,
        events,
        workers,
        tokens,
        webhooks,
        limits,
        health,
        metrics,
        docs,
    ):
        app.register_blueprint(blueprint)
    for blueprint in (
        jobs_page,
        new_page,
        job_page,
        share_page,
        workers_page,
        webhooks_page,
        sign_in_page,
    ):
        app.register_blueprint(blueprint)
    _place(app, settings)
    return app


def _place(app: Flask, settings: Settings) -> None:
    """Put an app below the path of `ATELIER_URL`, behind the proxies that are trusted; polls go before it."""
    root, count = parse_address(settings.public_url).root, settings.trusted_proxies
    polls = Polls(app, app.wsgi_app, hosts=own_hosts(settings))

    def place(inner: WsgiApp) -> WsgiApp:
        mounted = Mounted(inner, root)
        # Not X-Forwarded-Prefix: the path is that of ATELIER_URL.
        return ProxyFix(mounted, count, count, count, 0, 0) if count else mounted

    app.wsgi_app = place(polls)  # type: ignore[method-assign,assignment]
    app.extensions[AT_ONCE_KEY] = place(polls.answer_at_once)
