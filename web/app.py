"""The factory of the web app: wiring, and nothing else."""

from __future__ import annotations

from flask import Flask

from shared.settings import Settings
from web.api.assets import assets
from web.api.estimates import estimates
from web.api.events import events
from web.api.health import health
from web.api.job_actions import job_actions
from web.api.job_files import job_files
from web.api.jobs import jobs
from web.api.problems import handle_problems
from web.api.thumbnails import thumbnails
from web.api.traffic import handle_traffic
from web.api.workers import workers
from web.compression import compress_pages
from web.docs.pages import docs
from web.gate import guard_requests
from web.pages.job_page import job_page
from web.pages.jobs_page import jobs_page
from web.pages.new_page import new_page
from web.pages.shell import dress_pages
from web.pages.workers_page import workers_page
from web.services import hold_services, open_services

#: For every request that does not say otherwise; uploads do.
_MAX_BODY_BYTES = 1_000_000


def create_app(settings: Settings) -> Flask:
    """Return the app; the database is brought to this version, Redis need not be there.

    Raises:
        DatabaseUnavailable: when the database cannot be opened.
        InvalidSettings: when the storage's URL is not known.
    """
    app = Flask("web", static_folder="static", template_folder="templates")
    app.config.update(
        MAX_CONTENT_LENGTH=_MAX_BODY_BYTES,
        MAX_FORM_PARTS=20,
        # Also in tests an unexpected error is answered, not raised.
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.strict_slashes = False
    hold_services(app, open_services(settings))
    handle_traffic(app)
    guard_requests(app, settings)
    handle_problems(app)
    dress_pages(app)
    compress_pages(app)
    for blueprint in (
        assets,
        jobs,
        estimates,
        job_actions,
        job_files,
        thumbnails,
        events,
        workers,
        health,
        docs,
    ):
        app.register_blueprint(blueprint)
    for blueprint in (jobs_page, new_page, job_page, workers_page):
        app.register_blueprint(blueprint)
    return app
