"""The entry point of `atelier-worker`: the table of its commands."""

from __future__ import annotations

import click

from shared.terminal import LazyGroup

#: Command: its module and function, and the one line that the list of commands shows without importing it.
_COMMANDS = {
    "run": ("worker.cli.run:run", "Take jobs from the queue and carry them out."),
    "check": ("worker.cli.check:check", "Tell what this machine would serve, and what is missing."),
    "weights": ("worker.cli.weights:weights", "Check the ImageNet weights, or put them where they belong."),
    "stylize": ("worker.cli.stylize:stylize", "Carry out one job here and now, without a queue."),
}


@click.group(
    cls=LazyGroup,
    table=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="atelier", prog_name="atelier-worker")
def main() -> None:
    """Carry out style transfer jobs on this machine's GPUs, or on its CPU.

    Settings are ATELIER_ variables of the environment.
    """


if __name__ == "__main__":
    main()
