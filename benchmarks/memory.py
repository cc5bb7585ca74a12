"""The memory that jobs take beside what `shared.memory` reckons, as a Markdown table.

Each row is the real engine in a process of its own, on the CPU: ready, then a small job as its first, then
the one that is measured, with its state and its picture fetched in the middle as for a checkpoint. For Linux.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.fast_memory import forget_peak, memory

ROOT = Path(__file__).parents[1]
WEIGHTS = ("file", "untrained")
RECIPES = {"file": "classic", "untrained": "untrained"}
_STEPS = 3
_FIRST_PX = 32
_SEED = 7


@click.command()
@click.option("--sizes", default="256,512,1024", show_default=True, help="Long sides in px, at 4:3.")
@click.option(
    "--narrow", default=1024, show_default=True, help="Of a narrow content with a 4:3 style; 0: none."
)
@click.option("--one", hidden=True, help="Measure this one, as JSON, and write what was seen as JSON.")
def main(sizes: str, narrow: int, one: str | None) -> None:
    """Print what was measured and reckoned for each recipe and size."""
    if one is not None:
        click.echo(json.dumps(_measure(json.loads(one))))
        return
    click.echo(f"`python -m benchmarks.memory --sizes {sizes} --narrow {narrow}`\n")
    click.echo("| recipe | content | style | process | peak | reckoned | measured / reckoned |")
    click.echo("|---|---|---|---:|---:|---:|---:|")
    pairs = [((side, side * 3 // 4), (side, side * 3 // 4)) for side in map(int, sizes.split(","))]
    if narrow:
        pairs.append(((narrow, narrow // 8), (narrow, narrow * 3 // 4)))
    for weights in WEIGHTS:
        for content, style in pairs:
            seen = _ask({"weights": weights, "content": content, "style": style})
            reckoned = _reckon(weights, content, style)
            click.echo(
                f"| {RECIPES[weights]} | {content[0]} × {content[1]} | {style[0]} × {style[1]} | "
                f"{seen['process'] / 1e6:.0f} MB | {seen['peak'] / 1e6:.0f} MB | {reckoned / 1e6:.0f} MB | "
                f"{seen['peak'] / reckoned:.2f} |"
            )


def _reckon(weights: str, content: tuple[int, int], style: tuple[int, int]) -> int:
    from shared.memory import DeviceKind, Seat
    from shared.options import StyleOptions

    seat = Seat(DeviceKind.CPU, weights)
    job = seat.job_bytes(StyleOptions(size=max(*content, *style)), content, style)
    if job is None:
        raise click.ClickException("nothing is known of the memory of such a job")
    return seat.process_bytes + job


def _ask(task: Mapping[str, Any]) -> dict[str, int]:
    """Measure in a fresh process."""
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-m", "benchmarks.memory", "--one", json.dumps(task)]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    found: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _measure(task: Mapping[str, Any]) -> dict[str, int]:
    from shared.options import StyleOptions
    from worker.engine.engine import StyleEngine

    content, style = tuple(task["content"]), tuple(task["style"])
    engine = StyleEngine(weights_of(task["weights"]))
    first = [picture((_FIRST_PX, _FIRST_PX), seed) for seed in (0, 1)]
    for _ in engine.stylize(*first, StyleOptions(size=_FIRST_PX, steps=2)):
        pass
    pictures = [picture(content, 2), picture(style, 3)]
    forget_peak()
    process = memory("VmRSS")
    options = StyleOptions(size=max(*content, *style), steps=_STEPS)
    for step in engine.stylize(*pictures, options):
        if step.step == _STEPS - 1:
            step.state()
            step.image()
    return {"process": process, "peak": memory("VmHWM")}


def weights_of(name: str) -> Any:  # noqa: ANN401 - of a module that loads numpy
    """Return weights of this kind; the trained ones are random, as large as any, with finite losses."""
    import numpy as np

    from shared.settings import Settings
    from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape
    from worker.engine.weights.untrained import untrained_convolutions
    from worker.engine.weights.weights import Weights

    if name == "untrained":
        return Weights.of(untrained_convolutions(Settings().cache_dir), name="untrained")
    generator = np.random.default_rng(_SEED)
    convolutions = {}
    for layer, (channels_in, channels_out) in CONVOLUTIONS.items():
        scale = np.float32(np.sqrt(2 / (9 * channels_in)))
        kernel = generator.standard_normal(kernel_shape(layer), np.float32) * scale
        convolutions[layer] = (kernel, np.zeros(channels_out, np.float32))
    return Weights.of(convolutions, name="file")


def picture(size: tuple[int, ...], seed: int) -> bytes:
    """Return a PNG of soft spots of colour, (width, height) in px."""
    import numpy as np
    from PIL import Image

    width, height = size
    coarse = np.random.default_rng(seed).integers(
        0, 256, (max(2, height // 8), max(2, width // 8), 3), np.uint8
    )
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
