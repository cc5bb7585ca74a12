"""The stage of a job's page: pure decisions of what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from web.pages.job_stage import (
    Picture,
    chosen_left,
    chosen_picture,
    chosen_view,
    fork_step,
    fork_steps,
    frame_size,
    latest_picture,
    shown_url,
    spread,
    stop_of,
    views_of,
    working_frame,
)

JOB = "/api/v1/jobs/j1"


def job(status: str, *, output: bool = False, attempt: int = 1) -> dict:
    return {
        "status": status,
        "attempt": {"number": attempt},
        "progress": {"step": 7},
        "input": {"content": {"url": "/content", "width": 1200, "height": 801}},
        "options": {"size": 512},
        "outputs": [{"sha256": "ab" * 32}] if output else [],
        "urls": {"preview": f"{JOB}/preview", "output": f"{JOB}/output" if output else None},
    }


def stops(*steps: int) -> list:
    return [stop_of("j1", step, {}, f"{step:064d}") for step in steps]


RESULT = Picture("result", f"{JOB}/output?v={'ab' * 8}")
PREVIEW = Picture("preview", f"{JOB}/preview?step=7", 7)
LAST = Picture("checkpoint", f"{JOB}/checkpoints/5", 5)


@pytest.mark.parametrize(
    ("status", "output", "preview_attempt", "kept", "shown"),
    [
        ("queued", False, None, (), Picture("content", "/content")),
        ("running", False, None, (), Picture("content", "/content")),
        ("running", False, 1, (5,), PREVIEW),
        ("canceling", False, 1, (5,), PREVIEW),
        # A preview of the attempt before is older than the checkpoint that this one goes on from.
        ("running", False, 0, (5,), LAST),
        ("running", True, 1, (5,), PREVIEW),
        ("paused", False, 1, (2, 5), LAST),
        ("failed", False, 1, (5,), LAST),
        ("failed", False, 1, (), Picture("preview", f"{JOB}/preview")),
        ("succeeded", True, 1, (5,), RESULT),
        ("queued", True, 1, (5,), RESULT),
    ],
)
def test_the_picture_that_shows_how_far_a_job_is(status, output, preview_attempt, kept, shown):
    assert latest_picture(job(status, output=output), stops(*kept), preview_attempt=preview_attempt) == shown


def test_a_draft_is_shown_until_there_is_something_of_the_job_itself():
    def shown(status, *kept, output=False, preview_attempt=None):
        return latest_picture(
            job(status, output=output), stops(*kept), preview_attempt=preview_attempt, draft_url="/draft"
        )

    draft = Picture("draft", "/draft")
    assert shown("queued") == shown("running") == shown("failed") == draft
    assert shown("running", preview_attempt=1) == PREVIEW
    assert shown("paused", 5) == LAST
    assert shown("succeeded", 5, output=True) == RESULT


def test_only_a_job_that_may_have_a_draft_has_that_view():
    assert "draft" in views_of(offers_draft=True)
    assert "draft" not in views_of(offers_draft=False)
    assert chosen_view("draft", views_of(offers_draft=False)) == "result"
    assert chosen_view("draft", views_of(offers_draft=True)) == "draft"


def test_the_draft_stands_left_of_the_slider_where_it_is_not_what_stands_right():
    draft, content = Picture("draft", "/draft"), Picture("content", "/content")
    assert chosen_left("draft", PREVIEW, draft_url="/draft") == "draft"
    assert chosen_left("draft", RESULT, draft_url=None) == "content"
    for word, picture in (("draft", draft), ("draft", content), (None, LAST), ("style", LAST)):
        assert chosen_left(word, picture, draft_url="/draft") == "content"


def test_a_checkpoint_is_chosen_by_its_step_and_nothing_else():
    assert chosen_picture(stops(2, 5), "5") == LAST
    for step in (None, "", "3", "5x", "-5", "05"):
        assert chosen_picture(stops(2, 5), step) is None


def test_views():
    assert [chosen_view(word) for word in ("compare", "style", None, "nothing")] == [
        "compare", "style", "result", "result",
    ]  # fmt: skip


def test_the_frame_has_exactly_the_shape_that_is_worked_at():
    assert working_frame(job("queued")) == (512, 342)
    for width, height in ((512, 342), (96, 64), (4096, 1000), (17, 16), (1600, 1599)):
        framed = frame_size(width, height)
        assert framed[0] * height == framed[1] * width
        assert framed[0] <= max(1600, width)
    assert frame_size(96, 64) == (480, 320)


def test_few_of_many_are_spread_with_both_ends():
    many = stops(*range(1, 2001))
    chosen = [stop.step for stop in spread(many)]
    assert (chosen[0], chosen[-1], len(chosen)) == (1, 2000, 20)
    assert chosen == sorted(set(chosen))
    assert spread(many[:3]) == many[:3]
    assert spread([]) == []


def test_the_shown_checkpoint_can_always_be_forked():
    many = stops(*range(1, 2001))
    assert 777 in fork_steps(many, 777)
    assert fork_steps(many[:2], None) == [1, 2]


def test_a_fork_begins_where_a_state_is_kept():
    some = [replace(stop, has_state=stop.step in (10, 30, 40)) for stop in stops(10, 20, 30, 40)]
    assert fork_steps(some, fork_step(some, None)) == [10, 30, 40]
    assert [fork_step(some, chosen) for chosen in (None, 10, 20, 30, 40)] == [40, 10, 10, 30, 40]
    none = [replace(stop, has_state=False) for stop in some]
    assert (fork_step(none, 20), fork_steps(none, None), fork_step([], None)) == (None, [], None)


def test_another_checkpoint_of_the_same_step_has_another_thumbnail():
    one, other = (stop_of("j1", 5, {}, digest * 32).thumbnail_url for digest in ("ab", "cd"))
    assert one != other
    assert one.startswith(f"{JOB}/checkpoints/5/thumbnail?v=")


def test_pictures_that_browsers_do_not_show_are_shown_in_small():
    assert shown_url("/assets/a/content", "image/png") == "/assets/a/content"
    assert shown_url("/assets/a/content", "image/tiff") == "/assets/a/thumbnail"
