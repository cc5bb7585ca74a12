"""`atelier share` and `atelier unshare`: links to a job for people without a token, made and revoked."""

from __future__ import annotations

from datetime import timedelta

import click

from web.cli.options import SpanType, job_argument, json_option, open_client, url_option
from web.cli.output import Output


@click.command
@job_argument
@click.option(
    "--of",
    type=click.Choice(["page", "output"]),
    default="page",
    show_default=True,
    help="The job with its pictures, or its final picture alone.",
)
@click.option(
    "--expires",
    type=SpanType(may_be_never=False),
    default="7d",
    show_default=True,
    help="How long the link is of use; at most a year.",
)
@url_option
@json_option
@click.pass_obj
def share(output: Output, job_id: str, *, of: str, expires: timedelta, url: str | None) -> None:
    """Make a link to the job ID, and print it: whoever has it sees the job without a token.

    It shows no labels, no names of files, nothing of the caller, and no metadata of the pictures.
    """
    with open_client(url) as client:
        link = client.share(client.find_job(job_id), of, expires_in_seconds=int(expires.total_seconds()))
    output.answer(link, str(link["url"]))
    output.say(
        f"It expires at {link['expires_at']}; 'atelier unshare {job_id}' revokes all links to the job."
    )


@click.command
@job_argument
@url_option
@json_option
@click.pass_obj
def unshare(output: Output, job_id: str, *, url: str | None) -> None:
    """Revoke all links to the job ID that were made so far, at once."""
    with open_client(url) as client:
        job_id = client.find_job(job_id)
        client.unshare(job_id)
    output.answer({"job_id": job_id, "revoked": True}, "revoked")
