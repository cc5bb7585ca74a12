"""Everything that the program shows of itself, as texts that can be compared: ids, times and ages masked."""

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
from tests.support.workshop import Workshop
from web.app import create_app
from web.cli.local.redis_server import RedisServer
from web.cli.main import main as atelier
from web.db.database import Database
from web.services import services_of
from worker.cli.main import main as atelier_worker

JOBS = "/api/v1/jobs"
_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d,? \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\d{1,2} \w{3,9}( \d{4})?,? \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\b(just now|\d+ (s|min|h|seconds?|minutes?) ago)\b"), "AGO"),
    (re.compile(r'(?<=oldest_age_seconds">)[^<]+|(?<=Waited</dt><dd>)[^<]+'), "SPAN"),
    (re.compile(r"page_token=[\w%.~-]+"), "page_token=TOKEN"),
    (re.compile(r"data-version=\"\d+\""), 'data-version="N"'),
    (re.compile(r"\?v=[0-9a-f-]{6,}"), "?v=VERSION"),
    (re.compile(r"(?m)[ \t]+$"), ""),
)


def masked(shown: str) -> str:
    """Return a text without what differs from one run to the next."""
    for pattern, word in _MASKS:
        shown = pattern.sub(word, shown)
    return shown


def all_shown(folder: Path) -> dict[str, str]:
    """Return everything by the name of its golden file; `folder` is for the files of the service."""
    shown = {"errors.txt": shown_errors(), "help.txt": shown_help()}
    with running(folder) as (client, settings):
        shown["openapi.json"] = json.dumps(client.get("/openapi.json").json, indent=1) + "\n"
        shown["schema.sql"] = shown_schema(settings)
        shown |= dict(shown_pages(client))
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
    """Return the statements that make an empty database, in the order of their names."""
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        rows = session.execute(
            text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
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


def shown_pages(client: FlaskClient) -> Iterator[tuple[str, str]]:
    """Show every page: empty, then with jobs in all states, then with what it refuses."""
    yield "empty/jobs.html", _page(client, "/")
    yield "empty/new.html", _page(client, "/new")
    yield "empty/workers.html", _page(client, "/workers")
    yield "docs.html", _page(client, "/docs")
    yield "unknown.html", _page(client, "/nothing-here")
    yield "unknown_job.html", _page(client, "/jobs/0198c0de-0000-7000-8000-000000000000")
    yield (
        "new_refused.html",
        masked(client.post("/new", data=_form(size="9999", name="x\ty"), headers=_HTML).text),
    )
    yield "problems.json", _problems(client)
    body = _form(options='{"size": 64}', name="No worker yet")
    lonely = client.post(JOBS, data=body).json["id"]
    yield "job/queued_without_worker.html", _page(client, f"/jobs/{lonely}")
    jobs = _make_jobs(client)
    for state, job_id in jobs.items():
        yield f"job/{state}.html", _page(client, f"/jobs/{job_id}")
    yield "job/chosen_step.html", _page(client, f"/jobs/{jobs['succeeded']}?step=40&view=content")
    refused = client.post(f"/jobs/{jobs['succeeded']}/extend", data={"steps": "0"}, headers=_HTML)
    yield "job/extend_refused.html", masked(refused.text)
    refused = client.post(f"/jobs/{jobs['queued']}/retry", data={"from": "zero"}, headers=_HTML)
    yield "job/retry_refused.html", masked(refused.text)
    yield "jobs.html", _page(client, "/")
    yield "jobs_filtered.html", _page(client, "/?status=succeeded&label=album:one&name=so")
    yield "jobs_bad_filter.html", _page(client, "/?status=sleeping")
    yield "new_from_job.html", _page(client, f"/new?from={jobs['succeeded']}")
    yield "workers.html", _page(client, "/workers")


_HTML = {"Accept": "text/html"}


def _page(client: FlaskClient, url: str) -> str:
    return masked(client.get(url, headers=_HTML).text)


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


def _make_jobs(client: FlaskClient) -> dict[str, str]:
    """Make a job in each state and return their ids; no two do the same work but where that is the state."""
    workshop = Workshop(services_of(client.application))

    def submit(seed: int, **fields: str) -> str:
        options = json.dumps({"size": 64, "steps": 100, "style_weight": seed / 100})
        body = _form(options=options, **fields)
        return str(client.post(JOBS, data=body).json["id"])

    def ask(job_id: str, action: str, **body: object) -> str:
        answer = client.post(f"{JOBS}/{job_id}/{action}", json=body or None)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json["id"])

    jobs = {}
    workshop.connect()
    jobs["succeeded"] = submit(2, name="Solved", labels=json.dumps({"album": "one"}))
    workshop.run_through(jobs["succeeded"])
    jobs["reused"] = submit(2, name="The same again")
    jobs["failed"] = submit(3, name="Too large")
    workshop.claim(jobs["failed"])
    workshop.fail(jobs["failed"])
    jobs["paused"] = submit(4, name="Rests")
    workshop.claim(jobs["paused"])
    ask(jobs["paused"], "pause")
    workshop.checkpoint(jobs["paused"], 30)
    workshop.pause(jobs["paused"], 30)
    jobs["canceled"] = submit(5, name="Called off")
    ask(jobs["canceled"], "cancel")
    jobs["canceling"] = submit(6, name="Is being called off")
    workshop.claim(jobs["canceling"])
    ask(jobs["canceling"], "cancel")
    jobs["handed_back"] = submit(7, name="Handed back")
    workshop.claim(jobs["handed_back"])
    workshop.checkpoint(jobs["handed_back"], 20)
    workshop.release(jobs["handed_back"], 20)
    jobs["forked"] = ask(jobs["succeeded"], "fork", step=40, options={"style_weight": 0.5}, name="A branch")
    jobs["extended"] = submit(8, name="Longer")
    workshop.run_through(jobs["extended"])
    ask(jobs["extended"], "extend", steps=50)
    jobs["running"] = submit(9, name="Under way", labels=json.dumps({"album": "two", "for": "Ann"}))
    workshop.claim(jobs["running"])
    workshop.progress(jobs["running"], 10)
    workshop.checkpoint(jobs["running"], 10)
    workshop.progress(jobs["running"], 17)
    jobs["waiting_for_another"] = submit(9, name="Waits for it")
    jobs["queued"] = submit(10, queue_timeout_seconds="86400")
    return jobs


def _problems(client: FlaskClient) -> str:
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
        answers.append(f"{method} {url} {sent}\n{response.status_code} {masked(response.text)}")
    return "\n".join(answers) + "\n"
