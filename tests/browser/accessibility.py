"""What keeps people out of a page.

`find_faults` reads the document with axe-core, and looks for what that leaves out (accessibility.js).
`find_keyboard_faults` walks through with Tab: everything is reached, the focus is seen, and nothing holds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_AXE = Axe()
#: All of its rules, and the one of WCAG 2.2 that it leaves to be asked for; of what passes it describes one
#: element each, which on a page as large as the documentation is most of its work.
_AXE_OPTIONS = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations", "incomplete"]}
#: What a theme can change: its colours. All other rules read the same document in the other theme.
_AXE_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
#: It cannot tell the contrast of a text over a picture; whatever else it is in doubt of is a fault.
_LEFT_IN_DOUBT = "color-contrast"
_SCRIPT = (Path(__file__).parent / "accessibility.js").read_text()
#: Fields of several parts, as a date is, are left after some more Tabs.
_PARTS = 6

_PREPARE = """() => {
  const look = (element) => [element, element.labels?.[0], element.nextElementSibling, element.parentElement]
    .filter(Boolean).map((part) => {
      const style = getComputedStyle(part);
      const isRinged = style.outlineStyle !== "none" && style.outlineWidth !== "0px";
      return [isRinged && style.outline, style.boxShadow, style.borderColor, style.backgroundColor,
        style.textDecoration].join("|");
    }).join("||");
  const groups = new Set();
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]");
  const found = [...all].filter((element) => {
      if (element.tabIndex < 0 || element.disabled || element.type === "hidden") return false;
      if (!element.checkVisibility({ visibilityProperty: true })) return false;
      if (element.type !== "radio") return true;
      // Of a group of radios, Tab reaches one.
      const members = [...document.getElementsByName(element.name)];
      if (members.some((member) => member.checked)) return element.checked;
      return !groups.has(element.name) && groups.add(element.name);
    });
  document.activeElement?.blur();
  window.keyboardCheck = { look, before: new Map(found.map((element) => [element, look(element)])) };
  return found.length;
}"""

_LOOK = """() => {
  const { look, before } = window.keyboardCheck;
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const box = element.getBoundingClientRect();
  const words = (element.getAttribute("aria-label") ?? element.textContent ?? "").trim().slice(0, 40);
  return {
    name: `<${element.localName}${element.id ? "#" + element.id : ""}> "${words}"`,
    index: [...before.keys()].indexOf(element),
    looksFocused: !before.has(element) || look(element) !== before.get(element),
    isCovered: box.bottom < 0 || box.top > innerHeight,
  };
}"""

_MISSED = """(reached) => [...window.keyboardCheck.before.keys()]
  .filter((element, index) => element.isConnected && !reached.includes(index))
  .map((element) => {
    const id = element.id ? "#" + element.id : "";
    return `<${element.localName}${id}> "${element.textContent.trim().slice(0, 40)}"`;
  })
"""


def find_faults(page: Page, *, colours_only: bool = False) -> list[str]:
    """Return what is wrong with a page as it is now, in its theme and width.

    With `colours_only` axe-core looks at the colours: for a page that was read in the other theme.
    """
    found = _AXE.run(page, options=_AXE_OPTIONS | (_AXE_COLOURS if colours_only else {})).response
    doubts = [rule for rule in found["incomplete"] if rule["id"] != _LEFT_IN_DOUBT]
    faults = [
        f"{rule['id']}: {rule['help']}: {node['html'][:120]}"
        for rule in [*found["violations"], *doubts]
        for node in rule["nodes"]
    ]
    return faults + list(page.evaluate(_SCRIPT))


def find_keyboard_faults(page: Page) -> list[str]:
    """Return what goes wrong when someone walks through a page with Tab."""
    count: int = page.evaluate(_PREPARE)
    faults: list[str] = []
    reached: set[int] = set()
    repeats, last = 0, None
    for _ in range(count * 2 + 10):
        page.keyboard.press("Tab")
        now: dict[str, Any] | None = page.evaluate(_LOOK)
        if now is None:  # it has left the document
            break
        repeats = repeats + 1 if now["name"] == last and now["index"] in reached else 0
        last = now["name"]
        if repeats > _PARTS:
            faults.append(f"the focus is held: {now['name']}")
            break
        if now["index"] in reached and repeats == 0 and len(reached) == count:
            break
        if now["index"] not in reached:
            if not now["looksFocused"]:
                faults.append(f"the focus is not seen: {now['name']}")
            if now["isCovered"]:
                faults.append(f"the focused lies outside of the window: {now['name']}")
        if now["index"] >= 0:
            reached.add(now["index"])
    faults += [f"Tab does not reach it: {name}" for name in page.evaluate(_MISSED, sorted(reached))]
    return faults
