# ruff: noqa: T201 - a command line
"""One chaos run: ``python -m tests.chaos --jobs 60 --faults 20 --seed 1``; exit code 1 on a breach."""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from tests.chaos.cluster import Cluster, Pace
from tests.chaos.faults import FAULTS
from tests.chaos.load import Load
from tests.chaos.oracle import FINAL, find_breaches
from tests.chaos.process import wait_until
from tests.chaos.step_log import read_steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--faults", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--engine", choices=["real", "sleeping"], default="sleeping")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--step-seconds", type=float, default=0.1)
    parser.add_argument("--plant", default="")
    parser.add_argument(
        "--without", action="append", default=[], help="A fault to leave out, such as jump_clock"
    )
    parser.add_argument("--minutes", type=float, default=10, help="How long the whole may take")
    given = parser.parse_args()
    print("seed", given.seed, flush=True)
    folder = Path(tempfile.mkdtemp(prefix="atelier-chaos-"))
    breaches = _run(given, folder)
    for breach in breaches:
        print("BREACH", breach)
    if breaches:
        print("logs:", folder / "logs")
    else:
        shutil.rmtree(folder)
    return 1 if breaches else 0


def _run(given: argparse.Namespace, folder: Path) -> list[str]:
    chance, started = random.Random(given.seed), monotonic()
    faults = [fault for fault in FAULTS if fault.__name__ not in given.without]
    plan = [*faults, *chance.choices(faults, k=max(0, given.faults - len(faults)))][: given.faults]
    chance.shuffle(plan)
    breaches: list[str] = []
    cluster = Cluster(
        folder, workers=given.workers, engine=given.engine, step_seconds=given.step_seconds, pace=Pace(),
        plant=given.plant,
    )  # fmt: skip
    with cluster:
        load = Load(cluster.url, run=str(given.seed), steps=given.steps)
        failed: list[str] = []
        thread = Thread(target=_submit, args=(load, given.jobs, failed), daemon=True)
        thread.start()
        for fault in plan:
            sleep(chance.uniform(0.2, 1.5))
            print(f"{monotonic() - started:6.1f} s {fault.__name__}", flush=True)
            fault(cluster, chance)
            for process in cluster.died_alone():
                breaches.append(f"{process.name} ended by itself:\n{process.tail()}")
                process.start()
        try:
            wait_until(lambda: not thread.is_alive(), seconds=given.minutes * 60, what="all jobs taken")
            left = given.minutes * 60 - (monotonic() - started)
            wait_until(lambda: not _open(cluster) and _is_quiet(cluster), seconds=left, what="all jobs ended")
        except TimeoutError as error:
            breaches.append(f"stuck: {error}; open: {_open(cluster)}")
        breaches += failed + find_breaches(cluster, load.accepted)
    steps = Counter((step.job_id, step.step) for step in read_steps(cluster.steps_folder))
    twice = sum(count - 1 for count in steps.values())
    print(f"faults {len(plan)}, jobs {len(load.accepted)}, breaches {len(breaches)}, "
          f"steps {sum(steps.values())}, of them made again {twice}, {monotonic() - started:.0f} s")  # fmt: skip  # noqa: E501
    return breaches


def _submit(load: Load, jobs: int, failed: list[str]) -> None:
    for number in range(jobs):
        try:
            load.submit(number)
        except TimeoutError as error:
            failed.append(str(error))


def _open(cluster: Cluster) -> list[str]:
    with sqlite3.connect(cluster.folder / "data" / "atelier.db", timeout=10) as database:
        rows = database.execute("SELECT id, status FROM jobs").fetchall()
    return [f"{job_id} {status}" for job_id, status in rows if status not in FINAL]


def _is_quiet(cluster: Cluster) -> bool:
    return not cluster.client.llen("atelier.jobs") and not cluster.client.xlen("atelier:events")


if __name__ == "__main__":
    sys.exit(main())
