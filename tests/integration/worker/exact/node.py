"""A node in a process of its own: carries out the attempts it reads from standard input, one JSON object.

settings: of the service; cache_dir: of the weights; attempts: pairs of method and message.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from shared.protocol import read_message
from shared.settings import Settings
from tests.support.installation import names_of
from tests.support.real_engine import load_engine
from worker.context import WorkerContext
from worker.runner import Outcome, Runner


def main() -> None:
    task = json.load(sys.stdin)
    settings = Settings(**task["settings"])
    context = WorkerContext.open(
        settings, names_of(settings), worker_id="node-in-another-process", device="cpu"
    )
    for method, message in task["attempts"]:
        runner = Runner(context, load_engine(method, Path(task["cache_dir"])), draining=lambda: False)
        outcome = runner.run(read_message(message))
        if outcome is not Outcome.ENDED:
            sys.exit(f"{method}: {outcome}")


if __name__ == "__main__":
    main()
