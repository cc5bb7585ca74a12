"""`atelier prune`: retention and garbage collection at once, on the web host, without the service."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from shared.clock import utc_now
from shared.errors import InvalidSettings
from shared.logs import configure_logs
from shared.processes import keep_private
from shared.settings import Settings, load_settings
from web.backend import Backend
from web.cli.options import json_option
from web.cli.output import ExitCode, Output
from web.control.garbage import Finding
from web.control.pruner import Pruner, Removal
from web.db.database import parse_url


@click.command
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be removed, and why.")
@click.option("--verbose", "-v", is_flag=True, help="Also list each item.")
@json_option
@click.pass_context
def prune(ctx: click.Context, *, dry_run: bool, verbose: bool) -> None:
    """Remove jobs past their retention, and files and rows that nothing refers to.

    It works on the database and the storage that the settings name, beside a running service or without one.
    ATELIER_RETENTION_DAYS and ATELIER_GARBAGE_HOURS say what is old enough.
    """
    output = ctx.ensure_object(Output)
    with local_backend() as backend:
        pruner = Pruner(backend, clock=utc_now)
        plan = pruner.plan()
        removal = Removal(removed=plan) if dry_run else pruner.remove(plan)
    kinds = _by_kind(removal.removed)
    document: dict[str, object] = {"dry_run": dry_run, "kinds": kinds, "failed": len(removal.failed)}
    if verbose:
        document["items"] = [_to_json(finding) for finding in removal.removed]
    output.answer(document, _text(removal, kinds, dry_run=dry_run, verbose=verbose))
    if removal.failed:
        output.say(f"{len(removal.failed)} items could not be removed; the log says why.", style="bold red")
        ctx.exit(ExitCode.FAILED)


@contextmanager
def local_backend(*, may_make: bool = False) -> Iterator[Backend]:
    """Open database and storage that the settings name, for a command on the web host.

    With `may_make` they are made, or brought to this version, where they are not: a first token may come
    before the first start of the service.
    """
    keep_private()
    settings = load_settings(os.environ)
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    if not may_make:
        require_database(settings)
    backend = Backend.open(settings, upgrade=may_make)
    try:
        yield backend
    finally:
        backend.close()


def require_database(settings: Settings) -> None:
    """Refuse a database file that is not there: beside a new one, every stored file would be an orphan."""
    url = parse_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        raise InvalidSettings(
            f"there is no database at {url.database}; set ATELIER_DATA_DIR or ATELIER_DATABASE_URL "
            "as the service has it"
        )


def _by_kind(findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {}
    for finding in findings:
        sums = kinds.setdefault(finding.kind.value, {"count": 0, "size_bytes": 0})
        sums["count"] += finding.count
        sums["size_bytes"] += finding.size_bytes
    return dict(sorted(kinds.items()))


def _to_json(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.value,
        "name": finding.name,
        "reason": finding.reason,
        "count": finding.count,
        "size_bytes": finding.size_bytes,
    }


def _text(removal: Removal, kinds: dict[str, dict[str, int]], *, dry_run: bool, verbose: bool) -> str:
    if not kinds:
        return "There is nothing to remove." if not removal.failed else "Nothing was removed."
    lines = ["Would be removed:" if dry_run else "Removed:"]
    for kind, sums in kinds.items():
        lines.append(f"  {kind:<16} {sums['count']:>7}  {sums['size_bytes'] / 1e6:>10.1f} MB")
    if verbose:
        lines += [f"  {item.kind.value}  {item.name}  ({item.reason})" for item in removal.removed]
    return "\n".join(lines)
