"""A visitor with a real browser, who records everything that goes wrong in it."""

from __future__ import annotations

import re
import shutil
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

#: The shell is the same browser without its own windows, and takes a third of the processor's time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
#: A name of this machine that browsers do not trust as they do localhost; tests put a proxy there.
PROXY_NAME = "styles.example"
SWITCHES = (
    f"--host-resolver-rules=MAP {PROXY_NAME} 127.0.0.1",
    "--no-sandbox",  # it runs in containers, and sees our own pages only
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Theme = Literal["light", "dark"]
DESKTOP, PHONE = 1280, 390
_HEIGHTS = {DESKTOP: 900, PHONE: 844}
_WAIT_MS = 20_000
#: `takeShift()` tells how far things have jumped on their own since it was last asked, or since the page was
#: opened, as browsers measure it (0 is not at all). They tell of it some frames later.
_SHIFTS = """
{
  let shift = 0;
  const add = (entries) => {
    for (const entry of entries) if (!entry.hadRecentInput) shift += entry.value;
  };
  const observer = new PerformanceObserver((list) => add(list.getEntries()));
  observer.observe({ type: "layout-shift", buffered: true });
  window.takeShift = async () => {
    for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
    add(observer.takeRecords());
    const taken = shift;
    shift = 0;
    return taken;
  };
}
"""


class Visitor:
    """Opens pages, each in a browser window of its own that knows nothing of the others."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._expected: list[str] = []
        #: What went wrong: console errors (violations of the policy are such), exceptions, failed requests.
        self.faults: list[str] = []

    def open(
        self,
        url: str,
        *,
        theme: Theme = "light",
        width: int = DESKTOP,
        scripts: bool = True,
        motion: bool = False,
        **context: Any,
    ) -> Page:
        """Go to a page and return it; without `scripts` as someone does who has switched them off."""
        window = self._browser.new_context(
            viewport={"width": width, "height": _HEIGHTS.get(width, 900)},
            color_scheme=theme,
            reduced_motion="no-preference" if motion else "reduce",
            java_script_enabled=scripts,
            **context,
        )
        window.set_default_timeout(_WAIT_MS)
        if scripts:
            window.add_init_script(_SHIFTS)
        page = window.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("requestfailed", self._see_failure)
        page.on("response", self._see_answer)
        page.goto(url)
        return page

    def expects(self, *patterns: str) -> None:
        """Say what is to go wrong: faults in which one of the patterns is found are none."""
        self._expected += patterns

    def unexpected(self) -> list[str]:
        """Return the faults that nobody said would come."""
        return [
            fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self._expected)
        ]

    def leave(self) -> None:
        """Close all windows."""
        for window in self._browser.contexts:
            window.close()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _see_failure(self, request: Request) -> None:
        # A page that is left gives up what it still waits for; that is no fault.
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _see_answer(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"answer {response.status}: {response.request.method} {response.url}")
