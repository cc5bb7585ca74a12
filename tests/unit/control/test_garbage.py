"""What may be removed, decided without any database or store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.status import FINAL_STATUSES, JobStatus
from shared.storage import layout
from shared.storage.store import StoredFile
from web.control.garbage import (
    Kind,
    cutoffs_at,
    decide_asset_folder,
    decide_check_folder,
    decide_job_folder,
    decide_unused_asset,
)
from web.jobs.retention import JobRow, UnusedAsset
from web.protection import HOLD, RESTORE_GRACE, decide_protection, moment_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BEFORE = NOW - timedelta(hours=24)
OLD, YOUNG = BEFORE - timedelta(hours=1), BEFORE
FOLDER = layout.job_folder("j")

attempts = st.integers(1, 4)
steps = st.sampled_from([5, 10, 15])
keys = st.one_of(
    st.builds(lambda a, s: layout.checkpoint_key("j", a, s), attempts, steps),
    st.builds(lambda a, s: layout.checkpoint_picture_key("j", a, s, "ef" * 32), attempts, steps),
    st.builds(lambda a, s: f"jobs/j/attempt-{a}/checkpoint-{s:05d}.png", attempts, steps),
    st.builds(lambda a: layout.preview_key("j", a), attempts),
    st.builds(lambda a: layout.marker_key("j", a), attempts),
    st.builds(lambda a: layout.result_picture_key("j", a, "ab" * 32), attempts),
    st.builds(lambda digits: layout.result_thumbnail_key("j", digits * 32), st.sampled_from(["ab", "cd"])),
    st.just(layout.origin_key("j")),
    st.builds(lambda a: f"jobs/j/attempt-{a}/something-else.bin", attempts),
)


@st.composite
def folders(draw: st.DrawFn) -> tuple[list[StoredFile], JobRow]:
    """A job's folder, and a row that refers to some of its files as rows do."""
    present = draw(st.lists(keys, unique=True, max_size=20))
    files = [StoredFile(key, 1, draw(st.sampled_from([OLD, YOUNG]))) for key in present]
    places = draw(st.lists(st.tuples(attempts, st.sampled_from([OLD, YOUNG])), max_size=2))
    partials = [
        StoredFile(f"{layout.attempt_folder('j', attempt)}/.partial-{number}", 1, moment, is_partial=True)
        for number, (attempt, moment) in enumerate(places)
    ]
    # No row refers to a thumbnail: what it shows is what counts.
    referable = [key for key in present if "/thumbnail-" not in key]
    needed = draw(st.frozensets(st.sampled_from(referable))) if referable else frozenset()
    row = JobRow(
        id="j",
        status=draw(st.sampled_from(list(JobStatus))),
        attempt=draw(attempts),
        completed_at=draw(st.sampled_from([OLD, YOUNG])),
        outputs=frozenset(key for key in needed if "/result-" in key),
        needed=needed,
    )
    return files + partials, row


@given(folders())
def test_nothing_that_is_needed_goes(folder: tuple[list[StoredFile], JobRow]):
    files, row = folder
    by_key = {file.key: file for file in files}
    findings = decide_job_folder(FOLDER, files, row, before=BEFORE)
    for finding in findings:
        file = by_key[finding.name]
        assert file.modified_at < BEFORE
        assert finding.name not in row.needed
        assert file.is_partial == (finding.kind is Kind.PARTIAL_FILE)
        if row.status not in FINAL_STATUSES or row.completed_at >= BEFORE:
            assert finding.kind is Kind.PARTIAL_FILE
        for key in row.outputs:
            assert finding.name != key.rpartition("/")[0] + "/result.json"
        assert "something-else" not in finding.name
        assert "origin" not in finding.name
    assert findings == sorted(findings, key=lambda finding: finding.name)
    assert len({finding.identity for finding in findings}) == len(findings)


@given(folders(), st.data())
def test_what_may_go_still_may_when_the_job_is_asked_for_again(
    folder: tuple[list[StoredFile], JobRow], data: st.DataObject
):
    """Why no lock is needed: what is chosen is not of the next attempt, nor anything it can come to need."""
    files, row = folder
    findings = decide_job_folder(FOLDER, files, row, before=BEFORE)
    for finding in findings:
        if finding.kind is Kind.DEAD_FILE and "/thumbnail-" not in finding.name:  # made anew at need
            number = int(finding.name.split("attempt-")[1].split("/")[0])
            assert number <= row.attempt


