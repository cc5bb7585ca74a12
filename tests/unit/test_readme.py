"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_setting_stands_in_the_table_with_its_default():
    table = README.partition("<!-- settings")[2].partition("<!-- end of settings -->")[0]
    rows = dict(re.findall(r"^\| `ATELIER_(\w+)` \| (.*?) \|", table, flags=re.MULTILINE))
    defaults = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert rows == {name: f"`{value}`" if str(value) else "" for name, value in defaults.items()}


def test_every_file_it_links_to_exists():
    links = re.findall(r"\]\(((?!http)[^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_make_commands_exist():
    recipes = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", README, flags=re.MULTILINE)) <= set(recipes)
