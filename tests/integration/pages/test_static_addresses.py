"""Addresses of static files: what a page names may be kept for ever, anything else is asked for again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html"}
PAGES = ("/", "/new", "/workers", "/docs", "/nowhere")
KEPT = "max-age=31536000, immutable"


def named(client: FlaskClient, page: str) -> list[str]:
    text = client.get(page, headers=BROWSER).text
    return re.findall(r'"(/static/[^"#]+)', text)


def test_what_a_page_names_is_there_and_may_be_kept(client: FlaskClient, submit: Callable[..., Any]):
    for page in (*PAGES, f"/jobs/{submit()['id']}"):
        paths = set(named(client, page))
        assert len(paths) >= 5
        for path in paths:
            with client.get(path) as answer:
                assert (answer.status_code, answer.headers["Cache-Control"]) == (200, KEPT), path


def test_all_have_one_version_so_that_modules_find_each_other(client: FlaskClient):
    versions = {path.split("/")[2] for page in PAGES for path in named(client, page)}
    assert len(versions) == 1
    assert re.fullmatch(r"v-[0-9a-f]{16}", versions.pop())


@pytest.mark.parametrize("version", ["", "v-0123456789abcdef/", "v-x/"])
def test_at_another_version_there_is_the_file_of_now(client: FlaskClient, version: str):
    with client.get(f"/static/{version}js/words.js") as answer:
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-cache"
        etag = answer.headers["ETag"]
    with client.get(f"/static/{version}js/words.js", headers={"If-None-Match": etag}) as again:
        assert again.status_code == 304


def test_a_file_that_was_exchanged_under_a_running_process_is_not_kept(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
):
    """An upgrade puts new files in place before it starts the process again."""
    path = next(path for path in named(client, "/") if path.endswith("words.js"))
    files = client.application.view_functions["static"].__self__  # type: ignore[attr-defined]
    monkeypatch.setattr(files, "_known", dict.fromkeys(files._known, (0, 0)))
    with client.get(path) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"


def test_what_is_not_there_is_kept_by_nobody(client: FlaskClient):
    version = named(client, "/")[0].split("/")[2]
    for path in (f"/static/{version}/js/nope.js", f"/static/{version}/", f"/static/{version}/..%2fapp.py"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")


def test_a_page_names_the_modules_of_its_script_at_once(client: FlaskClient):
    text = client.get("/new", headers=BROWSER).text
    modules = re.findall(r'<script type="module" src="[^"]*/js/([^"]+)"></script>', text)
    assert modules[-1] == "new_job.js"
    assert {"request.js", "words.js", "draft_maker.js"} < set(modules)
    assert len(modules) == len(set(modules))
    assert text.rindex('type="module"') < text.index("</head>")
    assert 'type="module"' not in client.get("/docs", headers=BROWSER).text
