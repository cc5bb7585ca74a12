"""The cost of deterministic ops: step times of both methods with and without them, as a Markdown table.

Each run is a separate process, since the setting cannot be undone; both kinds alternate, so that a machine
that becomes slower or busier affects both.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click

ROOT = Path(__file__).parents[1]
METHODS = ("classic", "untrained")
SIZES_PX = (128, 256)
#: Steps that are timed; those before them compile and fill caches.
STEPS = {128: 16, 256: 8}
WARM_UP_STEPS = 3


@click.command()
@click.option("--repeats", default=5, show_default=True, help="Pairs of processes for each method.")
def main(repeats: int) -> None:
    """Measure, and print the table."""
    ratios: dict[tuple[str, int], list[float]] = {}
    seconds: dict[tuple[str, int, bool], list[float]] = {}
    digests: dict[tuple[str, int, bool], set[str]] = {}
    with tempfile.TemporaryDirectory() as cache_dir:
        for number in range(repeats):
            for method in METHODS:
                order = (True, False) if number % 2 else (False, True)
                found = {is_exact: _in_process(method, is_exact, cache_dir) for is_exact in order}
                for size in SIZES_PX:
                    for is_exact, measured in found.items():
                        key = (method, size, is_exact)
                        seconds.setdefault(key, []).append(measured[str(size)]["seconds"])
                        digests.setdefault(key, set()).add(measured[str(size)]["sha256"])
                    ratio = seconds[method, size, True][-1] / seconds[method, size, False][-1]
                    ratios.setdefault((method, size), []).append(ratio)
                click.echo(f"{number + 1} of {repeats}: {method}", err=True)
    click.echo(f"`python -m benchmarks.determinism --repeats {repeats}`\n")
    click.echo(
        "| method | size | step, any ops | step, deterministic ops | ratio (least to greatest) | results |"
    )
    click.echo("|---|---|---|---|---|---|")
    for (method, size), found_ratios in ratios.items():
        free, exact = (median(seconds[method, size, is_exact]) for is_exact in (False, True))
        results = [digests[method, size, is_exact] for is_exact in (False, True)]
        kinds = f"{len(results[0])} / {len(results[1])} / {len(results[0] | results[1])}"
        click.echo(
            f"| {method} | {size} px | {free * 1000:.0f} ms | {exact * 1000:.0f} ms | "
            f"{median(found_ratios):.2f} ({min(found_ratios):.2f} to {max(found_ratios):.2f}) | {kinds} |"
        )
    click.echo("\n`results`: different pictures that the runs ended in: any ops / deterministic / both.")


def _in_process(method: str, is_exact: bool, cache_dir: str) -> dict[str, Any]:
    kind = "deterministic" if is_exact else "any"
    command = [sys.executable, "-m", "benchmarks.determinism", method, kind, cache_dir]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise click.ClickException(done.stderr)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(method: str, kind: str, cache_dir: str) -> dict[int, dict[str, Any]]:
    """Return, by size, seconds of the quickest step (least disturbed) and the last picture's SHA-256."""
    import tensorflow as tf

    from shared.options import StyleOptions
    from tests.support.real_engine import load_engine

    if kind == "any":
        tf.config.experimental.enable_op_determinism = lambda: None
    engine = load_engine(method, Path(cache_dir))
    measured = {}
    for size in SIZES_PX:
        options = StyleOptions(steps=WARM_UP_STEPS + STEPS[size], size=size)
        steps = list(engine.stylize(_picture(size, 1), _picture(size, 2), options))
        measured[size] = {
            "seconds": min(step.seconds for step in steps[WARM_UP_STEPS:]),
            "sha256": hashlib.sha256(steps[-1].image().tobytes()).hexdigest(),
        }
    return measured


def _picture(size: int, seed: int) -> bytes:
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((size, size)).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in METHODS:
        sys.stdout.write(json.dumps(measure(*sys.argv[1:4])))
    else:
        main()
