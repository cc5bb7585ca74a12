# ruff: noqa: T201 - a command line
"""Makes the README's picture of a job's page: ``python -m tests.browser.portrait docs/images/job.jpg``.

It shows a real job: the whole service, the real engine with untrained weights, the example pictures.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.browser.new_job_form import CONTENT, STYLE
from tests.support.service import run_service
from tests.support.visitor import CHROMIUM, DESKTOP, SWITCHES

_OPTIONS = '{"steps": 60, "size": 512}'
_AT_STEP = 40
_HEIGHT_PX = 1000


def main() -> None:
    """Run the job, wait until most of it is done, and take the picture."""
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, run_service(Path(folder)) as service:
        with service.client() as client:
            files = {"content": CONTENT.open("rb"), "style": STYLE.open("rb")}
            form = {"options": _OPTIONS, "name": "Harbour at dusk", "labels": '{"series": "town"}'}
            job = client.post("/jobs", files=files, data=form).raise_for_status().json()
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
            page = chromium.new_page(viewport={"width": DESKTOP, "height": _HEIGHT_PX})
            page.goto(f"{service.url}/jobs/{job['id']}")
            expect(page.get_by_role("link", name=f"Step {_AT_STEP}")).to_be_visible(timeout=1_200_000)
            picture = Image.open(io.BytesIO(page.screenshot()))
            chromium.close()
    picture.convert("RGB").save(path, quality=88, optimize=True, progressive=True)
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
