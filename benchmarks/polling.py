"""Polls and submissions a second beside a plain Flask and Celery service, as a Markdown table.

Both run under gunicorn with one process and as many threads, beside one Redis, and are asked by the same
clients. What is compared takes turns, round after round, so that a busy machine harms both alike: the ratios
are what counts. The plain one runs twice: in gunicorn's worker with threads, and in that of our own web.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click
import httpx2
from celery import states
from sqlalchemy import update

from benchmarks.http_load import Load, ask_each, ask_for, request_bytes
from benchmarks.machine import children_of, machine_line, processor_seconds
from benchmarks.plain_service import SERVERS, make_celery
from shared.clock import utc_now
from shared.logs import configure_logs
from shared.options import StyleOptions
from shared.picture import PictureFacts
from shared.protocol import PROTOCOL, new_id
from shared.redis.control import ControlBeat
from shared.redis.live import LiveProgress
from shared.redis.workers import WorkerBeat
from shared.settings import Settings
from shared.status import JobStatus
from tests.support.ports import free_port
from tests.support.web_process import WebProcess
from web.assets.uploads import Picture, add_asset
from web.backend import Backend
from web.cli.local.redis_server import RedisServer
from web.db.models import Asset, Job
from web.jobs.queries import add_job

_JOBS = "/api/v1/jobs"
#: How many jobs wait in line; those that are polled are among them.
_WAITING = 100
#: A worker reports a step this often, and others write this often, where a row says so.
_STEPS_PER_SECOND, _WRITES_PER_SECOND = 10, 20
_START_SECONDS = 60
_OURS = "ours"


@dataclass
class Service:
    """One of the services that are compared."""

    name: str
    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time of its worker process so far."""
        return processor_seconds(children_of(self.pid)[0])


@dataclass
class Row:
    """What is asked of each service, by its name; the statuses that are right; what goes on meanwhile."""

    name: str
    ask: dict[str, Callable[[Service, float, int], Load]]
    right: frozenset[int] = frozenset({200})
    meanwhile: Callable[[], Any] | None = None
    rates: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """What there is to ask about: ids of jobs here, and of tasks there, by what they are at."""

    assets: tuple[str, str]
    jobs: dict[str, list[str]]
    tasks: dict[str, list[str]]


