"""What is taken for a message of ours, and what is set aside."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.broker import TASK_NAME
from shared.errors import UnreadableMessage
from worker.deliveries import envelope, read_entry

MESSAGE = {"version": 1, "job_id": "j"}
QUEUE = "atelier-a:any"


def entry(change: Callable[[dict[str, Any]], object] = lambda _: None) -> bytes:
    found = envelope("j:1", MESSAGE, queue=QUEUE, tag="t", priority=3)
    change(found)
    return json.dumps(found).encode()


def body(words: object) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.update(body=base64.b64encode(json.dumps(words).encode()).decode())


def test_a_message_is_read_as_it_was_written():
    assert read_entry(entry(), queue=QUEUE) == envelope("j:1", MESSAGE, queue=QUEUE, tag="t", priority=3)


@pytest.mark.parametrize("header", [f"00-{'a' * 32}-{'b' * 16}-01", None, 5, "nonsense"])
def test_a_trace_is_kept_and_what_is_none_is_left_out(header):
    found = read_entry(entry(lambda found: found["headers"].update(traceparent=header)), queue=QUEUE)
    kept = header if str(header).startswith("00-") else None
    assert found == envelope("j:1", MESSAGE, queue=QUEUE, tag="t", priority=3, traceparent=kept)
    assert found["headers"].get("traceparent") == kept


def test_what_else_an_entry_carries_is_left_out():
    def add(found: dict[str, Any]) -> None:
        found["headers"] |= {
            "timelimit": 5,
            "expires": "never",
            "eta": "x",
            "stamped_headers": 7,
            "chord": [],
        }
        found["properties"] |= {"reply_to": 1, "priority": "high", "delivery_info": {"routing_key": "other"}}
        body([[], {"message": MESSAGE, "more": 1}, {"callbacks": [{"task": "evil"}]}])(found)

    assert read_entry(entry(add), queue=QUEUE) == envelope("j:1", MESSAGE, queue=QUEUE, tag="t", priority=0)


def test_a_message_of_an_older_name_goes_back_to_the_queue_it_came_from():
    read = read_entry(entry(), queue="atelier-b:any")
    assert read["properties"]["delivery_info"] == {"exchange": "", "routing_key": "atelier-b:any"}


JUNK: dict[str, bytes] = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "a word": b"junk",
    "deeply nested": b"[" * 100_000,
    "a long number": b"9" * 10_000,
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "no headers": entry(lambda found: found.pop("headers")),
    "headers of another type": entry(lambda found: found.update(headers=[])),
    "no properties": entry(lambda found: found.pop("properties")),
    "no task": entry(lambda found: found["headers"].pop("task")),
    "another task": entry(lambda found: found["headers"].update(task="other")),
    "a task that is no text": entry(lambda found: found["headers"].update(task=[TASK_NAME])),
    "no id": entry(lambda found: found["headers"].pop("id")),
    "an id that is no text": entry(lambda found: found["headers"].update(id={})),
    "no delivery tag": entry(lambda found: found["properties"].pop("delivery_tag")),
    "another content type": entry(
        lambda found: found.update({"content-type": "application/x-python-serialize"})
    ),
    "no content type": entry(lambda found: found.pop("content-type")),
    "no body": entry(lambda found: found.pop("body")),
    "a body that is no text": entry(lambda found: found.update(body={})),
    "another encoding": entry(lambda found: found["properties"].update(body_encoding="rot13")),
    "no base64": entry(lambda found: found.update(body="***")),
    "half of base64": entry(lambda found: found.update(body="abc")),
    "a body that is no JSON": entry(lambda found: found.update(body=base64.b64encode(b"\x80\x02").decode())),
    "a body that is no list": entry(body(7)),
    "an empty body": entry(body([])),
    "no message": entry(body([[], {}, {}])),
    "names that are none": entry(body([[], [], {}])),
    "a message that is no object": entry(body([[], {"message": "x"}, {}])),
    "arguments": entry(body([[MESSAGE], {}, {}])),
}


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_message_of_ours_is_refused_with_a_reason(junk):
    with pytest.raises(UnreadableMessage) as refused:
        read_entry(JUNK[junk], queue=QUEUE)
    assert refused.value.detail.startswith("it")
