"""Reading requests: preferences and page tokens; and the statuses of errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared import errors
from shared.errors import AtelierError, MalformedRequest
from shared.status import JobStatus
from web.api.http import make_token, read_token, wait_seconds
from web.api.problems import status_of
from web.jobs.lists import JobFilter


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("wait=5", 5), ("Wait = 5", 5), ('wait="5"', 5), ("wait=500", 50),
        ("respond-async, wait=10", 10), ("wait=10;foo, x", 10), ("wait=-1", 0), ("wait=x", 0),
        ('foo="a, wait=50", wait=1', 1), ('x="wait=9"', 0), ("wait=3, wait=9", 3), ("wait=1.5", 0),
        ("wait", 0), ("await=9", 0), ("wait=9999999999999", 0), ("wait=٣", 0),
    ],
)  # fmt: skip
def test_wait_seconds(header, seconds):
    assert wait_seconds(header) == seconds


FILTERS = [
    JobFilter(),
    JobFilter(statuses=[JobStatus.QUEUED]),
    JobFilter(labels={"a": "b"}),
    JobFilter(batch_id="x"),
    JobFilter(created_after=datetime(2026, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("only", FILTERS)
def test_page_token_belongs_to_its_filters(only):
    token = make_token("id-1", only)
    assert read_token(token, only) == "id-1"
    for other in FILTERS:
        if other is not only:
            with pytest.raises(MalformedRequest, match="other filters"):
                read_token(token, other)


def test_page_token_knows_no_order():
    one = JobFilter(statuses=[JobStatus.QUEUED, JobStatus.FAILED], labels={"a": "1", "b": "2"})
    other = JobFilter(statuses=[JobStatus.FAILED, JobStatus.QUEUED], labels={"b": "2", "a": "1"})
    assert read_token(make_token("x", one), other) == "x"


@pytest.mark.parametrize("token", ["", "x", "e30", "W10", "bnVsbA", "é", "{}", "MQ", "A" * 9])
def test_damaged_page_token(token):
    with pytest.raises(MalformedRequest, match="damaged"):
        read_token(token, JobFilter())


def test_every_error_has_a_status():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AtelierError)
    ]
    assert len(kinds) > 30
    assert {kind.code: status_of(kind) for kind in kinds} == {
        "internal_error": 500, "refused": 400, "invalid_request": 400, "invalid_options": 422,
        "missing_part": 422, "image_refused": 422, "image_invalid": 422, "unsupported_media": 415,
        "image_animated": 422, "image_too_heavy": 413, "image_too_large": 422, "image_too_small": 422,
        "image_too_narrow": 422, "not_found": 404, "invalid_state": 409, "not_ready": 409,
        "direct_not_available": 409,
        "worker_too_old": 409, "identity_missing": 503, "gpu_not_seen": 503, "identity_wrong": 503,
        "idempotency_key_in_use": 409, "idempotency_key_reused": 422,
        "not_terminal": 409, "too_many_streams": 429, "too_many_drafts": 429,
        "rate_limited": 429, "too_many_jobs": 429, "too_many_bytes": 403, "size_not_allowed": 403,
        "priority_not_allowed": 403, "insufficient_memory": 422, "too_many_stars": 409,
        "webhook_refused": 422, "webhook_secret_missing": 422, "too_many_webhooks": 409,
        "unauthenticated": 401, "scope_missing": 403, "token_name_taken": 409,
        "csrf_missing": 403, "too_many_sign_ins": 429,
        "cross_site_request": 403, "unknown_host": 421,
        "service_unavailable": 503, "storage_unavailable": 503,
        "redis_unavailable": 503, "database_unavailable": 503, "invalid_settings": 503,
        "weights_error": 500, "weights_unavailable": 500, "weights_invalid": 500,
        "fast_model_unavailable": 422,
        "job_error": 500,
        "artifact_missing": 404, "artifact_corrupt": 500, "checkpoint_invalid": 500,
        "loss_not_finite": 500, "out_of_memory": 500, "engine_failed": 500, "worker_lost": 500,
        "timeout": 500,
        "queue_deadline_passed": 500, "job_unreadable": 500,
        "worker_crash_loop": 500, "stale_job": 409, "lease_lost": 500, "artifact_exists": 500,
        "unreadable_message": 500,
        "storage_full": 507, "backup_refused": 400, "backup_damaged": 503, "files_held": 503,
        "database_unusable": 503, "redis_too_old": 503, "uploads_unavailable": 503,
    }  # fmt: skip
