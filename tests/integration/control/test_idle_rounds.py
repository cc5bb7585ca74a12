"""What a round of control costs in which nothing happens, by how much waits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from sqlalchemy import Engine, event, text

from shared.protocol import new_id
from tests.support.clock import Clock
from tests.support.statements import noted_statements
from web.control.process import Control
from web.db.models import Job

#: SQLite's instructions between two counts.
_STEP = 50


@pytest.fixture
def add_like(control: Control, job: Job) -> Callable[[int], None]:
    """Add jobs that wait like the one there is, each younger than the one before."""
    own = {"id", "created_at", "dispatched_at"}
    columns = [column.name for column in Job.__table__.columns if column.name not in own]
    names = ", ".join(columns)
    insert = (
        f"INSERT INTO jobs (id, created_at, {names}) "
        f"SELECT :id, datetime(created_at, :later), {names} FROM jobs WHERE id = :like"
    )
    number = count(1)

    def do(many: int) -> None:
        rows = [{"id": new_id(), "later": f"+{next(number)} seconds", "like": job.id} for _ in range(many)]
        with control.backend.database.write() as session:
            session.connection().execute(text(insert), rows)

    return do


def instructions(control: Control) -> int:
    """Return how many instructions SQLite carries out in a round, roughly."""
    counted = [0]

    def tick() -> None:
        counted[0] += _STEP

    def listen(connection: object, *_: object) -> None:
        connection.set_progress_handler(tick, _STEP)

    event.listen(Engine, "checkout", listen)
    try:
        assert control.round()
    finally:
        event.remove(Engine, "checkout", listen)
    return counted[0]


def test_a_round_in_which_nothing_happens_costs_the_same_however_much_waits(
    control: Control, clock: Clock, add_like: Callable[[int], None]
):
    add_like(40)
    for _ in range(5):
        control.round()
    clock.seconds += 1
    few = instructions(control)
    add_like(4000)
    control.round()
    clock.seconds += 1
    many = instructions(control)
    assert 0 < many <= 1.5 * few + 200
    clock.seconds += 1
    with noted_statements() as noted:
        assert control.round()
    assert len([one for one in noted if not one.startswith("BEGIN")]) <= 12
    assert [one for one in noted if one.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE"))] == []


def test_as_long_as_nobody_writes_the_database_is_asked_once_a_second(
    control: Control, clock: Clock, add_like: Callable[[int], None]
):
    """A second is told by the clock, so that what falls due is seen; what is written shows at once."""
    control.round()
    control.round()

    def asked_in_three_rounds() -> list[bool]:
        asked = []
        for _ in range(3):
            with noted_statements() as noted:
                assert control.round()
            asked.append(noted != [])
        return asked

    assert asked_in_three_rounds() == [False] * 3
    clock.seconds += 1
    assert asked_in_three_rounds() == [True, False, False]
    add_like(1)
    assert asked_in_three_rounds() == [True, True, False]  # its message was sent, which is written
    with control.backend.database.read() as session:
        assert session.query(Job).filter(Job.dispatched_at.is_(None)).count() == 0
