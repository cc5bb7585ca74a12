"""What a shared page says of a job: of itself alone, whatever is around it. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from web.pages.share import picture_size, shared_words, shown_picture


def job(status: str, *, step: int = 0, seconds: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "status_reason": "reused",
        "progress": {"step": step, "steps": 100},
        "metrics": {"run_seconds": seconds},
        "queue": {"position": 7, "message": "waits for the job 'Secret', which does the same work"},
        "attempt": {"number": 1, "worker_id": "gpu-secret", "device": "cuda:0"},
        "error": None,
        **more,
    }


LOST = {"title": "The worker was lost, and no attempts are left.", "detail": "gpu-secret was lost"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (job("queued"), "It waits for a worker."),
        (job("queued", step=40), "It waits to go on from step 40."),
        (job("running", step=12), "Step 12 of 100."),
        (job("canceling", step=12), "Step 12 of 100."),
        (job("paused", step=12), "Step 12 of 100."),
        (job("succeeded", step=100, seconds=12.5), "Done in 13 s."),
        (job("succeeded", step=100), "Done."),
        (job("canceled", step=12), "Step 12 of 100."),
        (job("failed", step=12, error=LOST), "The worker was lost, and no attempts are left."),
        (job("queued", step=12, error=LOST), "It waits to go on from step 12."),
    ],
)
def test_how_far_it_is(told: dict[str, Any], words: str):
    assert shared_words(told) == words


def test_the_result_stands_for_it_and_before_that_a_preview():
    output = {"width": 640, "height": 480}
    frame = {"input": {"content": {"width": 1200, "height": 800}}, "options": {"size": 600}}
    assert shown_picture(job("running", outputs=[output]), has_preview=True) == "result"
    assert shown_picture(job("running", outputs=[]), has_preview=True) == "preview"
    assert shown_picture(job("queued", outputs=[]), has_preview=False) is None
    assert picture_size(job("running", outputs=[output])) == (640, 480)
    assert picture_size(job("running", outputs=[], **frame)) == (600, 400)
