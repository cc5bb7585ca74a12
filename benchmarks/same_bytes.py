"""Whether another checkout makes the same bytes: results of both, side by side, as a Markdown table.

Bytes depend on processor and libraries, so no digest is kept anywhere: both checkouts compute in one run, on
one machine, with the same Python.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
PRESETS = ("classic", "bold")
SUFFIXES = ("png", "jpg")
SIZE_PX = 64
STEPS = 20


@click.command()
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(checkout: Path) -> None:
    """Compare with CHECKOUT, the folder of another commit; exit code 1 when any result differs."""
    differs = False
    for root in (ROOT, checkout.resolve()):
        _check_import(root)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_inputs(folder)
        click.echo(f"`python -m benchmarks.same_bytes` against {checkout.resolve()}\n")
        click.echo("| weights | preset | file | here | there | |")
        click.echo("|---|---|---|---|---|---|")
        for weights in ("untrained", "weights.h5"):
            for preset in PRESETS:
                for suffix in SUFFIXES:
                    here, there = (
                        _result(root.resolve(), folder, weights, preset, suffix) for root in (ROOT, checkout)
                    )
                    differs |= here != there
                    verdict = "same" if here == there else "**different**"
                    click.echo(
                        f"| {weights} | {preset} | {suffix} | {here[:16]} | {there[:16]} | {verdict} |"
                    )
    sys.exit(1 if differs else 0)


def _check_import(root: Path) -> None:
    """Make sure that what is compared is the checkout, and not the package that is installed."""
    command = [sys.executable, "-c", "import worker; print(worker.__file__)"]
    done = subprocess.run(  # noqa: S603 - our own words
        command,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    if Path(done.stdout.strip()) != root / "worker" / "__init__.py":
        raise click.ClickException(f"{root} is not a checkout: Python imports {done.stdout.strip()}")


def _write_inputs(folder: Path) -> None:
    """Write two pictures, and a Keras file of random weights that a trained network could have."""
    import h5py
    import numpy as np
    from PIL import Image

    from worker.engine.vgg19 import CONVOLUTIONS, kernel_shape

    for seed, name in enumerate(("content.png", "style.png")):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((SIZE_PX, SIZE_PX * 3 // 4)).save(buffer, "PNG")
        (folder / name).write_bytes(buffer.getvalue())
    generator = np.random.default_rng(11)
    with h5py.File(folder / "weights.h5", "w") as file:
        for layer, (channels_in, channels_out) in CONVOLUTIONS.items():
            kernel = generator.standard_normal(kernel_shape(layer), np.float32) / np.sqrt(36 * channels_in)
            group = file.create_group(layer).create_group(layer)
            group["kernel:0"] = kernel.astype(np.float32)
            group["bias:0"] = generator.uniform(100, 200, channels_out).astype(np.float32)


def _result(root: Path, folder: Path, weights: str, preset: str, suffix: str) -> str:
    """Return the SHA-256 of the file that a checkout's `atelier-worker stylize` writes."""
    output = folder / f"result.{suffix}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    environ |= {
        "PYTHONPATH": str(root),
        # Each builds the untrained network itself; the file of weights is the same for both.
        "ATELIER_CACHE_DIR": str(folder / hashlib.sha256(str(root).encode()).hexdigest()[:8]),
        "ATELIER_VGG19_WEIGHTS": weights,
    }
    options = [f"preset={preset}", f"size={SIZE_PX}", f"steps={STEPS}"]
    words = ["stylize", "content.png", "style.png", "-o", output.name]
    words += [word for option in options for word in ("-O", option)]
    # From that folder, so that neither checkout is the current one; a result says nothing of paths.
    command = [sys.executable, "-m", "worker.cli.main", *words]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise click.ClickException(f"{root}: {done.stderr}")
    return hashlib.sha256(output.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
