"""Our step against others', interleaved in one run, as a Markdown table.

- the article's loop: TensorFlow's eager mode, as it is written there, with the same weights;
- PyTorch, channels last, where there is an interpreter that has it (`--torch`);
- the bound of direct convolution: the operations of a step at the rate of a product of two large matrices.

Every contender is a process of its own and takes its steps while the others wait, round after round.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import click
import h5py
import numpy as np
from PIL import Image

from benchmarks.contenders import PRODUCT_SIDE
from benchmarks.machine import machine_line
from tests.support.weights_file import write_weights_file
from worker.engine.methods.classic import CONTENT_LAYER
from worker.engine.vgg19 import CONVOLUTIONS, follows_pooling, layers_up_to

_EXAMPLES = Path(__file__).parents[1] / "examples"
#: (width, height) in px → steps of each contender in a round.
_SIZES = {(512, 384): 2, (64, 48): 12}
_PRODUCTS = 6
#: Steps before those that are timed: they compile, and fill caches.
_WARM_UP = 2
#: How far first losses may differ in parts of themselves: all are to compute the same.
_SAME_LOSS = 0.01


class Contender:
    """A process that takes steps when it is told to."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own words
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )

    def steps(self, count: int) -> tuple[list[float], float]:
        """Take steps; returns the seconds of each, and the value of the last."""
        if self._process.stdin is None or self._process.stdout is None:
            raise click.ClickException("a contender has no pipes")
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self._process.args!r} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer["seconds"], answer["value"]

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


@click.command()
@click.option("--rounds", default=9, show_default=True, help="Rounds in which each contender is timed once.")
@click.option("--torch", "torch_python", help="Python that has PyTorch; without it, that row is left out.")
def main(rounds: int, torch_python: str | None) -> None:
    """Measure, and print the table."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_weights_file(folder / "weights.h5")
        for (width, height), count in _SIZES.items():
            lay_out(folder, width, height)
            lines += compare(folder, width, height, count, rounds, torch_python)
        lines.append(first_steps(folder, rounds))
    click.echo(
        f"`python -m benchmarks.engine --rounds {rounds}{' --torch …' if torch_python else ''}`, ", nl=False
    )
    click.echo(f"{machine_line()}\n")
    click.echo("| one step of `classic` | ours | against | other | ratio, other / ours (least to greatest) |")
    click.echo("|---|---:|---|---:|---:|")
    for line in lines:
        click.echo(line)
    if torch_python is None:
        click.echo("\nPyTorch was not measured: name a Python that has it with `--torch`.")


def compare(
    folder: Path, width: int, height: int, count: int, rounds: int, torch_python: str | None
) -> list[str]:
    """Return the rows of one size."""
    own = [sys.executable, "-m", "benchmarks.contenders"]
    with ExitStack() as stack:

        def start(*command: str) -> Contender:
            contender = Contender(command)
            stack.callback(contender.close)
            return contender

        running = {
            name: start(*own, name, str(folder), str(max(width, height)))
            for name in ("engine", "article", "products")
        }
        if torch_python is not None:
            running["torch"] = start(torch_python, "benchmarks/torch_step.py", str(folder))
        first = {name: contender.steps(1)[1] for name, contender in running.items() if name != "products"}
        for name, loss in first.items():
            if abs(loss - first["engine"]) > _SAME_LOSS * abs(first["engine"]):
                raise click.ClickException(f"first losses differ: {first}, look at {name}")
        took: dict[str, list[float]] = {name: [] for name in running}
        for contender in running.values():
            contender.steps(_WARM_UP)
        for number in range(rounds):
            # Every second round backwards, so that nobody always runs behind the same one.
            for name in list(running)[:: -1 if number % 2 else 1]:
                seconds, _ = running[name].steps(_PRODUCTS if name == "products" else count)
                took[name].append(median(seconds))
            click.echo(f"{width} × {height}: {number + 1} of {rounds}", err=True)
    work = operations(width, height)
    bounds = [work * seconds / (2 * PRODUCT_SIDE**3) for seconds in took["products"]]
    others = {"the article’s loop": took["article"], "the bound of direct convolution": bounds}
    if "torch" in took:
        others["PyTorch, channels last"] = took["torch"]
    return [_row(f"{width} × {height} px", took["engine"], name, other) for name, other in others.items()]


def first_steps(folder: Path, rounds: int) -> str:
    """Return the row that says what the first step at a new size costs beyond a usual one."""
    lay_out(folder, 256, 192)
    contender = Contender([sys.executable, "-m", "benchmarks.contenders", "new-sizes", str(folder), "256"])
    try:
        contender.steps(1)
        extra = [contender.steps(1)[1] for _ in range(rounds)]
    finally:
        contender.close()
    said = f"{median(extra) * 1000:.0f} ms more ({min(extra) * 1000:.0f} to {max(extra) * 1000:.0f})"
    return f"| first one at a new size, up to 256 px | {said} | a usual one | | |"


def _row(what: str, ours: Sequence[float], name: str, other: Sequence[float]) -> str:
    ratios = [theirs / own for theirs, own in zip(other, ours, strict=True)]
    return f"| {what} | {_said(ours)} | {name} | {_said(other)} | {spread_of(ratios)} |"


def spread_of(ratios: Sequence[float]) -> str:
    """Return the median of some ratios, with the least and the greatest of them."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _said(seconds: Sequence[float]) -> str:
    return f"{median(seconds) * 1000:.0f} ms"


def operations(width: int, height: int) -> int:
    """Return the floating-point operations of a step: each layer forward, and the gradient of its input."""
    total = 0
    for layer in layers_up_to(CONTENT_LAYER):
        if follows_pooling(layer):
            width, height = width // 2, height // 2
        channels_in, channels_out = CONVOLUTIONS[layer]
        # A multiplication and an addition, in both directions.
        total += 2 * 2 * width * height * 9 * channels_in * channels_out
    return total


def lay_out(folder: Path, width: int, height: int) -> None:
    """Write pictures of that size and the weights in the forms that the contenders read."""
    pictures = {}
    for part in ("content", "style"):
        with Image.open(_EXAMPLES / f"{part}.png") as opened:
            fitted = opened.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        fitted.save(folder / f"{part}.png")
        pictures[part] = np.asarray(fitted, np.float32)[np.newaxis] / np.float32(255)
    arrays: dict[str, Any] = {}
    with h5py.File(folder / "weights.h5") as file:
        for number, layer in enumerate(layers_up_to(CONTENT_LAYER)):
            group = file[layer]
            arrays[f"kernel{number}"] = group[f"{layer}_W_1:0"][()]
            arrays[f"bias{number}"] = group[f"{layer}_b_1:0"][()]
    np.savez(folder / "torch.npz", **pictures, **arrays)


if __name__ == "__main__":
    main()
