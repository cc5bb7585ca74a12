# ruff: noqa: T201 - a command line
"""One chaos run: ``python -m tests.chaos short --seed 1``; exit code 1 on a breach."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import monotonic

from tests.chaos.faults import FAULTS
from tests.chaos.forms import FORMS, in_a_bucket, make_form
from tests.chaos.oracle import judge
from tests.chaos.plants import PLANTS
from tests.chaos.report import write_report
from tests.chaos.run import Plan, run

_NUMBERS = ("jobs", "workers", "faults", "steps", "minutes")


def main() -> int:
    """Run, judge, report."""
    given = _parser().parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that no process of the cluster is left behind
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    plan = _plan(given, seed)
    command = " ".join(["python -m tests.chaos", *_words(given, seed)])
    print(command, flush=True)
    if plan.plant and PLANTS[plan.plant].where == "harness and all":
        PLANTS[plan.plant].install()
    folder, started = Path(tempfile.mkdtemp(prefix="atelier-chaos-")), monotonic()

    def say(text: str) -> None:
        print(f"{monotonic() - started:6.1f} s  {text}", flush=True)

    evidence, breaches = run(plan, folder, say)
    judged = judge(evidence, folder / "lone")
    breaches += judged.breaches
    report = write_report(plan, command, evidence, judged, breaches, seconds=monotonic() - started)
    print("\n" + report, end="", flush=True)
    if given.report:
        given.report.write_text(report)
    if breaches:
        print("\nlogs, database and files:", folder)
    else:
        shutil.rmtree(folder)
    return 1 if breaches else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("form", choices=sorted(FORMS))
    parser.add_argument("--seed", type=int, help="Decides load and faults; default: a random one")
    parser.add_argument("--jobs", type=int, help="Least number of jobs")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--faults", type=int, help="How many faults are injected")
    parser.add_argument("--steps", type=int, help="Steps of a job")
    parser.add_argument("--minutes", type=float, help="How long the run may take")
    parser.add_argument(
        "--only", action="append", choices=sorted(FAULTS), help="A kind of fault; may be repeated"
    )
    parser.add_argument("--without", action="append", choices=sorted(FAULTS), help="A kind to leave out")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="A bug to put in: the run must fail")
    parser.add_argument("--storage", choices=["folder", "s3"], default="folder", help="Where the files are")
    parser.add_argument("--report", type=Path, help="A file for the report, as Markdown")
    return parser


def _plan(given: argparse.Namespace, seed: int) -> Plan:
    plan = make_form(given.form, seed, plant=given.plant or "")
    plan = in_a_bucket(plan) if given.storage == "s3" else plan
    kinds = tuple(kind for kind in given.only or plan.kinds if kind not in (given.without or ()))
    changes = {name: value for name in _NUMBERS if (value := getattr(given, name)) is not None}
    return replace(plan, kinds=kinds, **changes)


def _words(given: argparse.Namespace, seed: int) -> list[str]:
    """Return the words by which exactly this run is made again."""
    words = [given.form, f"--seed {seed}"]
    for name in (*_NUMBERS, "plant"):
        if getattr(given, name) is not None:
            words.append(f"--{name} {getattr(given, name)}")
    words += ["--storage s3"] if given.storage == "s3" else []
    for name in ("only", "without"):
        words += [f"--{name} {kind}" for kind in getattr(given, name) or ()]
    return words


if __name__ == "__main__":
    sys.exit(main())
