"""The limits of the web process."""

from __future__ import annotations

from web.services import ConcurrencyLimit


def test_a_concurrency_limit():
    slots = ConcurrencyLimit(2)
    assert (slots.take(), slots.take(), slots.take()) == (True, True, False)
    slots.give_back()
    assert slots.take()
    assert not ConcurrencyLimit(0).take()
