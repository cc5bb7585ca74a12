"""Any sequence of requests, reports, losses and repairs, on the real control and its model side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shared.protocol import WorkerEvent
from tests.integration.jobs.model.expected import HELD, REPORTS, REQUESTS, TABLE
from tests.integration.jobs.model.reports import STEPS, WORKERS
from tests.integration.jobs.model.world import World
from web.db.models import Job

pytestmark = pytest.mark.slow

KINDS = st.sampled_from([*REPORTS, "checkpointed", "checkpointed"])
#: Most reports are of the attempt that is current; some of one before, which was taken for lost.
BEHIND = st.sampled_from([0, 0, 0, 1, 1, 2])

#: Some begin where chance alone seldom stays.
STARTS = st.sampled_from([(), ("claim",), ("claim", "cancel"), ("claim", "pause"), ("claim", "lost")])


class JobMachine(RuleBasedStateMachine):
    """A few jobs, and everything that can happen to them, in any order."""

    jobs = Bundle("jobs")
    reports = Bundle("reports")
    copies = Bundle("copies")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    @initialize(target=jobs, start=STARTS, max_attempts=st.integers(2, 3))
    def begin(self, start: tuple[str, ...], max_attempts: int) -> str:
        job = self.world.submit(max_attempts=max_attempts)
        for act in start:
            if act in REQUESTS:
                self.world.ask(job, act)
            elif act == "lost":
                self.lose_lease(job, is_noticed=True)
            else:
                self.world.claim(job, 1, WORKERS[0])
        return job

    @rule(target=jobs, max_attempts=st.integers(1, 3), waits_seconds=st.sampled_from([None, 90]))
    def submit(self, max_attempts: int, waits_seconds: int | None) -> Any:
        if len(self.world.jobs) == 3:
            return multiple()
        return self.world.submit(max_attempts=max_attempts, waits_seconds=waits_seconds)

    @rule()
    def dispatch(self) -> None:
        self.world.dispatch()

    @rule()
    def lose_messages(self) -> None:
        self.world.lose_messages()

    @rule(job=jobs, behind=BEHIND, worker=st.sampled_from(WORKERS))
    def claim(self, job: str, behind: int, worker: str) -> None:
        self.world.claim(job, max(1, self.world.jobs[job].attempt - behind), worker)

    @rule(
        target=reports, job=jobs, kind=KINDS, behind=BEHIND, worker=st.sampled_from(WORKERS),
        step=st.integers(1, STEPS), late=st.booleans(),
    )  # fmt: skip
    def report(self, job: str, kind: str, behind: int, worker: str, step: int, late: bool) -> WorkerEvent:
        attempt = max(1, self.world.jobs[job].attempt - behind)
        event = self.world.report(job, kind, attempt=attempt, step=step, worker=worker)
        if not late:
            self.world.deliver(event)
        return event

    @rule(event=reports)
    def report_late_or_again(self, event: WorkerEvent) -> None:
        self.world.deliver(event)

    @rule(job=jobs)
    def finish(self, job: str) -> None:
        attempt = self.world.jobs[job].attempt
        for kind in ("claimed", "checkpointed", "succeeded"):
            self.world.deliver(self.world.report(job, kind, attempt=attempt))

    @rule(job=jobs, name=st.sampled_from(REQUESTS), more=st.integers(1, 5), from_zero=st.booleans())
    def ask(self, job: str, name: str, more: int, from_zero: bool) -> None:
        self.world.ask(job, name, **self._details(name, more, from_zero))

    @rule(job=jobs, pick=st.sampled_from(range(60)))
    def move(self, job: str, pick: int) -> None:
        """Do one of the things that are possible now: most of what chance picks is not."""
        expected = self.world.jobs[job]
        possible = [one for one in (*REPORTS, *REQUESTS) if (expected.status, one) in TABLE]
        trigger = possible[pick % len(possible)]
        if trigger in REQUESTS:
            self.world.ask(job, trigger, **self._details(trigger, more=pick, from_zero=pick > 40))
        else:
            self.world.deliver(self.world.report(job, trigger, attempt=expected.attempt))

    @rule(target=copies, job=jobs)
    def read(self, job: str) -> tuple[str, Job]:
        return job, self.world.row(job)

    @rule(copy=copies, name=st.sampled_from(REQUESTS), more=st.integers(1, 5), from_zero=st.booleans())
    def ask_having_read_earlier(self, copy: tuple[str, Job], name: str, more: int, from_zero: bool) -> None:
        job, row = copy
        self.world.ask(job, name, copy=row, **self._details(name, more, from_zero))

    @rule(job=jobs, name=st.sampled_from(REQUESTS), step=st.integers(1, STEPS))
    def ask_while_a_checkpoint_is_written(self, job: str, name: str, step: int) -> None:
        row, attempt = self.world.row(job), self.world.jobs[job].attempt
        self.world.deliver(self.world.report(job, "checkpointed", attempt=attempt, step=step))
        self.world.ask(job, name, copy=row, **self._details(name, 1, from_zero=True))

    @rule(job=jobs, is_noticed=st.booleans())
    def lose_lease(self, job: str, is_noticed: bool) -> None:
        self.world.lose_lease(job)
        if is_noticed:
            self.world.rescue()

    @rule(job=jobs, is_noticed=st.booleans())
    def commit_without_a_word(self, job: str, is_noticed: bool) -> None:
        if self.world.jobs[job].status in HELD:
            self.world.commit(job)
            self.world.lose_lease(job)
            if is_noticed:
                self.world.rescue()

    @rule()
    def rescue(self) -> None:
        self.world.rescue()

    @rule()
    def pass_time(self) -> None:
        self.world.pass_time(60)

    @rule()
    def wipe_redis(self) -> None:
        self.world.wipe_redis()

    @invariant()
    def as_expected(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.clear()

    @staticmethod
    def _details(name: str, more: int, from_zero: bool) -> dict[str, Any]:
        return {"extend": {"more": more}, "retry": {"from_zero": from_zero}}.get(name, {})


def test_jobs_do_what_the_model_says(new_world: Callable[[], World]):
    moves: Counter[tuple[str, str]] = Counter()

    class Machine(JobMachine):
        def __init__(self) -> None:
            super().__init__(new_world())

        def teardown(self) -> None:
            moves.update(self.world.moved)
            super().teardown()

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=60, stateful_step_count=50, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
    assert {before for before, _ in moves} >= {"queued", *HELD}, "hardly anything was tried"
