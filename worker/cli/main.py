"""The entry point of `atelier-worker`: finds the command, loads only that one."""

from __future__ import annotations

from importlib import import_module

import click

#: Command: module, attribute, and the line that the list of commands shows without importing it.
_COMMANDS = {
    "run": ("worker.cli.run", "run", "Take jobs from the queue and carry them out."),
    "stylize": ("worker.cli.stylize", "stylize", "Carry out one job here and now, without a queue."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command; None when there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="atelier", prog_name="atelier-worker")
def main() -> None:
    """Carry out style transfer jobs on this machine's GPUs, or on its CPU.

    Settings are ATELIER_ variables of the environment.
    """


if __name__ == "__main__":
    main()
