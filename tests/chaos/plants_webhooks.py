"""Planted bugs of how webhooks are told; see `tests.chaos.plants`."""

from __future__ import annotations

import asyncio
from typing import Any

_WINDOW_SECONDS = 1.0


def note_before_it_is_told() -> None:
    """Write that a message was delivered, and send it a second later."""
    from web.control.deliverer import Deliverer
    from web.webhooks.message import Answer, NextStep, State

    send, write = Deliverer._send, Deliverer._write

    async def hasty(self: Deliverer, sender: Any, message: Any) -> None:
        at = self._clock()
        await write(self, message, Answer(204), NextStep(State.DELIVERED), started_at=at, seconds=0)
        await asyncio.sleep(_WINDOW_SECONDS)
        await send(self, sender, message)

    Deliverer._send = hasty  # type: ignore[method-assign]


def word_it_anew() -> None:
    """Make a message's body at each attempt, with the moment of the attempt."""
    from web.control import deliverer

    make = deliverer.make_body

    def make_now(event: str, job: Any, *, at: Any) -> str:
        from shared.clock import utc_now

        return make(event, job, at=utc_now())

    deliverer.make_body = make_now  # type: ignore[assignment]
    deliverer.keep_body = lambda *_: None  # type: ignore[assignment]


def forget_to_tell() -> None:
    """Write no message for a job that was given the result of another one."""
    from web.jobs import transitions
    from web.jobs.states import REUSED

    note = transitions.note_events

    def forgetful(session: Any, job: Any, events: Any, *, now: Any) -> None:
        if job.status_reason != REUSED:
            note(session, job, events, now=now)

    transitions.note_events = forgetful  # type: ignore[assignment]
