"""The accessibility checks find what they are to find, in small pages with one fault each."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.accessibility import find_faults, find_keyboard_faults
from tests.support.visitor import Visitor

GOOD = """<!doctype html><html lang="en"><head><title>A page</title>
<meta name="color-scheme" content="light dark">
<style>
:root { color-scheme: light dark; }
body { background: light-dark(#fff, #111); color: light-dark(#222, #eee); font: 16px sans-serif; }
button, a.big, input, summary { min-height: 24px; min-width: 24px; display: inline-block;
  border: 1px solid light-dark(#777, #999); color: inherit; background: light-dark(#fff, #222); }
.pale::placeholder { color: light-dark(#bbb, #555); }
:focus-visible { outline: 3px solid light-dark(#00f, #9cf); }
</style></head><body>
<header><nav aria-label="Main"><a class="big" href="#main">To the content</a></nav></header>
<main id="main"><h1>One</h1><h2>Two</h2>
<p>Some text with <a href="/x">a link</a> in it.</p>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" alt="A dot" width="20" height="20">
<label for="name">Name</label> <input id="name" aria-describedby="hint"> <span id="hint">As on the door</span>
<fieldset><legend>Size</legend>
<label><input type="radio" name="size" value="1" checked> Small</label>
<label><input type="radio" name="size" value="2"> Large</label></fieldset>
<progress value="0.5" aria-label="Progress"></progress>
<button type="button">Do it</button>
<ul><li>One</li></ul>
<!-- here -->
</main></body></html>"""

SMALL = '<button style="min-height: 0; min-width: 0; width: 14px; height: 14px; padding: 0">x</button>'
LONG = '<p style="width: 90px; overflow: auto; white-space: nowrap">Longer than it is wide, by a lot.</p>'


def show(visitor: Visitor, html: str, theme: str = "light") -> Page:
    page = visitor.open("about:blank", theme=theme)
    page.set_content(html)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wrong_with_a_good_page(visitor: Visitor, theme: str):
    page = show(visitor, GOOD, theme)
    assert find_faults(page) == []
    assert find_keyboard_faults(page) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('lang="en"', "", "html-has-lang"),
        ("<title>A page</title>", "", "document-title"),
        ("<h1>One</h1>", "", "page-has-heading-one"),
        ("<h2>Two</h2>", "<h4>Two</h4>", "heading-order"),
        ('alt="A dot"', "", "image-alt"),
        ('<label for="name">Name</label>', "Name", "label: "),
        ("Do it", "", "button-name"),
        ("Do it", '<svg aria-hidden="true"></svg>', "button-name"),
        ('id="hint"', "", "aria-valid-attr-value"),
        ('id="hint"', 'id="name"', "the id is there twice"),
        ("<legend>Size</legend>", "", "a fieldset has no name"),
        ('aria-label="Progress"', "", "a progress has no name"),
        ("<li>One</li>", "<p>One</p>", "list: "),
        ("<main ", "<div ", "landmark-one-main"),
        ("</main>", "</main><p>Lost</p>", "region: "),
        ("<!-- here -->", '<p style="color: #999">Grey</p>', "color-contrast"),
        ("<!-- here -->", '<p style="opacity: .4">Faint</p>', "color-contrast"),
        ("<!-- here -->", '<p style="background: #333">Dark</p>', "color-contrast"),
        (
            "<!-- here -->",
            '<input aria-label="x" style="border-color: #eee">',
            "a field's edge has a contrast",
        ),
        ("<!-- here -->", SMALL + SMALL, "target-size"),
        ("<!-- here -->", '<a class="big" href="#nowhere">Away</a>', "#nowhere, which is not there"),
        ("<!-- here -->", '<button tabindex="2">Early</button>', "tabindex: "),
        ("<!-- here -->", '<a class="big" href="/"><button>In</button></a>', "inside of another"),
        ("<!-- here -->", '<div aria-hidden="true"><button>x</button></div>', "aria-hidden-focus"),
        ("<!-- here -->", '<div role="buton">x</div>', "aria-roles"),
        (
            "<!-- here -->",
            '<div role="slider" aria-label="x" tabindex="0">x</div>',
            "aria-required-attr",
        ),
        ("<!-- here -->", "<svg><circle r='5'/></svg>", "a svg has no name"),
        (
            "<!-- here -->",
            '<svg><text y="20" style="fill: #999">x</text></svg>',
            "a text has a contrast of 2",
        ),
        ("<!-- here -->", '<label for="nobody">Nobody</label>', "for points to #nobody"),
        (
            "<!-- here -->",
            '<input aria-label="x" placeholder="y" class="pale">',
            "a placeholder has a contrast",
        ),
        ("<!-- here -->", '<section aria-label="A"></section>' * 2, "landmark-unique"),
        ("<!-- here -->", LONG, "scrollable-region-focusable"),
        ("<!-- here -->", "<table><tr><td>1</td></tr></table>", "no header cells"),
    ],
)
def test_what_is_wrong_is_found(visitor: Visitor, old: str, new: str, found: str):
    assert old in GOOD
    faults = find_faults(show(visitor, GOOD.replace(old, new)))
    assert any(found in fault for fault in faults), faults


def test_contrast_is_judged_in_the_theme_that_is_shown(visitor: Visitor):
    html = GOOD.replace("<!-- here -->", '<p style="color: #555">Fine on white only</p>')
    assert find_faults(show(visitor, html, "light")) == []
    (fault,) = find_faults(show(visitor, html, "dark"))
    assert "contrast" in fault


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (":focus-visible { outline: 3px", ":focus-visible { outline: 0px", "the focus is not seen"),
        ("<!-- here -->", '<button style="outline: none">x</button>', 'the focus is not seen: <button> "x"'),
        ("<!-- here -->", "<button id='trap'>x</button>", "the focus is held"),
        ("<!-- here -->", "<button id='flee'>x</button>", 'Tab does not reach it: <button#flee> "x"'),
    ],
)
def test_what_is_wrong_for_the_keyboard_is_found(visitor: Visitor, old: str, new: str, found: str):
    page = show(visitor, GOOD.replace(old, new))
    page.evaluate(
        """() => {
          document.getElementById("trap")?.addEventListener("keydown", (event) => event.preventDefault());
          document.getElementById("flee")?.addEventListener("focus", (event) => event.target.blur());
        }"""
    )
    faults = find_keyboard_faults(page)
    assert any(found in fault for fault in faults), faults
