"""`atelier control`: the control process."""

from __future__ import annotations

import os

import click

from shared.settings import load_settings


@click.command
def command() -> None:
    """Run the control process until SIGTERM or Ctrl-C.

    It sends jobs to workers, records what they report, and rescues jobs whose worker was lost.
    """
    from web.control.process import run_control

    run_control(load_settings(os.environ))
