"""The factory of the web app: wiring, and nothing else."""

from __future__ import annotations

from flask import Flask

from shared.settings import Settings
from web.api.assets import assets
from web.api.events import events
from web.api.health import health
from web.api.job_files import job_files
from web.api.jobs import jobs
from web.api.problems import handle_problems
from web.api.traffic import handle_traffic
from web.docs.pages import pages
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
    handle_problems(app)
    for blueprint in (assets, jobs, job_files, events, health, pages):
        app.register_blueprint(blueprint)
    return app
