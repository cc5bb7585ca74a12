"""The code that the documents name is where they say."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("docs/architecture.md", "docs/reliability.md", "CONTRIBUTING.md")
#: A path in backquotes below the project, a folder with its slash.
PATHS = re.compile(r"`((?:docs|requirements|shared|tests|web|worker)/[\w./-]*)`")
#: A file and what is in it: `web/jobs/submission.py` `submit`, or `Class.method`.
PLACES = re.compile(r"`([\w/]+\.py)`\s+`([A-Za-z_][\w.]*)`")


@cache
def text(document: str) -> str:
    return (ROOT / document).read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_and_folders_exist(document: str):
    paths = {path for path in PATHS.findall(text(document)) if not (ROOT / path).exists()}
    # What a run makes, and the tests that reliability.md names from the folder of tests.
    assert {path for path in paths if not (ROOT / "tests" / path).exists()} == set()


def test_the_journeys_name_what_is_in_the_files():
    places = PLACES.findall(text("docs/architecture.md"))
    assert len(places) > 20
    wrong = [
        (file, name)
        for file, name in places
        if not re.search(rf"\b(def|class) {name.split('.')[-1]}\b|^{name} *[:=]", text(file), re.MULTILINE)
    ]
    assert wrong == []
