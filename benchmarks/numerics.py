"""What changes the bytes of a picture on a CPU beside the job: digests, of the same jobs in each row."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
_STEPS = 3
_SIZES_PX = ((96, 72), (160, 120))
_DIGITS = 12


@click.command()
@click.option("--threads", default="1,2,4", show_default=True, help="Threads that TensorFlow computes with.")
@click.option("--one", is_flag=True, hidden=True, help="Print the digests of this process.")
def main(threads: str, one: bool) -> None:
    """Print the digests of the states after three steps, of both recipes at two sizes."""
    if one:
        click.echo(" | ".join(_digests()))
        return
    click.echo(f"`python -m benchmarks.numerics --threads {threads}`\n")
    click.echo("| | classic, 96 px | classic, 160 px | untrained, 96 px | untrained, 160 px |")
    click.echo("|---|---|---|---|---|")
    rows = [
        (f"{count} thread" + "s" * (count != "1"), {"TF_NUM_INTRAOP_THREADS": count})
        for count in threads.split(",")
    ]
    rows += [("once more", rows[-1][1]), ("without oneDNN", {**rows[-1][1], "TF_ENABLE_ONEDNN_OPTS": "0"})]
    for name, variables in rows:
        click.echo(f"| {name} | {_ask(variables)} |")


def _ask(variables: dict[str, str]) -> str:
    """Return the digests of a fresh process with these variables."""
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.numerics", "--one"],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return done.stdout.strip().splitlines()[-1]


def _digests() -> list[str]:
    from benchmarks.memory import picture, weights_of
    from shared.options import StyleOptions
    from worker.engine.engine import StyleEngine

    found = []
    for weights in ("file", "untrained"):
        engine = StyleEngine(weights_of(weights))
        for size in _SIZES_PX:
            options = StyleOptions(size=max(size), steps=_STEPS)
            *_, last = engine.stylize(picture(size, 1), picture(size, 2), options)
            digest = hashlib.sha256()
            for _, array in sorted(last.state().arrays.items()):
                digest.update(array.tobytes())
            found.append(digest.hexdigest()[:_DIGITS])
    return found


if __name__ == "__main__":
    main()
