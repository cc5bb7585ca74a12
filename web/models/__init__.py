"""The tables."""

from web.models.asset import Asset
from web.models.base import Base
from web.models.history import InboxEntry, JobAttempt, JobCheckpoint, JobEvent
from web.models.idempotency import IdempotencyKey
from web.models.job import Job, JobLabel

__all__ = [
    "Asset",
    "Base",
    "IdempotencyKey",
    "InboxEntry",
    "Job",
    "JobAttempt",
    "JobCheckpoint",
    "JobEvent",
    "JobLabel",
]
