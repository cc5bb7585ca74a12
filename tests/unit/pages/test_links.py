"""Links of the pages: a proxy may serve the service below a path, which every link has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_WEB = Path(__file__).parents[3] / "web"
_TEMPLATES = sorted((_WEB / "templates").rglob("*.html"))
_SCRIPTS = sorted((_WEB / "static/js").glob("*.js"))


@pytest.mark.parametrize("template", _TEMPLATES, ids=lambda path: path.name)
def test_a_template_begins_its_own_links_with_the_root(template: Path):
    bare = re.findall(r'(?:href|src|action|formaction|poster|data-[\w-]+)="/[^"]*"', template.read_text())
    assert [link for link in bare if not link.startswith("data-fault")] == []


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_a_link_of_every_path(script: Path):
    text = script.read_text()
    paths = re.findall(r'(.{0,6})["`](/(?:api|jobs|new|workers|docs|static|parts|\?)[^"`]*)["`]', text)
    assert [path for before, path in paths if not before.endswith("link(")] == []


def test_there_is_something_to_look_at():
    assert len(_TEMPLATES) > 10
    assert sum("link(" in path.read_text() for path in _SCRIPTS) > 3
