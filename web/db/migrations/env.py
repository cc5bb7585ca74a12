"""Run the migrations on the connection that `Database.upgrade` hands over, in its one transaction."""

from __future__ import annotations

from alembic import context

import web.db.webhook_models  # noqa: F401 - its tables
from web.db.models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
