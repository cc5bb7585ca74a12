"""What programs and operators rely on, as texts to compare: OpenAPI, schema, help, errors, refusals."""

from __future__ import annotations

import inspect
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.testing import CliRunner
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import text

from shared import errors
from shared.settings import Settings
from web.app import create_app
from web.cli.local.redis_server import RedisServer
from web.cli.main import main as atelier
from web.db.database import Database
from web.services import services_of
from worker.cli.main import main as atelier_worker

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def all_shown(folder: Path) -> dict[str, str]:
    """Return everything by the name of its golden file; `folder` is for the files of the service."""
    shown = {"errors.txt": shown_errors(), "help.txt": shown_help()}
    with running(folder) as (client, settings):
        shown["openapi.json"] = json.dumps(client.get("/openapi.json").json, indent=1) + "\n"
        shown["schema.sql"] = shown_schema(settings)
        shown["problems.txt"] = shown_problems(client)
    return shown


def shown_errors() -> str:
    """Return code, class, words and advice of each error."""
    lines = []
    for name, kind in sorted(inspect.getmembers(errors, inspect.isclass)):
        if issubclass(kind, errors.AtelierError) and kind.__module__.startswith("shared.errors"):
            facts = {
                key: getattr(kind, key) for key in ("code", "retryable", "suggestion") if hasattr(kind, key)
            }
            parents = ", ".join(parent.__name__ for parent in kind.__bases__)
            lines.append(f"{name}({parents}) {json.dumps(facts)}\n{inspect.getdoc(kind)}\n")
    return "\n".join(lines)


def shown_help() -> str:
    """Return the help of every command."""
    pages = []
    for name, group in (("atelier", atelier), ("atelier-worker", atelier_worker)):
        commands = [[], *([command] for command in group.list_commands(click.Context(group)))]
        for words in commands:
            result = CliRunner().invoke(group, [*words, "--help"], prog_name=name, terminal_width=100)
            pages.append(f"$ {' '.join([name, *words])} --help\n{result.output}")
    return "\n".join(pages)


def shown_schema(settings: Settings) -> str:
    """Return the statements that make an empty database, in the order of their names.

    Without the tables that SQLite makes by itself for its full-text search: each version has its own.
    """
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        rows = session.execute(
            text(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND sql NOT LIKE 'CREATE TABLE ''%' "
                "ORDER BY type DESC, name"
            )
        )
        statements = [f"{row.sql};" for row in rows]
    database.close()
    return "\n".join(statements) + "\n"


@contextmanager
def running(folder: Path) -> Iterator[tuple[FlaskClient, Settings]]:
    """Run the app over a Redis, a database and a storage of its own."""
    (folder / "redis").mkdir()
    with RedisServer(folder / "redis") as server:
        settings = Settings(
            redis_url=server.url,
            data_dir=folder / "data",
            cache_dir=folder / "cache",
            vgg19_weights="untrained",
            web_threads=4,
        )
        app = create_app(settings)
        try:
            yield app.test_client(), settings
        finally:
            services_of(app).close()


def _picture(seed: int, width: int = 96, height: int = 64) -> bytes:
    band = Image.linear_gradient("L").resize((width, height))
    other = band.transpose(Image.Transpose.ROTATE_180).point(lambda value: (value * 3 + seed * 40) % 256)
    buffer = io.BytesIO()
    Image.merge("RGB", (band, other, band)).save(buffer, "PNG")
    return buffer.getvalue()


def _form(**fields: str) -> dict[str, object]:
    pictures = {
        "content": (io.BytesIO(_picture(1)), "meadow.png"),
        "style": (io.BytesIO(_picture(2)), "waves.png"),
    }
    return {**pictures, **fields}


def shown_problems(client: FlaskClient) -> str:
    """Return the answers to requests that are wrong in every way that needs no job."""
    picture = {"content": (io.BytesIO(b"no picture"), "a.png"), "style": (io.BytesIO(_picture(2)), "b.png")}
    asked = (
        ("GET", "/api/v1/jobs/nothing", {}),
        ("GET", "/api/v1/jobs?status=asleep", {}),
        ("GET", "/api/v1/jobs?page_size=0", {}),
        ("GET", "/api/v1/jobs?page_token=x", {}),
        ("GET", "/api/v1/jobs?sort=up", {}),
        ("GET", "/api/v1/nothing", {}),
        ("PUT", "/api/v1/jobs", {}),
        ("POST", "/api/v1/jobs", {}),
        ("POST", "/api/v1/jobs", {"data": "{", "content_type": "application/json"}),
        ("POST", "/api/v1/jobs", {"json": []}),
        ("POST", "/api/v1/jobs", {"json": {"content": "a", "style": "b"}}),
        ("POST", "/api/v1/jobs", {"json": {"content": "a", "style": "b", "sise": 1}}),
        ("POST", "/api/v1/jobs", {"json": {"content": 1, "options": {"steps": "many"}, "reuse": 7}}),
        ("POST", "/api/v1/jobs", {"json": {"content": "a", "style": "b", "options": {"stps": 1, "size": 5}}}),
        ("POST", "/api/v1/jobs", {"data": _form(options="{", reuse="perhaps", queue_timeout_seconds="x")}),
        ("POST", "/api/v1/jobs", {"data": _form(labels="[]", options='{"preset": "none"}', name="a" * 300)}),
        (
            "POST",
            "/api/v1/jobs",
            {"data": _form(options='{"steps": "m", "style_weight": -1}', colour="1")},
        ),
        ("POST", "/api/v1/jobs", {"data": {"options": "{}"}}),
        ("POST", "/api/v1/jobs", {"data": picture}),
        ("POST", "/api/v1/jobs?validate_only=maybe", {"data": _form()}),
        ("POST", "/api/v1/jobs?validate_only=true", {"data": _form(run_timeout_seconds="0")}),
        ("POST", "/api/v1/assets", {"data": {"file": (io.BytesIO(b"no picture"), "a.png")}}),
        ("POST", "/api/v1/assets", {"data": {"picture": (io.BytesIO(_picture(1)), "a.png")}}),
        ("GET", "/api/v1/assets/nothing", {}),
        ("GET", "/api/v1/estimate?size=big", {}),
        ("GET", "/api/v1/estimate?size=512&sise=1", {}),
        ("POST", "/api/v1/workers/nobody/drain", {}),
    )
    answers = []
    for method, url, how in asked:
        response = client.open(url, method=method, headers={"Prefer": "wait=0"}, **how)
        sent = json.dumps(how.get("json")) if "json" in how else ""
        answers.append(f"{method} {url} {sent}\n{response.status_code} {_ID.sub('ID', response.text)}")
    return "\n".join(answers) + "\n"
