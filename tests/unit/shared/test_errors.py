"""The tree of errors: every one has a stable code and a message, and stands in the drawing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import shared.errors
from shared.errors import AtelierError


def tree(error: type[AtelierError]) -> Iterator[type[AtelierError]]:
    yield error
    for child in error.__subclasses__():
        yield from tree(child)


def test_every_leaf_has_its_own_code_and_message():
    leaves = [error for error in tree(AtelierError) if not error.__subclasses__()]
    assert len({error.code for error in leaves}) == len(leaves)
    assert all("code" in vars(error) and error.title().endswith(".") for error in leaves)


def test_the_drawing_shows_every_error():
    drawing = shared.errors.__doc__ or ""
    for error in tree(AtelierError):
        assert error.__name__ in drawing
        if not error.__subclasses__():
            assert error.code in drawing


def test_a_detail_is_text_whatever_it_is_made_of():
    error = shared.errors.EngineFailed("FileNotFoundError: b\udcff\ud800")
    assert error.detail == r"FileNotFoundError: b\udcff\ud800"
    assert json.dumps(error.to_json(), ensure_ascii=False).encode()


def test_without_a_detail_the_title_is_the_message():
    assert str(shared.errors.NotReady()) == "The job has not got this far yet."
