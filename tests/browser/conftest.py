"""A real Chromium, the real web process, and someone who visits it.

Every test that uses `visitor` fails on console errors, violations of the policy, exceptions and failed
requests, unless it says with `visitor.expects(...)` that they are to come.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from shared.settings import Settings
from tests.support.visitor import CHROMIUM, SWITCHES, Visitor
from tests.support.website import Site
from tests.support.workshop import Workshop
from web.cli.local.redis_server import RedisServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the whole run."""
    if CHROMIUM is None:
        assert not os.environ.get("CI"), "there is no chromium: the pages cannot be tested"
        pytest.skip("there is no chromium; with CI set this is a failure")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Someone with a browser; what went wrong in it fails the test."""
    someone = Visitor(browser)
    yield someone
    someone.leave()
    assert someone.unexpected() == []


@pytest.fixture(scope="session")
def _web_process(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    site = Site(
        Settings(
            redis_url=redis_server.url,
            data_dir=folder / "data",
            cache_dir=folder / "cache",
            vgg19_weights="untrained",
            web_threads=24,
        )
    )
    site.settings.data_dir.mkdir()
    site.start()
    yield site
    site.close()


@pytest.fixture
def site(_web_process: Site) -> Site:
    """The real web process, with an empty database, storage and Redis."""
    _web_process.empty()
    return _web_process


@pytest.fixture
def workshop(site: Site) -> Workshop:
    """Who carries the site's jobs out, when the test says so."""
    return site.workshop


@pytest.fixture
def page(visitor: Visitor, site: Site) -> Page:
    """The site's first page, on a desktop in the light theme."""
    return visitor.open(site.url)
