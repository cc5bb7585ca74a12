"""Static files: the version of a folder, and which modules a script brings along."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from web.pages.static_files import StaticFiles, bring_along, imports_of, version_of

_STATIC = Path(__file__).parents[3] / "web/static"


def test_a_version_is_that_of_all_names_and_bytes(tmp_path: Path):
    (tmp_path / "js").mkdir()
    seen = [version_of(tmp_path)]
    for name, text in (
        ("js/a.js", "1"),
        ("js/b.js", "1"),
        ("js/a.js", "2"),
        ("a.css", ""),
        ("js/b.js", "12"),
    ):
        (tmp_path / name).write_text(text)
        seen.append(version_of(tmp_path))
    (tmp_path / "js/b.js").rename(tmp_path / "js/c.js")
    seen.append(version_of(tmp_path))
    assert len(set(seen)) == len(seen)
    assert version_of(tmp_path) == seen[-1]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('import { a, b } from "./other.js";', ["js/other.js"]),
        ('import * as all from "./other.js";', ["js/other.js"]),
        ('export { a } from "./other.js";', ["js/other.js"]),
        ('import "./other.js";', ["js/other.js"]),
        ('  const { a } = await import("./other.js");', []),
        ('/** @param {import("./other.js").A} a */', []),
        ('// import { a } from "./other.js";', []),
    ],
)
def test_imports_of_a_module(line: str, found: list[str]):
    assert imports_of("js/one.js", f"// First.\n{line}\nrun();\n") == found


def test_a_module_comes_with_all_that_it_imports_each_once():
    sources = {
        "js/page.js": 'import { a } from "./a.js";\nimport { b } from "./b.js";\n',
        "js/a.js": 'import { c } from "./c.js";\n',
        "js/b.js": 'import { a } from "./a.js";\nimport { c } from "./c.js";\nimport "./page.js";\n',
        "js/c.js": 'const d = () => import("./d.js");\n',
        "js/d.js": "",
    }
    assert bring_along("js/page.js", sources) == ["js/page.js", "js/a.js", "js/b.js", "js/c.js"]
    with pytest.raises(KeyError, match="lost"):
        bring_along("js/page.js", {"js/page.js": 'import "./lost.js";\n'})


@pytest.mark.parametrize("script", sorted((_STATIC / "js").glob("*.js")), ids=lambda path: path.name)
def test_imports_are_written_as_they_are_read(script: Path):
    """One statement a line: else a module would be found by the browser alone, and late."""
    source = script.read_text()
    statements = re.findall(r"^import\b|^export\b[^;]*\bfrom\b", source, re.MULTILINE)
    assert len(statements) == len(list(imports_of(f"js/{script.name}", source)))


def test_every_page_script_brings_something():
    modules = StaticFiles(_STATIC).modules
    assert {name for name in modules if len(modules[name]) > 3} >= {
        *("js/gallery.js", "js/job.js", "js/new_job.js", "js/workers.js")
    }
