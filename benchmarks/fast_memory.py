"""The fast method's time and memory: of a pass, by its pixels, and of a process that makes many drafts.

Needs the packaged model, as tests do, and Linux, which tells what a process takes.
"""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import click

EXAMPLES = Path(__file__).parents[1] / "examples"
PEAK_SIZES = (
    *((384, 256), (512, 512), (768, 512), (512, 768), (1024, 683), (1024, 1024), (300, 2400)),
    *((1536, 1024), (2048, 1365), (2048, 2048)),
)
_MEBIBYTE = 2**20
_SEED = 5


@click.command()
@click.option("--drafts", default=2000, show_default=True, help="How many drafts of mixed sizes are made.")
@click.option("--largest", default=640, show_default=True, help="Their largest long side, in px.")
@click.option("--threads", default=2, show_default=True)
def main(drafts: int, largest: int, threads: int) -> None:
    """Print two tables: time and peak by size, and the memory after every tenth of the drafts."""
    from shared.options import StyleOptions
    from shared.settings import Settings
    from worker.engine.fast.engine import FastEngine
    from worker.engine.fast.model import load_fast_model
    from worker.engine.fast.source import find_fast_model
    from worker.engine.images import decode_picture, resize_picture

    content, style = ((EXAMPLES / name).read_bytes() for name in ("content.png", "style.png"))
    engine = FastEngine(load_fast_model(find_fast_model(Settings()), threads=threads))
    engine.warm()
    click.echo(
        f"`python -m benchmarks.fast_memory --drafts {drafts} --largest {largest} --threads {threads}`\n"
    )
    click.echo("| seen | time | before | peak | for each pixel |")
    click.echo("|---|---:|---:|---:|---:|")
    style_picture = decode_picture(style, size=512, name="style")
    picture = decode_picture(content, size=512, name="content")
    for width, height in PEAK_SIZES:
        shown = resize_picture(picture, (width, height))
        forget_peak()
        before = memory("VmRSS")
        started = time.perf_counter()
        engine.draft(shown, style_picture, StyleOptions(detail=max(width, height)))
        seconds, peak = time.perf_counter() - started, memory("VmHWM")
        click.echo(
            f"| {width} × {height} | {seconds:.2f} s | {before / _MEBIBYTE:.0f} MiB | "
            f"{peak / _MEBIBYTE:.0f} MiB | {(peak - before) / (width * height):.0f} B |"
        )

    click.echo("\n| drafts | memory | most so far |")
    click.echo("|---:|---:|---:|")
    numbers = random.Random(_SEED)  # noqa: S311 - sizes, no secrets
    forget_peak()
    for done in range(drafts + 1):
        if done % max(1, drafts // 10) == 0:
            now, most = memory("VmRSS"), memory("VmHWM")
            click.echo(f"| {done} | {now / _MEBIBYTE:.0f} MiB | {most / _MEBIBYTE:.0f} MiB |")
        side = numbers.randint(64, largest)
        options = StyleOptions(size=side, style_strength=numbers.choice((0.5, 1.0)))
        for step in engine.stylize(content, style, options):
            step.image()


def memory(field: str) -> int:
    """Return a field of this process' status, in bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise click.ClickException(f"/proc/self/status has no {field}")
    return int(match[1]) * 1024


def forget_peak() -> None:
    """Let the peak begin anew at what is taken now."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
