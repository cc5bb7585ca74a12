"""What people do with the jobs of a run: they fetch results, and ask for more, by each job's kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from random import Random
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from shared.status import HIGHEST_PRIORITY
from tests.chaos.load import CHECKPOINT_EVERY, DRAFTS, Load, Submitted

FINAL = frozenset({"succeeded", "failed", "canceled", "expired"})
EXTENSION_STEPS = 7
_THREADS = 8
_LOOK_SECONDS = 0.25

#: A wish says what it waits for next: one of these statuses, or so many seconds; it is sent the status.
Wish = Generator[frozenset[str] | float, str, None]


class Wishes:
    """Carries out wishes; what is asked and answered is noted with each job."""

    def __init__(self, load: Load, statuses: Callable[[], Mapping[str, str]], *, seed: int) -> None:
        self._load = load
        self._statuses = statuses
        self._seed = seed
        self._pool = ThreadPoolExecutor(_THREADS)
        self._lock = Lock()
        self._waiting: list[tuple[Submitted, Wish, frozenset[str] | float]] = []
        self._open = 0
        self._closing = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def begin(self, job: Submitted) -> None:
        """Begin with what a job's kind says, if it says anything."""
        make: Callable[[Submitted], Wish] | None = getattr(self, "_" + job.kind.replace("-", "_"), None)
        if make is not None and job.ids:
            with self._lock:
                self._open += 1
            self._pool.submit(self._go_on, job, make(job), None)

    @property
    def open(self) -> int:
        """How many wishes are not yet carried out."""
        with self._lock:
            return self._open

    def close(self) -> None:
        """Leave the rest be."""
        self._closing.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)

    def _look(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            statuses = self._statuses()
            self._fetch_new(statuses)
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for job, wish, until in waiting:
                status = statuses.get(job.job_id, "")
                if monotonic() >= until if isinstance(until, float) else status in until:
                    self._pool.submit(self._go_on, job, wish, status)
                else:
                    with self._lock:
                        self._waiting.append((job, wish, until))

    def _fetch_new(self, statuses: Mapping[str, str]) -> None:
        """Let whoever was told that a job succeeded fetch its output at once, as people do."""
        for job in list(self._load.submitted.values()):
            if job.fetched is None and job.ids and statuses.get(job.job_id) == "succeeded":
                job.fetched = ""
                with self._lock:
                    self._open += 1
                self._pool.submit(self._fetch, job)

    def _fetch(self, job: Submitted) -> None:
        try:
            status, data = self._load.asking.download(f"/jobs/{job.job_id}/output")
            if status == HTTPStatus.NOT_FOUND and job.kind in DRAFTS:
                job.was_gone = True  # the oracle knows whether it may have gone so soon
                return
            job.fetched = hashlib.sha256(data).hexdigest()
            if status != HTTPStatus.OK:
                job.faults.append(f"it had succeeded, but its output could not be fetched: {status} {data!r}")
        except TimeoutError as error:
            job.faults.append(f"its output could not be fetched: {error}")
        finally:
            self._end()

    def _go_on(self, job: Submitted, wish: Wish, status: str | None) -> None:
        try:
            until = wish.send(status)  # type: ignore[arg-type]
        except StopIteration:
            self._end()
        except Exception as error:  # noqa: BLE001 - a breach, or a fault of the harness: either must be seen
            job.faults.append(f"wish to {job.kind}: {error!r}")
            self._end()
        else:
            with self._lock:
                self._waiting.append((job, wish, monotonic() + until if isinstance(until, float) else until))

    def _end(self) -> None:
        with self._lock:
            self._open -= 1

    def _cancel(self, job: Submitted) -> Wish:
        yield from self._a_while(job)
        self._ask(job, "cancel")

    def _pause(self, job: Submitted) -> Wish:
        yield from self._a_while(job)
        if self._ask(job, "pause"):
            yield FINAL | {"paused"}
            yield self._chance(job).uniform(0, 1)
            self._ask(job, "resume")

    def _retry(self, job: Submitted, body: dict[str, Any] | None = None) -> Wish:
        yield from self._a_while(job)
        if self._ask(job, "cancel"):
            yield FINAL
            self._ask(job, "retry", json=body or {})

    def _retry_zero(self, job: Submitted) -> Wish:
        return self._retry(job, {"from": "zero"})

    def _extend(self, job: Submitted) -> Wish:
        if (yield FINAL) == "succeeded":
            key = f"{self._seed}-{job.number}-extend"
            self._ask(job, "extend", key=key, json={"steps": EXTENSION_STEPS})

    def _fork(self, job: Submitted) -> Wish:
        if (yield FINAL) != "succeeded":
            return
        step = CHECKPOINT_EVERY * self._chance(job).randint(1, (self._load.steps - 1) // CHECKPOINT_EVERY)
        body = {"step": step, "options": {"style_weight": 0.5}, "labels": {"fork-of": str(job.number)}}
        self._ask(job, "fork", key=f"{self._seed}-{job.number}-fork", json=body)

    def _draft(self, job: Submitted) -> Wish:
        """Let every other draft be replaced, as by who chooses another style, at once or a moment later."""
        chance = self._chance(job)
        if chance.random() < 0.5:
            return
        if chance.random() < 0.5:
            yield chance.uniform(0, 0.5)
        self.begin(self._load.submit(kind="draft", replaces=job.job_id))

    def _keep(self, job: Submitted) -> Wish:
        # Not once it has ended: it may be gone by then.
        yield self._chance(job).uniform(0, 1.5)
        self._ask(job, "keep")

    def _priority(self, job: Submitted) -> Wish:
        """Let it wait longer, or less long, while others wait; as a rule it waits still."""
        chance = self._chance(job)
        for _ in range(2):
            yield chance.uniform(0, 1)
            self._ask(job, "change", json={"priority": chance.randint(0, HIGHEST_PRIORITY)})

    def _a_while(self, job: Submitted) -> Wish:
        """Wait until the job runs, or, every other time, only for a moment."""
        if job.number % 2:
            yield FINAL | {"running"}
        yield self._chance(job).uniform(0, 1.5)

    def _ask(self, job: Submitted, what: str, *, key: str = "", **content: Any) -> bool:
        """Ask for something, and note it; return whether it was granted: the job may be over already."""
        asking, address = self._load.asking, f"/jobs/{job.job_id}"
        if what == "change":
            answer = asking.patch(address, **content)
        else:
            answer = asking.post(f"{address}/{what}", key=key, **content)
        job.asked.append((what, answer))
        if not answer.is_done and answer.data.get("code") not in ("invalid_state", "not_ready", "not_found"):
            job.faults.append(f"{what} was refused: {answer.status_code} {answer.data}")
        return answer.is_done

    def _chance(self, job: Submitted) -> Random:
        return Random(f"wish {self._seed} {job.number}")
