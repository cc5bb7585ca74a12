"""Which scope each endpoint of the app needs; the one table of it."""

from __future__ import annotations

from collections.abc import Mapping

from web.access.tokens import Scope

_READ, _SUBMIT, _MANAGE, _ADMIN = Scope.READ, Scope.SUBMIT, Scope.MANAGE, Scope.ADMIN

#: By endpoint; None is for everybody. One that is not named here is for `admin` alone.
NEEDED: Mapping[str, Scope | None] = {
    # What is told of nobody's work; and share links, which say themselves what they show.
    "docs.read_docs": None,
    "docs.read_document": None,
    "favicon": None,
    "health.read_health": None,
    "health.read_readiness": None,
    "share_page.show": None,
    "share_page.show_picture": None,
    "static": None,
    # Pictures.
    "assets.create_asset": _SUBMIT,
    "assets.index_assets": _READ,
    "assets.read_asset": _READ,
    "assets.read_content": _READ,
    "assets.star": _SUBMIT,
    "assets.unstar": _SUBMIT,
    "thumbnails.read_picture_thumbnail": _READ,
    # Jobs.
    "estimates.read_estimate": _READ,
    "events.watch_job": _READ,
    "job_actions.cancel": _SUBMIT,
    "job_actions.change": _SUBMIT,
    "job_actions.delete": _SUBMIT,
    "job_actions.extend": _SUBMIT,
    "job_actions.fork": _SUBMIT,
    "job_actions.keep": _SUBMIT,
    "job_actions.pause": _SUBMIT,
    "job_actions.resume": _SUBMIT,
    "job_actions.retry": _SUBMIT,
    "job_files.index_attempts": _READ,
    "job_files.index_checkpoints": _READ,
    "job_files.read_checkpoint": _READ,
    "job_files.read_output": _READ,
    "job_files.read_preview": _READ,
    "job_shares.create": _SUBMIT,
    "job_shares.revoke": _SUBMIT,
    "jobs.index": _READ,
    "jobs.read_job": _READ,
    "jobs.submit_job": _SUBMIT,
    "thumbnails.read_job_thumbnail": _READ,
    "thumbnails.read_step_thumbnail": _READ,
    # The queue and the workers.
    "workers.drain": _MANAGE,
    "workers.list_workers": _READ,
    "workers.show_queue": _READ,
    # Of everybody's jobs.
    "metrics.read_metrics": _MANAGE,
    # Tokens.
    "tokens.create": _ADMIN,
    "tokens.index": _ADMIN,
    "tokens.revoke": _ADMIN,
    "tokens.read_own": _READ,
    "limits.read_limits": _READ,
    # Webhooks.
    "webhooks.delete": _SUBMIT,
    "webhooks.end_old_secret": _SUBMIT,
    "webhooks.index": _READ,
    "webhooks.index_deliveries": _READ,
    "webhooks.put": _SUBMIT,
    "webhooks.read": _READ,
    "webhooks.read_delivery": _READ,
    "webhooks.redeliver": _SUBMIT,
    "webhooks.rotate": _SUBMIT,
    # Pages.
    "job_page.act": _SUBMIT,
    "job_page.go_back": _READ,
    "job_page.show": _READ,
    "jobs_page.draw_parts": _READ,
    "jobs_page.index": _READ,
    "new_page.create": _SUBMIT,
    "new_page.show": _READ,
    "sign_in_page.show": None,
    "sign_in_page.sign_in": None,
    "sign_in_page.sign_out": _READ,
    "webhooks_page.delete": _SUBMIT,
    "webhooks_page.put": _SUBMIT,
    "webhooks_page.redeliver": _SUBMIT,
    "webhooks_page.rotate": _SUBMIT,
    "webhooks_page.show": _READ,
    "workers_page.drain": _MANAGE,
    "workers_page.draw_parts": _READ,
    "workers_page.show": _READ,
}


def needed_scope(endpoint: str) -> Scope | None:
    """Return the scope that an endpoint needs; None is for everybody."""
    return NEEDED.get(endpoint, _ADMIN)
