"""W3C trace context: what is taken, and what goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.options import parse_options
from shared.protocol import InputPicture, JobMessage, WorkerEvent, read_event, read_message
from shared.trace import go_on, new_traceparent, read_traceparent, trace_facts, trace_id_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GIVEN = f"00-{TRACE}-00f067aa0ba902b7-01"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: What the first release reads of a report; it refuses any other field.
FIRST_EVENT_FIELDS = {"version", "event_id", "type", "job_id", "attempt", "at", "data"}


def message(**changes: object) -> JobMessage:
    picture = InputPicture(key="c", sha256="c" * 64)
    options = parse_options({})
    return JobMessage(job_id="j", attempt=1, content=picture, style=picture, options=options, **changes)


def event(**changes: object) -> WorkerEvent:
    values = {"event_id": "e", "type": "paused", "job_id": "j", "attempt": 1, "at": NOW, "data": {"step": 1}}
    return WorkerEvent(**{**values, **changes})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (GIVEN, GIVEN),
        (f" {GIVEN} ", GIVEN),
        (f"01-{TRACE}-00f067aa0ba902b7-01-what-comes-later", GIVEN),
        (f"00-{TRACE}-00f067aa0ba902b7-00", f"00-{TRACE}-00f067aa0ba902b7-00"),
    ],
)
def test_a_trace_is_read(text, read):
    assert read_traceparent(text) == read


@pytest.mark.parametrize(
    "text",
    [
        None, 5, "", "x", GIVEN.upper(), f"ff-{TRACE}-00f067aa0ba902b7-01", f"{GIVEN}-more", f"{GIVEN}0",
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01",
        f"01-{TRACE}-00f067aa0ba902b7-01-" + "x" * 600,
    ],
)  # fmt: skip
def test_what_is_no_trace_is_none(text):
    assert read_traceparent(text) is None
    assert trace_id_of(text) is None
    assert trace_facts(text) == {}


def test_the_next_part_has_the_same_trace_and_a_name_of_its_own():
    first, second = go_on(GIVEN), go_on(GIVEN)
    assert trace_id_of(first) == trace_id_of(second) == TRACE
    assert len({first, second, GIVEN}) == 3
    assert first.endswith("-01")
    assert trace_facts(first) == {"trace_id": TRACE}


def test_who_brings_none_begins_one():
    assert trace_id_of(go_on(None)) != trace_id_of(go_on("nonsense"))
    assert read_traceparent(new_traceparent()) is not None


def test_a_message_does_not_tell_its_trace_since_the_first_release_would_refuse_it():
    sent = message(traceparent=GIVEN)
    assert sent.to_json() == message().to_json()
    assert read_message(sent.to_json(), traceparent=GIVEN) == sent
    assert read_message(sent.to_json()) == message()


@pytest.mark.parametrize("header", [None, 5, "nonsense", ["x"]])
def test_a_header_that_is_none_keeps_no_message_back(header):
    assert read_message(message().to_json(), traceparent=header) == message()


def test_a_report_without_a_trace_is_as_the_first_release_reads_it():
    assert set(event().model_dump(mode="json")) - {"traceparent"} == FIRST_EVENT_FIELDS
    assert "traceparent" not in event().to_json()
    assert read_event(event().to_json()) == event()


def test_a_report_has_the_trace_of_its_message():
    assert read_event(event(traceparent=GIVEN).to_json()).traceparent == GIVEN


@pytest.mark.parametrize("odd", ["5", "null", '"nonsense"', "{}"])
def test_a_report_with_an_odd_trace_is_applied_all_the_same(odd):
    text = event().to_json()[:-1] + f', "traceparent": {odd}}}'
    assert read_event(text) == event()
