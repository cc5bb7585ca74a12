"""Do database and storage belong together? Every way in which they can be found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import IdentityMissing, IdentityWrong
from web.identity import Sighting, Step, decide_identity

NEW = Sighting(
    row_id=None, is_confirmed=False, file_id=None, has_rows=False, has_files=False, share_pictures=False
)
FIRST_RELEASE = replace(NEW, has_rows=True, has_files=True, share_pictures=True)
OURS = replace(FIRST_RELEASE, row_id="a", is_confirmed=True, file_id="a")


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (NEW, Step.MAKE),
        (FIRST_RELEASE, Step.MAKE),
        (OURS, Step.NOTHING),
        (replace(NEW, row_id="a", is_confirmed=True, file_id="a"), Step.NOTHING),
        # Killed between row and file, and between file and confirmation.
        (replace(NEW, row_id="a"), Step.FINISH),
        (replace(NEW, row_id="a", file_id="a"), Step.FINISH),
        # A copy of the database from before there were ids.
        (replace(FIRST_RELEASE, file_id="a"), Step.ADOPT),
    ],
)
def test_they_belong_together(seen: Sighting, step: Step):
    assert decide_identity(seen) is step


@pytest.mark.parametrize(
    "seen",
    [
        replace(OURS, file_id=None),
        replace(OURS, file_id=None, has_files=False, share_pictures=False),
        replace(FIRST_RELEASE, has_files=False, share_pictures=False),
        replace(FIRST_RELEASE, share_pictures=False),
    ],
)
def test_the_storage_is_not_mounted(seen: Sighting):
    with pytest.raises(IdentityMissing):
        decide_identity(seen)


@pytest.mark.parametrize(
    "seen",
    [
        replace(OURS, file_id="b"),
        replace(OURS, file_id="b", is_confirmed=False),
        replace(NEW, has_files=True),
        replace(NEW, file_id="b", has_files=True),
        replace(NEW, file_id="b"),  # it was taken just now, and is not used yet
        replace(FIRST_RELEASE, file_id="b", share_pictures=False),
    ],
)
def test_they_are_of_two_installations(seen: Sighting):
    with pytest.raises(IdentityWrong):
        decide_identity(seen)
