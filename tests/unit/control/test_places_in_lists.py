"""Where a message goes: to which list of the broker, and before which entry of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.broker import DEFAULT_ROUTE, FAST_ROUTE, Entry, list_of
from shared.options import StyleOptions
from shared.protocol import InputPicture, JobMessage
from shared.redis.names import PRIORITY_STEPS
from web.control.dispatcher import decide_places
from web.jobs.queue import QueuePlace

BEGINNING = datetime(2026, 11, 26, tzinfo=UTC)
PICTURE = InputPicture(key="assets/aa/aa", sha256="a" * 64)


def message(name: str) -> JobMessage:
    return JobMessage(job_id=name, attempt=1, content=PICTURE, style=PICTURE, options=StyleOptions())


def place(rank: int, number: int) -> QueuePlace:
    return QueuePlace(rank, float(number % 3), BEGINNING + timedelta(seconds=number), f"{number}")


def entry(at: QueuePlace) -> Entry:
    return Entry("queue", str(at), f"{at.job_id}:1")


def test_nodes_read_what_is_urgent_first_and_the_fast_method_with_it():
    steps = [list_of(DEFAULT_ROUTE, priority) for priority in range(10)]
    assert steps == sorted(steps, reverse=True)
    assert set(steps) == set(PRIORITY_STEPS)
    assert {list_of(FAST_ROUTE, priority) for priority in range(10)} == {PRIORITY_STEPS[0]}


places = st.lists(
    st.tuples(st.integers(-4, 5), st.integers(0, 30)), max_size=12, unique_by=lambda one: one[1]
)


@given(places, places)
def test_what_is_put_in_stands_in_the_order_of_the_queue(here: list, coming: list):
    standing = sorted(place(rank, number) for rank, number in here)
    new = sorted(place(rank, 100 + number) for rank, number in coming)
    before, last = decide_places(
        [(at, message(at.job_id)) for at in new], [(at, entry(at)) for at in standing]
    )
    row = [at.job_id for at in standing]
    for sent, at in before:
        row.insert(row.index(str(at.message_id).removesuffix(":1")), sent.job_id)
    row += [sent.job_id for sent in last]
    assert row == [at.job_id for at in sorted([*standing, *new])]