@click.command()
@click.option("--clients", default=32, show_default=True, help="Who ask at once.")
@click.option("--seconds", default=1.5, show_default=True, help="How long each is asked in a round.")
@click.option("--rounds", default=5, show_default=True, help="How often all take their turn.")
@click.option("--only", default="", help="Only rows with this in their name.")
def main(clients: int, seconds: float, rounds: int, only: str) -> None:
    """Measure, and print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(RedisServer(folder / "redis"))
        # Ours logs each request, as it does where it is deployed.
        settings = Settings(redis_url=redis.url, data_dir=folder / "data", vgg19_weights="untrained")
        configure_logs(settings.model_copy(update={"log_level": "error"}))
        backend = Backend.open(settings)
        stack.callback(backend.close)
        scene = _make_scene(backend)
        services = list(_start(stack, settings))
        rows = [row for row in _rows(backend, scene) if only in row.name]
        for service in services:
            for row in rows:
                _ask(row, service, 0.5, clients)  # what is compiled and connected at first is not measured
        for row in rows:
            row.rates.clear()
            row.cpu_ms.clear()
        for turn in range(rounds):
            for row in rows:
                for service in services if turn % 2 else services[::-1]:
                    _ask(row, service, seconds, clients)
    _print(rows, f"--clients {clients} --seconds {seconds:g} --rounds {rounds}")


def _ask(row: Row, service: Service, seconds: float, clients: int) -> None:
    began = service.cpu_seconds()
    with _running(row.meanwhile):
        load = row.ask[service.name](service, seconds, clients)
    if not load.statuses.keys() <= row.right:
        raise click.ClickException(f"{row.name}: {service.name} answered {load.statuses}")
    row.rates.setdefault(service.name, []).append(load.rate)
    row.cpu_ms.setdefault(service.name, []).append(
        1000 * (service.cpu_seconds() - began) / max(1, len(load.took))
    )


def _rows(backend: Backend, scene: Scene) -> Iterator[Row]:
    plain = {kind: _poll("/tasks/{}", scene.tasks[kind]) for kind in ("ended", "running", "queued")}
    steps, writes = _steps(backend, scene), _writes(backend)

    def row(
        name: str, kind: str, *, unchanged: bool = False, meanwhile: Callable[[], Any] | None = None
    ) -> Row:
        ours = _poll(_JOBS + "/{}", scene.jobs[kind], unchanged=unchanged)
        right = frozenset({200, 304} if unchanged else {200})
        return Row(name, {_OURS: ours, **dict.fromkeys(SERVERS, plain[kind])}, right, meanwhile)

    yield row("poll an ended job", "ended")
    yield row(f"poll a running job, {_STEPS_PER_SECOND} steps/s", "running", meanwhile=steps)
    yield row(f"poll a queued job, {_WAITING} in line", "queued")
    yield row(f"poll an ended job, {_WRITES_PER_SECOND} writes/s by others", "ended", meanwhile=writes)
    yield row(f"poll a queued job, {_WRITES_PER_SECOND} writes/s by others", "queued", meanwhile=writes)
    yield row("unchanged (304), ended", "ended", unchanged=True)
    yield row("unchanged (304), queued", "queued", unchanged=True)
    content, style = scene.assets
    submit = {
        _OURS: _submit(_JOBS, lambda: {"content": content, "style": style, "options": _options()}),
        **dict.fromkeys(
            SERVERS,
            _submit("/tasks", lambda: {"content": content, "style": style, "options": _options()}),
        ),
    }
    yield Row("submit of known assets", submit, frozenset({202}))


def _poll(path: str, ids: Sequence[str], *, unchanged: bool = False) -> Callable[[Service, float, int], Load]:
    def ask(service: Service, seconds: float, clients: int) -> Load:
        requests = []
        with httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", trust_env=False) as client:
            for one in ids:
                headers = {"If-None-Match": client.get(path.format(one)).headers["ETag"]} if unchanged else {}
                requests.append(request_bytes("GET", path.format(one), port=service.port, headers=headers))
        return ask_for(seconds, requests, port=service.port, clients=clients)

    return ask


def _submit(path: str, make: Callable[[], dict[str, Any]]) -> Callable[[Service, float, int], Load]:
    def ask(service: Service, seconds: float, clients: int) -> Load:
        def request() -> bytes:
            return request_bytes("POST", path, port=service.port, body=json.dumps(make()).encode())

        return ask_each(request, seconds, port=service.port, clients=clients)

    return ask


_count = iter(range(1, 10**9))


def _options() -> dict[str, Any]:
    """Return options that no job had before: nothing is given an earlier result, or waits for one."""
    return {"style_weight": 0.01 + next(_count) / 10**8}


@contextmanager
def _running(act: Callable[[], Any] | None) -> Iterator[None]:
    """Have something done over and over in a thread during the block."""
    stop = threading.Event()

    def run() -> None:
        while act is not None and not stop.is_set():
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _steps(backend: Backend, scene: Scene) -> Callable[[], None]:
    celery = make_celery(backend.settings.redis_url)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        for job_id in scene.jobs["running"]:
            backend.redis.progress.publish(job_id, _live(count % 90 + 1))
        for task_id in scene.tasks["running"]:
            celery.backend.store_result(task_id, {"step": count % 90 + 1, "steps": 100}, "PROGRESS")
        time.sleep(1 / _STEPS_PER_SECOND)

    return step


def _writes(backend: Backend) -> Callable[[], None]:
    with backend.database.read() as session:
        job_id = session.query(Job.id).filter(Job.name == "of somebody else").scalar()

    def write() -> None:
        with backend.database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(step=Job.step + 1))
        time.sleep(1 / _WRITES_PER_SECOND)

    return write


def _live(step: int) -> LiveProgress:
    return LiveProgress(
        attempt=1, step=step, steps=100, loss_total=1.0 / step, loss_content=0.5, loss_style=0.5,
        steps_per_second=4.0,
    )  # fmt: skip


def _make_scene(backend: Backend) -> Scene:
    """Write jobs and tasks of each kind; one worker has the running ones, and control is there."""
    now, celery = utc_now(), make_celery(backend.settings.redis_url)
    with backend.database.write() as session:
        pictures = [
            Picture(f"{number:064x}", 1, f"{number}.png", PictureFacts("image/png", 1200, 800))
            for number in (1, 2)
        ]
        content, style = (add_asset(session, one, caller="local", now=now)[0] for one in pictures)
        ended = [_add(session, content, style, JobStatus.SUCCEEDED) for _ in range(8)]
        running = [_add(session, content, style, JobStatus.RUNNING) for _ in range(8)]
        queued = [_add(session, content, style, JobStatus.QUEUED) for _ in range(_WAITING)]
        _add(session, content, style, JobStatus.RUNNING, name="of somebody else")
        assets = content.id, style.id
    for job_id in running:
        backend.redis.progress.publish(job_id, _live(1))
    beat = {"weights": "untrained", "protocol": PROTOCOL, "started_at": now, "at": now}
    registry = type(backend.redis.workers)(
        backend.redis.client, backend.redis.names, worker_seconds=24 * 3600
    )
    registry.beat(WorkerBeat(worker_id="gpu-a", device="cuda:0", **beat))
    backend.redis.client.set(
        backend.redis.names.key("control"), ControlBeat(started_at=now, at=now).model_dump_json()
    )
    tasks = {"ended": states.SUCCESS, "running": "PROGRESS"}
    made: dict[str, list[str]] = {"queued": [new_id() for _ in range(8)]}
    for kind, state in tasks.items():
        made[kind] = [new_id() for _ in range(8)]
        for task_id in made[kind]:
            celery.backend.store_result(
                task_id, {"step": 100, "steps": 100, "output": "a/picture.png"}, state
            )
    return Scene(assets, {"ended": ended, "running": running, "queued": queued[-8:]}, made)


def _add(session: Any, content: Asset, style: Asset, status: JobStatus, *, name: str = "a job") -> str:  # noqa: ANN401 - a session
    now = utc_now()
    facts: dict[str, Any] = {"status": status.value}
    if status is not JobStatus.QUEUED:
        facts |= {"started_at": now, "worker_id": "gpu-a", "device": "cuda:0", "engine_version": "1"}
        facts |= {"weights": {"name": "untrained", "sha256": None, "notice": None}, "dispatched_at": now}
    if status is JobStatus.SUCCEEDED:
        output = {
            "name": "result.png", "key": "jobs/a/attempt-1/result.png", "sha256": "ab" * 32,
            "content_type": "image/png", "size_bytes": 1, "width": 512, "height": 341,
        }  # fmt: skip
        facts |= {"completed_at": now, "step": 100, "outputs": [output]}
    job = add_job(
        session, caller="local", name=name, content=content, style=style, options=StyleOptions(),
        labels={"project": "harbour"}, max_attempts=3, now=now,
        metrics={"run_seconds": 40.0} if status is JobStatus.SUCCEEDED else {},
    )  # fmt: skip
    for column, value in facts.items():
        setattr(job, column, value)
    session.flush()
    return job.id


def _start(stack: ExitStack, settings: Settings) -> Iterator[Service]:
    """Start all services, and have each answer once."""
    web = WebProcess(settings)
    web.start()
    stack.callback(web.end)
    if web.process is None:
        raise click.ClickException("the web process has ended")
    yield _ready(Service(_OURS, web.settings.port, web.process.pid), _JOBS)
    for kind in SERVERS:
        port = free_port()
        environ = {**os.environ, **settings.model_copy(update={"port": port}).to_environ()}
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.plain_service", kind], env=environ)  # noqa: S603
        stack.callback(process.wait)
        stack.callback(process.terminate)
        yield _ready(Service(kind, port, process.pid), "/tasks/none")


def _ready(service: Service, path: str) -> Service:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx2.get(
                f"http://127.0.0.1:{service.port}{path}", trust_env=False, timeout=5
            ).raise_for_status()
        except httpx2.HTTPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return service


def _print(rows: Sequence[Row], how: str) -> None:
    click.echo(f"`python -m benchmarks.polling {how}`\n")
    click.echo(f"{machine_line()}. Medians over the rounds, and the least")
    click.echo("and largest ratio of a round. 'Plain' is Flask with Celery's AsyncResult and send_task.\n")
    click.echo("| asked | ours | plain, gthread | ratio | plain, our server | ratio | processor, each |")
    click.echo("|---|---:|---:|---:|---:|---:|---|")
    for row in rows:
        cells = [f"{median(row.rates[_OURS]):.0f}/s"]
        for kind in SERVERS:
            ratios = [a / b for a, b in zip(row.rates[_OURS], row.rates[kind], strict=True)]
            cells.append(f"{median(row.rates[kind]):.0f}/s")
            cells.append(f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
        busy = ", ".join(f"{median(row.cpu_ms[kind]):.2f}" for kind in (_OURS, *SERVERS))
        click.echo(f"| {row.name} | {' | '.join(cells)} | {busy} ms |")


if __name__ == "__main__":
    main()
