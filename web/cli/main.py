"""The entry point of `atelier`: the table of its commands; errors become exit codes."""

from __future__ import annotations

import click

from shared.errors import AtelierError
from shared.terminal import LazyGroup
from web.cli.output import CliError, Output

#: Command: its module and function, and the one line that the list of commands shows without importing it.
_COMMANDS = {
    "up": ("web.cli.up:up", "Start the whole service on this machine, until Ctrl-C."),
    "demo": ("web.cli.demo:demo", "Run one job from start to end and leave its pictures."),
    "web": ("web.cli.serve:web", "Run the web process: API and pages."),
    "control": ("web.cli.serve:control", "Run the control process: dispatching, recording, rescuing."),
    "submit": ("web.cli.submit:submit", "Submit a content and a style picture."),
    "draft": ("web.cli.draft:draft", "Look at what a content gives with several styles, in seconds."),
    "status": ("web.cli.jobs:status", "Show a job."),
    "watch": ("web.cli.jobs:watch", "Follow a job until it ends."),
    "events": ("web.cli.outlook:events", "Tell what becomes of a job, event by event."),
    "list": ("web.cli.jobs:list_jobs", "List jobs, newest first."),
    "cancel": ("web.cli.jobs:cancel", "Cancel a job."),
    "pause": ("web.cli.jobs:pause", "Pause a job and set its worker free."),
    "resume": ("web.cli.jobs:resume", "Let a paused job go on."),
    "retry": ("web.cli.jobs:retry", "Try a job again that did not succeed."),
    "extend": ("web.cli.jobs:extend", "Let a succeeded job make more steps."),
    "fork": ("web.cli.jobs:fork", "Begin a new job with a checkpoint of another one."),
    "change": ("web.cli.jobs:change", "Change a waiting job's priority, name or labels."),
    "keep": ("web.cli.jobs:keep", "Make a job of a draft."),
    "download": ("web.cli.pictures:download", "Download a job's final picture, or an earlier one."),
    "checkpoints": ("web.cli.pictures:checkpoints", "List the checkpoints that a job has kept."),
    "attempts": ("web.cli.outlook:attempts", "List who carried a job out, and how that ended."),
    "delete": ("web.cli.jobs:delete", "Remove a job that has ended, with its files."),
    "share": ("web.cli.share:share", "Make a link to a job for people without a token."),
    "unshare": ("web.cli.share:unshare", "Revoke all links to a job."),
    "asset": ("web.cli.pictures:asset", "Upload pictures once, for any number of jobs."),
    "estimate": ("web.cli.outlook:estimate", "Tell how long a job would take, and wait."),
    "webhook": ("web.cli.webhook:webhook", "Let programs be told what becomes of jobs."),
    "workers": ("web.cli.workers:workers", "List the workers that are connected."),
    "queue": ("web.cli.workers:queue", "Show how much waits, and for how long."),
    "ready": ("web.cli.outlook:ready", "Tell whether each part of the service works."),
    "drain": ("web.cli.workers:drain", "Let a worker hand its job back and end."),
    "worker": ("web.cli.workers:worker", "Start another worker of 'atelier up', or one that has ended."),
    "backup": ("web.cli.backup:backup", "Copy the whole installation into a folder, on the web host."),
    "restore": ("web.cli.backup:restore", "Put a backup back, while the service is stopped."),
    "storage": ("web.cli.storage:storage", "Copy the files of the installation to another storage."),
    "token": ("web.cli.token:token", "Make, list and revoke tokens, on the web host."),
    "caller": ("web.cli.caller:caller", "List, export and delete what is a caller's, on the web host."),
    "prune": ("web.cli.prune:prune", "Remove what is no longer to be kept, on the web host."),
}


class AtelierGroup(LazyGroup):
    """The commands of `atelier`, with its exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the exit codes."""
        from web.cli.output import EXIT_HELP

        with formatter.section("Exit codes"):
            formatter.write_dl([(line.split()[0], line.split(None, 1)[1]) for line in EXIT_HELP.splitlines()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an expected error becomes a message and an exit code, never a traceback."""
        from web.cli.output import ExitCode, exit_code_of

        output = ctx.ensure_object(Output)
        try:
            return super().invoke(ctx)
        except (AtelierError, CliError) as error:
            output.fail(error)
            ctx.exit(exit_code_of(error))
        except KeyboardInterrupt:
            output.say("Interrupted.")
            ctx.exit(ExitCode.INTERRUPTED)


@click.group(
    cls=AtelierGroup,
    table=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="atelier", prog_name="atelier")
def main() -> None:
    """Atelier: a self-hosted job service for neural style transfer.

    'atelier up' starts everything on this machine; 'atelier submit CONTENT STYLE --wait' runs a job.
    Settings are ATELIER_ variables of the environment.
    """


if __name__ == "__main__":
    main()
