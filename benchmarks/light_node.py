"""A light node: how soon after its start it takes jobs, and what it takes with drafts, as Markdown tables.

A service without workers is started as `atelier up` does, and then, again and again, a node that serves
`fast` alone. The last one makes drafts. Its memory is that of both of its processes, what they share counted
once (PSS). Needs Linux.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import click

from benchmarks.drafts import EXAMPLES, draft_seconds, local_stack
from shared.processes import own_python
from shared.redis.workers import WorkerState
from web.cli.client import ApiClient

_LOOK_SECONDS = 0.01
_MEBIBYTE = 2**20
_NAME = "light"


@click.command()
@click.option("--starts", default=7, show_default=True, help="How often the node is started.")
@click.option("--drafts", "count", default=20, show_default=True, help="Drafts of each size.")
def main(starts: int, count: int) -> None:
    """Measure, and print both tables."""
    took: list[float] = []
    rows: list[tuple[str, int, int]] = []
    with tempfile.TemporaryDirectory() as folder, local_stack(folder, workers=0) as stack:
        environ = {**os.environ, **stack.settings.to_environ()}
        with ApiClient(stack.settings.local_url) as client:
            ids = [str(client.upload(EXAMPLES / f"{part}.png")["id"]) for part in ("content", "style")]
            for number in range(starts):
                begun = monotonic()
                node = subprocess.Popen(  # noqa: S603 - our own command
                    own_python("atelier-worker", "run", "--name", _NAME, "--methods", "fast"),
                    env=environ,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                try:
                    _wait_until_idle(client, node)
                    took.append(monotonic() - begun)
                    if number == starts - 1:
                        rows.append(("no draft yet", *_memory(node.pid)))
                        for size in (512, 1024):
                            draft_seconds(client, ids, count, size)
                            rows.append((f"{count} drafts of {size} px", *_memory(node.pid)))
                finally:
                    node.send_signal(signal.SIGTERM)
                    node.wait()
    click.echo(f"`python -m benchmarks.light_node --starts {starts} --drafts {count}`\n")
    click.echo("| starts | from its start until it takes jobs, median (s) | worst (s) |\n|---:|---:|---:|")
    click.echo(f"| {len(took)} | {median(took):.2f} | {max(took):.2f} |\n")
    click.echo("| after | both processes (PSS) | most that the engine's process took |\n|---|---:|---:|")
    for after, taken, most in rows:
        click.echo(f"| {after} | {taken / _MEBIBYTE:.0f} MiB | {most / _MEBIBYTE:.0f} MiB |")


def _wait_until_idle(client: ApiClient, node: subprocess.Popen[bytes]) -> None:
    while node.poll() is None:
        if any(worker["state"] == WorkerState.IDLE for worker in client.workers()["workers"] or ()):
            return
        sleep(_LOOK_SECONDS)
    raise click.ClickException(f"the node ended with exit code {node.returncode}")


def _memory(parent: int) -> tuple[int, int]:
    """Return what a node's processes take, and the most that the largest of its children took; bytes."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    children = [int(number) for number in listed.split()]
    taken = sum(_field(f"/proc/{pid}/smaps_rollup", "Pss") for pid in (parent, *children))
    return taken, max(_field(f"/proc/{pid}/status", "VmHWM") for pid in children)


def _field(path: str, name: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB$", Path(path).read_text(), re.MULTILINE)
    if match is None:
        raise click.ClickException(f"{path} has no {name}")
    return int(match[1]) * 1024


if __name__ == "__main__":
    main()
