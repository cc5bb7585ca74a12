"""`atelier up`: the whole service on this machine."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from time import sleep

import click

from shared.processes import keep_private
from shared.redis.workers import WorkerBeat
from shared.settings import PREFIX, Settings, load_settings
from shared.terminal import GivenPath, WholeNumber, show_notice
from web.access.tokens import is_closed
from web.address import parse_address
from web.cli.local.host import StopRequest
from web.cli.local.stack import Stack, program
from web.cli.output import Output
from web.db.database import Database
from web.security import decide_exposure

_TICK_SECONDS = 0.2
_UNTRAINED = (
    "The ImageNet weights are not there and could not be had, so this service works with an untrained VGG19: "
    "it carries texture and colour, but follows the content less well. Put the file that Keras publishes "
    "somewhere and set ATELIER_VGG19_WEIGHTS to its path for results of full quality."
)


@click.command
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    help="Port of the web process. [default: ATELIER_PORT, else 8000]",
)
@click.option("--workers", type=WholeNumber(0, 64), default=1, show_default=True, help="How many workers.")
@click.option(
    "--data-dir",
    type=GivenPath(file_okay=False),
    help="Folder for all that no setting gives a place of its own. [default: ATELIER_DATA_DIR, else data]",
)
@click.pass_obj
def up(output: Output, *, port: int | None, workers: int, data_dir: Path | None) -> None:
    """Start Redis, web, control and workers on this machine, and stop all of them on Ctrl-C.

    Redis is the server that ATELIER_REDIS_URL names, else one of our own. A process that ends by itself is
    started again. Each writes to a log in the data folder's 'logs'; what matters is shown here too.

    Without ATELIER_VGG19_WEIGHTS the weights are 'auto': ImageNet if it can be had within seconds, else
    untrained ones.
    """
    given = {} if port is None else {"PORT": str(port)}
    if data_dir is not None:
        given["DATA_DIR"] = str(data_dir)
    settings = local_settings(dict(os.environ), given)
    output.say("Starting …")
    keep_private()
    with StopRequest() as stop_request:
        try:
            with Stack(
                settings,
                environ=os.environ,
                workers=workers,
                own_redis=not os.environ.get(f"{PREFIX}REDIS_URL"),
                output=output,
                stop_request=stop_request,
            ) as stack:
                _greet(stack, output, workers)
                while True:
                    stack.tick()
                    sleep(_TICK_SECONDS)
        except KeyboardInterrupt:
            return  # this is how it is meant to end: exit code 0


def local_settings(environ: dict[str, str], given: dict[str, str]) -> Settings:
    """Return the settings of a service on this machine: `given` wins, weights are 'auto' unless they are set.

    Raises:
        InvalidSettings: naming each variable that is unknown or whose value is not allowed.
    """
    if not environ.get(f"{PREFIX}VGG19_WEIGHTS"):
        environ[f"{PREFIX}VGG19_WEIGHTS"] = "auto"
    environ.update({PREFIX + name: value for name, value in given.items()})
    settings = load_settings(environ)
    parse_address(settings.public_url)  # here, before anything is started
    return settings


def _exposure(settings: Settings) -> str | None:
    """Return what has to be known of a service that listens; web has refused what is not allowed."""
    database = Database(settings.resolved_database_url)
    try:
        return decide_exposure(settings, has_token=is_closed(database))
    finally:
        database.close()


def tell_weights(beat: WorkerBeat, settings: Settings, output: Output) -> None:
    """Say what a worker's weights mean, if nobody chose them."""
    if beat.weights == "untrained" and settings.vgg19_weights == "auto":
        show_notice(output.err, _UNTRAINED)


def _greet(stack: Stack, output: Output, workers: int) -> None:
    url, public_url = stack.settings.local_url, parse_address(stack.settings.public_url).url
    there = "" if url == public_url == Settings().public_url else f" --url {url}"
    output.say(f"Atelier listens on {url}", style="bold green")
    if public_url != url:
        output.say(f"  people find it: {public_url}")
    output.say(f"  submit a job:   {shlex.join(program())} submit CONTENT STYLE --wait{there}")
    output.say(f"  add a worker:   {stack.command('add')}")
    if stack.owns_redis:
        output.say(f"  its Redis:      address in {stack.redis_url_file}, for 'atelier queue set-aside'")
    output.say(f"  documentation:  {public_url}/docs")
    output.say(f"  data and logs:  {stack.settings.data_dir}")
    if workers:
        beat = stack.wait_for_worker()
        if beat is None:
            output.say("No worker is ready; jobs are accepted and wait for one.", style="yellow")
        else:
            output.say(f"{beat.worker_id} is ready ({beat.device}, weights {beat.weights}).")
            tell_weights(beat, stack.settings, output)
    warning = _exposure(stack.settings)
    if warning is not None:
        show_notice(output.err, warning)
    output.say("Ctrl-C stops everything.")
