"""What the API can do, the command line can: each operation of openapi.json has its command."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from web.cli.main import main

_OPENAPI = Path(__file__).parents[2] / "golden/frozen/openapi.json"
#: By the operation's id: the command, with the options for what the operation can beside the plain case.
COMMANDS = {
    "assets_create_asset": "asset upload",
    "assets_index_assets": "asset list --starred --limit",
    "assets_star": "asset star",
    "assets_unstar": "asset unstar",
    "assets_read_asset": "asset show",
    "assets_read_content": "asset download",
    "thumbnails_read_picture_thumbnail": "asset download --small",
    "estimates_read_estimate": "estimate --option --content --style --priority",
    "events_watch_job": "events --after",
    "health_read_readiness": "ready",
    "job_actions_cancel": "cancel",
    "job_actions_change": "change --priority --name --label --no-labels",
    "job_actions_delete": "delete",
    "job_actions_extend": "extend --idempotency-key",
    "job_actions_fork": "fork --option --name --label --priority --queue-timeout --run-timeout "
    "--webhook --webhook-event --idempotency-key",
    "job_actions_keep": "keep",
    "job_actions_pause": "pause",
    "job_actions_resume": "resume",
    "job_actions_retry": "retry --from-zero",
    "job_files_index_attempts": "attempts",
    "job_files_index_checkpoints": "checkpoints",
    "job_files_read_checkpoint": "download --step",
    "job_files_read_output": "download",
    "job_files_read_preview": "download --preview",
    "job_shares_create": "share --of --expires",
    "job_shares_revoke": "unshare",
    "jobs_index": "list --status --kind --label --name --batch --created-after --caller --limit",
    "jobs_read_job": "status",
    "jobs_submit_job": "submit --option --method --name --label --priority --queue-timeout "
    "--run-timeout --webhook --webhook-event --reuse --dry-run --idempotency-key",
    "limits_read_limits": "token show",
    "thumbnails_read_job_thumbnail": "download --small",
    "thumbnails_read_step_thumbnail": "download --step --small",
    "tokens_create": "token create --scope --caller --expires",
    "tokens_index": "token list",
    "tokens_read_own": "token show",
    "tokens_revoke": "token revoke",
    "webhooks_delete": "webhook delete",
    "webhooks_end_old_secret": "webhook end-secret",
    "webhooks_index": "webhook list",
    "webhooks_index_deliveries": "webhook told --job --webhook --state --limit",
    "webhooks_put": "webhook put --event",
    "webhooks_read": "webhook show",
    "webhooks_read_delivery": "webhook message",
    "webhooks_redeliver": "webhook redeliver",
    "webhooks_rotate": "webhook rotate",
    "workers_drain": "drain",
    "workers_list_workers": "workers",
    "workers_show_queue": "queue",
}
#: Operations without a command, and why.
WITHOUT = {
    "health_read_health": "'ready' tells more, and fails where nothing answers",
    "metrics_read_metrics": "it is for Prometheus; 'queue' and 'workers' tell people",
}
#: Parameters of the list that the command line has otherwise, or for machines alone.
_LIST_OTHERWISE = {
    "id_prefix": "every ID may be shortened",
    "counts": "for the filters of the gallery",
    "page_size": "--limit",
    "page_token": "--limit",
    "If-None-Match": "for pollers",
}


def operations() -> dict[str, dict]:
    document = json.loads(_OPENAPI.read_text())
    methods = [method for path in document["paths"].values() for method in path.values()]
    return {method["operationId"]: method for method in methods if "operationId" in method}


def test_every_operation_has_its_command():
    assert set(operations()) == set(COMMANDS) | set(WITHOUT)


@pytest.mark.parametrize(("operation", "words"), COMMANDS.items())
def test_the_command_is_there_with_its_options(operation, words):
    names = [word for word in words.split() if not word.startswith("-")]
    command: click.Command | None = main
    for name in names:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    known = {option for param in command.params for option in param.opts}
    assert {word for word in words.split() if word.startswith("--")} <= known


def test_every_filter_of_the_list_has_its_option():
    filters = {parameter["name"] for parameter in operations()["jobs_index"]["parameters"]}
    options = {word.removeprefix("--").replace("-", "_") for word in COMMANDS["jobs_index"].split()[1:]}
    assert filters == (options - {"limit", "batch"}) | {"batch_id"} | set(_LIST_OTHERWISE)
