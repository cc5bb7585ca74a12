"""Planted bugs that only an upgrade brings out; see `tests.chaos.plants`."""

from __future__ import annotations

import hashlib

from shared.protocol import JobMessage


def refuse_unknown_fields() -> None:
    """Take a job message with a field too many for a damaged one."""
    JobMessage.model_config["extra"] = "forbid"
    JobMessage.model_rebuild(force=True)


def refuse_unknown_reports() -> None:
    """Take a report with a field too many for a damaged one."""
    from shared.protocol import WorkerEvent

    WorkerEvent.model_config["extra"] = "forbid"
    WorkerEvent.model_rebuild(force=True)


def count_defaults() -> None:
    """Let a checkpoint's fingerprint count every option of the release, also one that is as it always was."""
    from worker import attempt, checkpoint

    fingerprint = checkpoint.fingerprint

    def counting(message: JobMessage, **how: str) -> str:
        counted = fingerprint(message, **how) + message.options.model_dump_json()
        return hashlib.sha256(counted.encode()).hexdigest()

    checkpoint.fingerprint = attempt.fingerprint = counting  # type: ignore[assignment, attr-defined]
