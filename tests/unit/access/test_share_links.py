"""Share links: what is signed, what is refused, and until when one is of use. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.access.shares import Shared, ShareLink, is_open, read_link, sign_link

SECRET = "a secret"
END = datetime(2026, 12, 4, 12, 0, tzinfo=UTC)
LINK = ShareLink("01a20000-0000-7000-8000-00000000000a", Shared.PAGE, 1, END)
TOKEN = sign_link(LINK, SECRET)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("of", Shared)
@pytest.mark.parametrize("version", [1, 2, 4711])
def test_what_was_signed_is_read(of: Shared, version: int):
    link = ShareLink(LINK.job_id, of, version, END)
    token = sign_link(link, SECRET)
    assert read_link(token, SECRET) == link
    assert quote(token, safe="") == token  # it stands in a path as it is


def test_another_letter_at_any_place_makes_it_none():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/% \n\0é"
    for place, letter in enumerate(TOKEN):
        for other in letters:
            if other != letter:
                assert read_link(TOKEN[:place] + other + TOKEN[place + 1 :], SECRET) is None, (place, other)
        assert read_link(TOKEN[:place] + TOKEN[place + 1 :], SECRET) is None
        assert read_link(TOKEN[:place], SECRET) is None
    for more in (f"{TOKEN}=", f"{TOKEN}.", f" {TOKEN}", f"{TOKEN}\n", f".{TOKEN}", TOKEN + TOKEN):
        assert read_link(more, SECRET) is None


@given(st.text())
def test_no_text_of_somebody_else_is_one(text: str):
    assert read_link(text, SECRET) is None
    said = TOKEN.rpartition(".")[0]
    assert read_link(f"{said}.{text}", SECRET) is None


def test_a_signature_holds_for_what_it_was_made_for_alone():
    signature = TOKEN.rpartition(".")[2]
    for other in (
        ShareLink("01a20000-0000-7000-8000-00000000000b", Shared.PAGE, 1, END),
        ShareLink(LINK.job_id, Shared.OUTPUT, 1, END),
        ShareLink(LINK.job_id, Shared.PAGE, 2, END),
        ShareLink(LINK.job_id, Shared.PAGE, 1, END + SECOND),
    ):
        said, _, own = sign_link(other, SECRET).rpartition(".")
        assert own != signature
        assert read_link(f"{said}.{signature}", SECRET) is None
    assert read_link(TOKEN, "another secret") is None


def test_it_is_of_use_before_its_end_and_with_the_version_of_its_job():
    assert is_open(LINK, version=1, now=END - SECOND)
    assert not is_open(LINK, version=1, now=END)
    assert not is_open(LINK, version=1, now=END + SECOND)
    for version in (0, 2, 3):
        assert not is_open(LINK, version=version, now=END - SECOND)
