"""All benchmarks that docs/performance.md tells of, one after the other, in one report: `make bench`.

Each runs as a process of its own and prints its tables; one that fails is named, and the others go on.
Nothing else should run on the machine meanwhile: the ratios bear it, the times do not.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import click

from benchmarks.machine import machine_line

_ROOT = Path(__file__).parents[1]
#: Nothing here takes so long on two cores that do nothing else.
_PATIENCE_SECONDS = 900
_FAREWELL_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """A module of this package, what it is given, and the heading of its tables."""

    module: str
    words: tuple[str, ...]
    heading: str

    @property
    def command(self) -> str:
        """The words that run it alone."""
        return " ".join(("python -m", f"benchmarks.{self.module}", *self.words))


PARTS = (
    Part("engine", ("--rounds", "2"), "A step"),
    Part("jobs", (), "Jobs through the queue"),
    Part("polling", ("--rounds", "2"), "Polls and submissions"),
    Part("pages", ("--requests", "30"), "Lists, pages and search"),
    Part("projector", (), "Reports of workers"),
    Part("queue_window", ("--seconds", "10"), "Control while jobs wait"),
    Part("scaling", ("--factor", "4", "--jobs", "2"), "More workers"),
)


@click.command()
@click.option("--only", multiple=True, type=click.Choice([part.module for part in PARTS]), help="Only these.")
@click.option("--torch", help="A Python that has PyTorch, for its row of 'A step'.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=_ROOT / "build" / "bench.md",
    help="Where the tables go as well. [default: build/bench.md]",
)
def main(only: Sequence[str], torch: str | None, report: Path) -> None:
    """Run the benchmarks, and print their tables; exit code 1 when one of them failed."""
    began, failed = monotonic(), []
    texts = [f"# Benchmarks\n\n{machine_line()}."]
    for part in PARTS:
        if only and part.module not in only:
            continue
        click.echo(f"{part.heading}: {part.command}", err=True)
        words = (*part.words, *(("--torch", torch) if torch and part.module == "engine" else ()))
        started = monotonic()
        table = run(part.module, words)
        if table is None:
            failed.append(part.module)
            table = f"`{part.command}` failed; its last words are in the terminal."
        texts.append(f"## {part.heading}\n\n{table}\n\nIt took {monotonic() - started:.0f} s.")
        write(report, texts)  # what is there stays there, whatever becomes of the others
    texts.append(f"All of it took {(monotonic() - began) / 60:.1f} minutes. {machine_line()}.")
    write(report, texts)
    click.echo("\n\n".join(texts))
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")


def write(report: Path, texts: Sequence[str]) -> None:
    """Write the report."""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def run(module: str, words: Sequence[str]) -> str | None:
    """Return what a benchmark prints, None when it fails; what it says meanwhile goes to the terminal."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    try:
        printed, _ = process.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # as Ctrl-C does: it ends what it has started
        try:
            process.communicate(timeout=_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        click.echo(f"benchmarks.{module} was ended after {_PATIENCE_SECONDS} s", err=True)
        return None
    return printed.strip() if process.returncode == 0 else None


if __name__ == "__main__":
    main()