@given(folders())
def test_the_preview_that_is_shown_stays(folder: tuple[list[StoredFile], JobRow]):
    files, row = folder
    gone = {finding.name for finding in decide_job_folder(FOLDER, files, row, before=BEFORE)}
    present = {file.key for file in files}

    def shown(among: set[str]) -> str | None:
        previews = (layout.preview_key("j", attempt) for attempt in range(row.attempt, 0, -1))
        return next((key for key in previews if key in among), None)

    assert shown(present) == shown(present - gone)


@given(folders())
def test_a_folder_without_a_row_goes_when_all_of_it_is_old(folder: tuple[list[StoredFile], JobRow]):
    files, _ = folder
    findings = decide_job_folder(FOLDER, files, None, before=BEFORE)
    if files and all(file.modified_at < BEFORE for file in files):
        assert [(finding.kind, finding.count) for finding in findings] == [(Kind.ORPHANED_JOB, len(files))]
    else:
        assert {finding.kind for finding in findings} <= {Kind.PARTIAL_FILE}


def test_what_a_final_job_has_lost_the_use_of():
    dead = [
        layout.checkpoint_key("j", 1, 10),
        layout.checkpoint_picture_key("j", 1, 10, "ef" * 32),
        layout.checkpoint_picture_key("j", 1, 5, "ef" * 32),  # another one is shown
        "jobs/j/attempt-1/checkpoint-00010.png",  # of an earlier release
        layout.preview_key("j", 1),
        layout.marker_key("j", 1),
    ]
    output = layout.result_picture_key("j", 2, "cd" * 32)
    dead.append(layout.result_thumbnail_key("j", "ab" * 32))
    kept = [layout.checkpoint_key("j", 1, 5), layout.preview_key("j", 2), layout.marker_key("j", 2), output]
    kept.append(layout.result_thumbnail_key("j", "cd" * 32))
    files = [StoredFile(key, 1, OLD) for key in dead + kept]
    row = JobRow("j", JobStatus.SUCCEEDED, 2, OLD, frozenset({output}), frozenset({output, kept[0]}))
    findings = decide_job_folder(FOLDER, files, row, before=BEFORE)
    assert [finding.name for finding in findings] == sorted(dead)
    assert {finding.kind for finding in findings} == {Kind.DEAD_FILE}


@given(
    st.lists(st.tuples(st.sampled_from("0123456789"), st.booleans()), unique_by=lambda pair: pair[0]),
    st.sets(st.sampled_from("0123456789")),
)
def test_a_known_or_young_picture_stays(pairs: list[tuple[str, bool]], known: set[str]):
    files = [StoredFile(layout.asset_key(d * 64), 1, OLD if old else YOUNG) for d, old in pairs]
    keys = (layout.asset_thumbnail_key, layout.large_thumbnail_key)
    files += [replace(file, key=key(file.key[-64:])) for key in keys for file in files[: len(pairs)]]
    findings = decide_asset_folder(files, {digit * 64 for digit in known}, before=BEFORE)
    gone = [digit * 64 for digit, old in pairs if old and digit not in known]
    expected = sorted(key(sha256) for sha256 in gone for key in (layout.asset_key, *keys))
    assert [finding.name for finding in findings] == expected


def test_a_name_that_is_no_picture_stays():
    assert decide_asset_folder([StoredFile("assets/ab/notes.txt", 1, OLD)], set(), before=BEFORE) == []


def test_old_checks_go():
    files = [StoredFile("check/a", 1, OLD), StoredFile("check/b", 1, YOUNG)]
    assert [f.name for f in decide_check_folder(files, before=BEFORE)] == ["check/a"]


@pytest.mark.parametrize(
    ("created_at", "touched_at", "goes"),
    [(OLD, OLD, True), (OLD, None, True), (OLD, YOUNG, False), (YOUNG, OLD, False)],
)
def test_an_asset_is_unused_when_nobody_uploaded_it_lately(
    created_at: datetime, touched_at: datetime | None, goes: bool
):
    asset = UnusedAsset("a", "0" * 64, 1, created_at, is_shared=False)
    file = None if touched_at is None else StoredFile(layout.asset_key("0" * 64), 1, touched_at)
    assert (decide_unused_asset(asset, file, before=BEFORE) is not None) == goes


def test_without_retention_jobs_are_kept_for_ever():
    assert cutoffs_at(NOW, retention_days=0, garbage_hours=24).completed is None
    for number in (1e6, 1e300):
        far = cutoffs_at(NOW, retention_days=number, garbage_hours=24 * number)
        assert far.completed == far.garbage == datetime.min.replace(tzinfo=UTC)
    assert cutoffs_at(NOW, retention_days=2, garbage_hours=24).completed == NOW - timedelta(days=2)


