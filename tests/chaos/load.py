"""The jobs of a run: pictures uploaded once, jobs handed in over HTTP until each is known to be taken."""

from __future__ import annotations

import io
from time import monotonic, sleep

import httpx2
from PIL import Image

_PATIENCE_SECONDS = 60


class Load:
    """Hands jobs in; `accepted` maps a job's number to its id."""

    def __init__(self, url: str, *, run: str, steps: int) -> None:
        self._client = httpx2.Client(base_url=f"{url}/api/v1", timeout=20)
        self._run = run
        self._steps = steps
        self._assets = [self._upload(seed) for seed in range(4)]
        self.accepted: dict[int, str] = {}

    def submit(self, number: int, *, headers: dict[str, str] | None = None) -> None:
        """Hand a job in; after a lost answer look for it, and hand it in again only if it is not there."""
        body = {
            "content": self._assets[number % 4],
            "style": self._assets[(number + 1) % 4],
            "options": {"steps": self._steps, "size": 48, "checkpoint_every": 5, "style_weight": 1 + number},
            "labels": {"run": self._run, "n": str(number)},
        }
        deadline = monotonic() + _PATIENCE_SECONDS
        while monotonic() < deadline:
            try:
                answer = self._client.post("/jobs", json=body, headers=headers or {})
                if answer.status_code == 202:
                    self.accepted[number] = answer.json()["id"]
                    return
            except httpx2.TransportError:
                headers = None
                if self._find(number, deadline):
                    return
            sleep(0.2)
        raise TimeoutError(f"job number {number} was not taken within {_PATIENCE_SECONDS} s")

    def _find(self, number: int, deadline: float) -> bool:
        query = [("label", f"run:{self._run}"), ("label", f"n:{number}")]
        while monotonic() < deadline:
            try:
                found = self._client.get("/jobs", params=query).json()["jobs"]
            except httpx2.TransportError:
                sleep(0.2)
                continue
            if found:
                self.accepted[number] = found[0]["id"]
            return bool(found)
        return False

    def _upload(self, seed: int) -> str:
        picture = Image.linear_gradient("L").resize((64, 48)).point(lambda value: value * (seed + 2) % 256)
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG")
        answer = self._client.post("/assets", files={"file": ("picture.png", buffer.getvalue())})
        return str(answer.raise_for_status().json()["id"])
