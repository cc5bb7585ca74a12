"""`atelier web`: the web process."""

from __future__ import annotations

import os

import click

from shared.settings import load_settings


@click.command
def command() -> None:
    """Run the web process, the API and the pages, until SIGTERM or Ctrl-C.

    It listens on ATELIER_HOST and ATELIER_PORT.
    """
    from web.server import run_web

    run_web(load_settings(os.environ))