AGED = "019aa0f0-0000-7000-8000-000000000000"  # made at 06:58 on 20 November 2026, long before `OLD`


def test_what_is_younger_than_an_older_database_is_kept():
    """By the moment in the name as well as by the files: a copy may have given them other times."""
    folder = layout.job_folder(AGED)
    made_at = moment_of(AGED)
    assert made_at is not None
    files = [StoredFile(layout.origin_key(AGED), 1, made_at)]

    def kinds(kept_since: datetime | None) -> list[Kind]:
        return [
            finding.kind
            for finding in decide_job_folder(folder, files, None, before=BEFORE, kept_since=kept_since)
        ]

    assert kinds(None) == [Kind.ORPHANED_JOB]
    assert kinds(made_at + timedelta(seconds=1)) == [Kind.ORPHANED_JOB]
    assert kinds(made_at) == []
    files = [replace(files[0], modified_at=made_at - timedelta(days=9))]
    assert kinds(made_at) == []
    files = [replace(files[0], modified_at=made_at + timedelta(hours=2))]
    assert kinds(made_at + timedelta(hours=1)) == []
    picture = StoredFile(layout.asset_key("a" * 64), 1, made_at)
    assert decide_asset_folder([picture], set(), before=BEFORE, kept_since=made_at) == []
    assert decide_asset_folder([picture], set(), before=BEFORE, kept_since=OLD)


def test_a_folder_that_a_killed_removal_emptied_goes_by_its_name():
    folder = layout.job_folder(AGED)
    assert [found.name for found in decide_job_folder(folder, [], None, before=BEFORE)] == [folder]
    assert decide_job_folder(folder, [], None, before=moment_of(AGED)) == []
    assert decide_job_folder("jobs/no-id-with-a-time", [], None, before=BEFORE) == []


def test_thumbnails_of_checkpoints_go_with_what_they_show():
    shown, dead = (layout.checkpoint_picture_key("j", 1, step, "ef" * 32) for step in (5, 10))
    _assert_thumbnails_go_with(shown, dead)
    _assert_thumbnails_go_with(
        "jobs/j/attempt-1/checkpoint-00005.png", "jobs/j/attempt-1/checkpoint-00010.png"
    )


def _assert_thumbnails_go_with(shown: str, dead: str) -> None:
    files = [StoredFile(layout.checkpoint_thumbnail_key(key, "ab" * 32), 1, OLD) for key in (shown, dead)]
    files += [StoredFile(f"{key}.thumbnail.jpg", 1, OLD) for key in (shown, dead)]  # of the first release
    row = JobRow("j", JobStatus.SUCCEEDED, 1, OLD, frozenset(), frozenset({shown}))
    findings = decide_job_folder(FOLDER, files, row, before=BEFORE)
    assert {finding.name for finding in findings} == {
        layout.checkpoint_thumbnail_key(dead, "ab" * 32), f"{dead}.thumbnail.jpg"
    }  # fmt: skip


def test_attempts_that_a_restore_put_aside_stay_for_a_month():
    key = f"jobs/j/replaced-{int(OLD.timestamp())}-attempt2/result.json"
    row = JobRow("j", JobStatus.RUNNING, 1, None)

    def names(replaced_before: datetime) -> list[str]:
        files = [StoredFile(key, 1, OLD)]
        found = decide_job_folder(FOLDER, files, row, before=BEFORE, replaced_before=replaced_before)
        return [finding.name for finding in found]

    assert names(OLD) == []
    assert names(OLD + timedelta(seconds=1)) == [key]
    assert cutoffs_at(NOW, retention_days=0, garbage_hours=24).replaced == NOW - RESTORE_GRACE


@pytest.mark.parametrize(
    ("held_for", "is_held"), [(timedelta(0), False), (HOLD, True), (2 * HOLD, True), (3 * HOLD, False)]
)
def test_a_hold_ends_by_itself_also_one_made_under_a_wrong_clock(held_for: timedelta, is_held: bool):
    found = decide_protection(held_until=NOW + held_for, restored_at=None, known_until=None, now=NOW)
    assert found.is_held == is_held


def test_a_restore_counts_for_a_month():
    def kept_since(now: datetime) -> datetime | None:
        return decide_protection(held_until=None, restored_at=NOW, known_until=OLD, now=now).kept_since

    assert kept_since(NOW) == OLD
    assert kept_since(NOW - timedelta(days=400)) == OLD  # a clock that was set back
    assert kept_since(NOW + RESTORE_GRACE) is None
