"""The jobs of a run: submitted over HTTP with a key each, until each is known to be taken."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from threading import Lock
from time import sleep, time
from typing import Any

from PIL import Image

from shared.status import HIGHEST_PRIORITY
from tests.chaos.asking import Answer, Asking

PICTURES = 4
SIZE_PX = 48
CHECKPOINT_EVERY = 5
_SUBMITTERS = 4
#: As a script asks for a draft: the answer comes with the picture, if that does not take long.
_DRAFT_WAIT = "wait=2"
#: What becomes of a job beside being done, and how many of a hundred it is; the rest is just done.
KINDS = {
    "cancel": 5, "pause": 7, "retry": 6, "retry-zero": 3, "extend": 5, "fork": 4, "reuse": 6, "pictures": 8,
    "deadline": 3, "fast": 5, "draft": 6, "keep": 2, "priority": 6,
}  # fmt: skip
#: These are submitted as drafts: one may be replaced by the next, and one is kept.
DRAFTS = ("draft", "keep")


@dataclass
class Submitted:
    """One job that was submitted: how, all ids it was ever known by, and what was asked of it since."""

    number: int
    kind: str
    options: dict[str, Any]
    began: float
    #: The id of the draft whose place this one takes.
    replaces: str = ""
    #: What was answered when it was taken.
    taken: Answer | None = None
    ids: set[str] = field(default_factory=set)
    asked: list[tuple[str, Answer]] = field(default_factory=list)
    #: SHA-256 of the output, fetched when the job was first seen to have succeeded.
    fetched: str | None = None
    #: Whether it was not there any more when its output was to be fetched.
    was_gone: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return next(iter(self.ids))


class Load:
    """Hands jobs in; `wish` is called with each that was taken, and carries out what its kind says."""

    def __init__(
        self, asking: Asking, *, seed: int, steps: int, share: float = 1.0, first_picture: int = 0
    ) -> None:
        """Upload the pictures, from `first_picture` on; `share` scales how many jobs are not plain."""
        self.asking = asking
        self.steps = steps
        self._seed = seed
        self._share = share
        self._numbers = itertools.count()
        self._lock = Lock()
        self._pictures = [make_picture(first_picture + index) for index in range(PICTURES)]
        self._assets = [self._upload(data) for data in self._pictures]
        self.submitted: dict[int, Submitted] = {}
        #: How many jobs were taken.
        self.accepted = 0

    def run(
        self,
        *,
        is_enough: Callable[[int], bool],
        has_room: Callable[[], bool],
        wish: Callable[[Submitted], None],
    ) -> None:
        """Hand jobs in from several threads until it is enough, and only while there is room."""

        def hand_in() -> None:
            while not is_enough(self.accepted):
                if has_room():
                    wish(self.submit())
                else:
                    sleep(0.1)

        with ThreadPoolExecutor(_SUBMITTERS) as pool:
            for future in [pool.submit(hand_in) for _ in range(_SUBMITTERS)]:
                future.result()

    def submit(self, *, kind: str = "", replaces: str = "", once: dict[str, str] | None = None) -> Submitted:
        """Hand the next job in; the same key each time, and the headers `once` with the first try only."""
        job = self._next(kind, replaces)
        if job.kind == "keep":
            once = {"Prefer": _DRAFT_WAIT, **(once or {})}
        key = f"{self._seed}-{job.number}"
        content = self._parts(job) if job.kind == "pictures" else {"json": self._body(job)}
        try:
            answer = self.asking.post("/jobs", key=key, once=once, **content)
        except TimeoutError as error:
            job.faults.append(str(error))
            return job
        if answer.is_done:
            job.ids.add(answer.data["id"])
            job.taken = answer
            with self._lock:
                self.accepted += 1
            if answer.unheard or job.number % 10 == 0:
                # Whoever asks again, for whatever reason, must be told of the same job.
                job.ids.add(self.asking.post("/jobs", key=key, **content).data.get("id", "refused"))
        else:
            job.faults.append(f"it was refused: {answer.status_code} {answer.data}")
        return job

    def _next(self, kind: str, replaces: str) -> Submitted:
        with self._lock:
            number = next(self._numbers)
            chance = Random(f"{self._seed} {number}")
            kind = kind or self._kind(chance)
            options: dict[str, Any] = {"method": "fast", "size": SIZE_PX}
            if kind not in ("fast", *DRAFTS):
                options = {"steps": self.steps, "size": SIZE_PX, "checkpoint_every": CHECKPOINT_EVERY}
            self.submitted[number] = job = Submitted(number, kind, options, time(), replaces=replaces)
        return job

    def _kind(self, chance: Random) -> str:
        point = chance.uniform(0, 100)
        for kind, share in KINDS.items():
            point -= share * self._share
            if point < 0:
                return kind
        return "plain"

    def _body(self, job: Submitted) -> dict[str, Any]:
        first, second = self._pair(job)
        extra: dict[str, Any] = {"queue_timeout_seconds": 2} if job.kind == "deadline" else {}
        if job.kind == "priority":
            extra = {"priority": self._seed_of(job).randint(0, HIGHEST_PRIORITY)}
        if job.kind in DRAFTS:
            extra = {"kind": "draft", **({"replaces": job.replaces} if job.replaces else {})}
        return {
            "content": self._assets[first],
            "style": self._assets[second],
            "options": job.options,
            "labels": {"n": str(job.number)},
            "reuse": job.kind == "reuse",
            **extra,
        }

    def _parts(self, job: Submitted) -> dict[str, Any]:
        first, second = self._pair(job)
        texts = {"options": json.dumps(job.options), "labels": json.dumps({"n": str(job.number)})}
        files = {"content": ("c.png", self._pictures[first]), "style": ("s.png", self._pictures[second])}
        return {"data": {**texts, "reuse": "false"}, "files": files}

    def _seed_of(self, job: Submitted) -> Random:
        return Random(f"{self._seed} {job.number} body")

    @staticmethod
    def _pair(job: Submitted) -> tuple[int, int]:
        return job.number % PICTURES, (job.number + 1) % PICTURES

    def _upload(self, data: bytes) -> str:
        answer = self.asking.post("/assets", files={"file": ("picture.png", data)})
        return str(answer.data["id"])


def make_picture(seed: int) -> bytes:
    """Return a PNG of 64 by 48 px; another one for each seed below 255."""
    picture = Image.linear_gradient("L").resize((64, 48)).point(lambda value: value * (seed + 2) % 256)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
