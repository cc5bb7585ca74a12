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
    from web.address import parse_address
    from web.security import allowed_hosts
    from web.server import run_web

    settings = load_settings(os.environ)
    # Here, where what is wrong becomes a sentence; in a process of the server it would be a crash.
    allowed_hosts(settings.host, parse_address(settings.public_url), settings.allowed_hosts)
    run_web(settings)


@click.command
def control() -> None:
    """Run the control process until SIGTERM or Ctrl-C.

    It sends jobs to workers, records what they report, and rescues jobs whose worker was lost.
    """
    from web.control.process import run_control

    run_control(load_settings(os.environ))
