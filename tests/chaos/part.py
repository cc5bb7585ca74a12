"""One process of a chaos run: ``python -m tests.chaos.part web|control|node …``; settings as always."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from tests.chaos.jumping_clock import install_clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["web", "control", "node"])
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--name", default="")
    parser.add_argument("--engine", choices=["real", "sleeping"], default="sleeping")
    parser.add_argument("--step-seconds", type=float, default=0.01)
    parser.add_argument("--steps-folder", type=Path)
    parser.add_argument("--plant", default="")
    given = parser.parse_args()
    install_clock(given.clock)  # before anything that reads the clock is imported
    from shared.settings import load_settings

    settings = load_settings(os.environ)
    if given.kind == "web":
        from tests.chaos.deaths import install_deaths
        from web.server import run_web

        install_deaths()
        run_web(settings)
    elif given.kind == "control":
        from web.control.process import run_control

        run_control(settings)
    else:
        from tests.chaos.node import make_node
        from tests.chaos.plants import PLANTS

        if given.plant:
            PLANTS[given.plant]()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        make_node(
            settings, given.name, given.engine, step_seconds=given.step_seconds, folder=given.steps_folder
        ).run()


if __name__ == "__main__":
    main()
