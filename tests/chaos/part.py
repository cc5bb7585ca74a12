"""One process of a chaos run: ``python -m tests.chaos.part KIND …``; settings as always."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.chaos.jumping_clock import install_clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["web", "control", "node", "backup", "restore"])
    parser.add_argument("--folder", type=Path, required=True, help="where the run's switches and logs are")
    parser.add_argument("--name", default="")
    parser.add_argument("--engine", choices=["real", "sleeping"], default="sleeping")
    parser.add_argument("--method", choices=["gatys", "fast"], default="gatys")
    parser.add_argument("--step-seconds", type=float, default=0.01)
    parser.add_argument("--plant", default="")
    parser.add_argument("--target", default="", help="the folder of a backup")
    given = parser.parse_args()
    install_clock(given.folder / "clock")  # before anything that reads the clock is imported
    from tests.chaos.next_release import install_next_release, is_next

    if is_next(given.folder, given.name or ("control" if given.kind == "control" else "web")):
        install_next_release(given.kind)
    from shared.settings import load_settings
    from tests.chaos.disk import install_store_disk
    from tests.chaos.plants import PLANTS

    settings = load_settings(os.environ)
    install_store_disk(given.folder / "disk")
    if given.plant and PLANTS[given.plant].is_of(given.kind):
        PLANTS[given.plant].install()
    if given.kind == "web":
        from tests.chaos.deaths import install_deaths
        from tests.chaos.disk import install_database_disk
        from web.server import run_web

        install_database_disk(given.folder / "disk")
        install_deaths()
        run_web(settings)
    elif given.kind == "control":
        from tests.chaos.disk import install_database_disk
        from tests.chaos.rescue_log import install_rescue_log
        from web.control.process import run_control

        install_database_disk(given.folder / "disk")
        install_rescue_log(given.folder / "rescues")
        run_control(settings)
    elif given.kind in ("backup", "restore"):
        from web.cli.main import main as atelier

        atelier([given.kind, given.target])
    else:
        from shared.options import Method
        from tests.chaos.node import make_node

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        how = {"step_seconds": given.step_seconds, "folder": given.folder}
        node = make_node(settings, given.name, given.engine, Method(given.method), **how)
        sys.exit(node.run() if node else 0)


if __name__ == "__main__":
    main()
