"""What begins with a checkpoint of another job, or goes on after its end, ends in the same bytes twice."""

from __future__ import annotations

import hashlib

from shared.protocol import JobMessage, Origin
from shared.storage import layout
from tests.integration.exact.conftest import STEPS, Bench
from worker.runner import Outcome


def forked(bench: Bench, name: str, *, at: int, **options: float) -> JobMessage:
    """Return a job that begins with a step of the one that was run first."""
    key = layout.checkpoint_key("job", 1, at)
    origin = Origin(key=key, sha256=hashlib.sha256(bench.context.store.read(key)).hexdigest(), step=at)
    changed = bench.message.options.model_copy(update=options)
    return bench.message.model_copy(update={"job_id": name, "origin": origin, "options": changed})


def test_forked_twice(bench: Bench):
    alone = bench.alone()
    bench.run(bench.message)
    results = set()
    for name in ("fork-a", "fork-b"):
        fork = forked(bench, name, at=4, style_weight=0.5)
        assert bench.run(fork) == (Outcome.ENDED, list(range(5, STEPS + 1)))
        results.add(bench.result(fork))
    assert len(results) == 1
    assert alone not in results


def test_a_fork_without_a_change_ends_as_its_origin(bench: Bench):
    bench.run(bench.message)
    fork = forked(bench, "fork", at=8)
    bench.run(fork)
    assert bench.result(fork) == bench.alone()


def test_a_fork_that_is_killed_goes_on_from_its_own_checkpoint(bench: Bench):
    bench.run(bench.message)
    whole, cut = (forked(bench, name, at=4, style_weight=0.5) for name in ("whole", "cut"))
    bench.run(whole)
    bench.kill(cut, 9)
    again = cut.model_copy(update={"attempt": 2})
    assert bench.run(again) == (Outcome.ENDED, list(range(9, STEPS + 1)))
    assert bench.result(again) == bench.result(whole)


def test_extended_twice(bench: Bench):
    bench.run(bench.message)
    results = []
    for name in ("longer-a", "longer-b"):
        longer = forked(bench, name, at=STEPS, steps=STEPS + 4)
        assert bench.run(longer) == (Outcome.ENDED, list(range(STEPS + 1, STEPS + 5)))
        results.append(bench.result(longer))
    assert results[0] == results[1]
    assert results[0] != bench.alone()


def test_an_extended_job_that_is_killed(bench: Bench):
    bench.run(bench.message)
    whole, cut = (forked(bench, name, at=STEPS, steps=STEPS + 6) for name in ("whole", "cut"))
    bench.run(whole)
    bench.kill(cut, STEPS + 5)
    again = cut.model_copy(update={"attempt": 2})
    assert bench.run(again) == (Outcome.ENDED, [STEPS + 5, STEPS + 6])
    assert bench.result(again) == bench.result(whole)
