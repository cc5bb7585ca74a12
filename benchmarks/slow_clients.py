# ruff: noqa: T201 - a command line
"""How soon others are answered while clients stand still, or almost, in every phase of an exchange."""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import httpx2

from shared.settings import Settings
from tests.support.slow_clients import PHASES, Scene, SlowClients, make_scene
from tests.support.web_process import WebProcess
from web.cli.local.redis_server import RedisServer

_STREAM = "an event stream"
#: What creeps: a byte each second is sent, or read.
_SENDING = ("half a head", "an upload that stops")
_READING = ("a download that is not read",)
_PAGE_BYTES = 4096


@click.command
@click.option(
    "--slow", default=200, show_default=True, help="Clients that are slow, over all phases but streams."
)
@click.option("--streams", default=200, show_default=True, help="Event streams that are open.")
@click.option("--seconds", default=60.0, show_default=True, help="How long others ask meanwhile.")
def main(slow: int, streams: int, seconds: float) -> None:
    """Print how soon others were answered, first without and then with all the slow ones."""
    print(f"`python -m benchmarks.slow_clients --slow {slow} --streams {streams} --seconds {seconds:g}`\n")
    print("| clients held | asked | p50 | p95 | worst | threads | memory | descriptors |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as redis:
        settings = Settings(redis_url=redis.url, data_dir=Path(name) / "data", vgg19_weights="untrained")
        web = WebProcess(settings)
        web.start()
        try:
            with web.client() as client:
                scene = make_scene(client)
                _print("none", web, _ask(client, scene, seconds / 4))
                with SlowClients(web.settings.port, scene) as held:
                    _hold(held, slow=slow, streams=streams)
                    stop = threading.Event()
                    creeping = threading.Thread(target=_creep, args=(held, stop))
                    creeping.start()
                    try:
                        for part in range(4):
                            what = f"{slow} and {streams} streams, {(part + 1) * seconds / 4:g} s"
                            _print(what, web, _ask(client, scene, seconds / 4))
                    finally:
                        stop.set()
                        creeping.join()
                    ended = {phase: sum(map(_is_ended, lines)) for phase, lines in held.by_phase.items()}
                _print("none again", web, _ask(client, scene, seconds / 4))
                print(
                    "\nEnded by the service meanwhile:",
                    ", ".join(f"{n} of {p}" for p, n in ended.items() if n),
                )
        finally:
            web.end()


def _hold(held: SlowClients, *, slow: int, streams: int) -> None:
    for _ in range(streams):
        held.add(_STREAM)
    others = [phase for phase in PHASES if phase != _STREAM]
    for number in range(slow):
        held.add(others[number % len(others)])


def _creep(held: SlowClients, stop: threading.Event) -> None:
    """Send and read a byte a second; begin anew in place of what the service has ended."""
    while not stop.wait(1):
        for phase in (*_SENDING, *_READING):
            for line in held.by_phase[phase]:
                with suppress(OSError):
                    if phase in _READING:
                        line.recv(1)
                    else:
                        line.send(b"x")
        for phase in ("silent", *_SENDING):
            ended = [line for line in held.by_phase[phase] if _is_ended(line)]
            for line in ended:
                held.by_phase[phase].remove(line)
                line.close()
                held.add(phase)


def _is_ended(line: socket.socket) -> bool:
    try:
        return line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _ask(client: httpx2.Client, scene: Scene, seconds: float) -> list[float]:
    asks: list[Callable[[], httpx2.Response]] = [
        lambda: client.get("/healthz"),
        lambda: client.get(scene.job_path),
        lambda: client.get("/", headers={"Accept": "text/html"}),
        lambda: client.get("/api/v1/jobs"),
        lambda: client.post("/api/v1/assets", files={"file": ("a.txt", b"no picture")}),
    ]
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for ask in asks:
            began = time.perf_counter()
            if ask().status_code not in (200, 415, 422):
                raise click.ClickException("an answer is wrong")
            took.append(time.perf_counter() - began)
        time.sleep(0.1)
    return took


def _print(what: str, web: WebProcess, took: list[float]) -> None:
    if web.process is None:
        raise click.ClickException("the web process has ended")
    worker = int(Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()[0])
    proc = Path(f"/proc/{worker}")
    pages = int((proc / "statm").read_text().split()[1])
    threads, files = (len(list((proc / name).iterdir())) for name in ("task", "fd"))
    cuts = statistics.quantiles(took, n=20)
    cells = (*(f"{1000 * value:.1f} ms" for value in (cuts[9], cuts[18], max(took))), threads)
    memory = f"{pages * _PAGE_BYTES / 1e6:.0f} MB"
    print(f"| {what} | {len(took)} | {' | '.join(map(str, cells))} | {memory} | {files} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
