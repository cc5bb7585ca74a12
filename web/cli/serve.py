"""`atelier web` and `atelier control`: the two processes of the web host."""

from __future__ import annotations

import os

import click

from shared.settings import load_settings


@click.command
def web() -> None:
    """Run the web process, the API and the pages, until SIGTERM or Ctrl-C.

    It listens on ATELIER_HOST and ATELIER_PORT.
    """
    from web.server import run_web

    run_web(load_settings(os.environ))


@click.command
def control() -> None:
    """Run the control process until SIGTERM or Ctrl-C.

    It sends jobs to workers, records what they report, and rescues jobs whose worker was lost.
    """
    from web.control.process import run_control

    run_control(load_settings(os.environ))
