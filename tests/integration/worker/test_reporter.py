"""The reporter keeps what it cannot send, and sends it in order."""

from __future__ import annotations

import json
from pathlib import Path

from shared.clock import utc_now
from shared.options import StyleOptions
from shared.protocol import EventType, InputPicture, JobMessage
from shared.redis.connection import connect_redis
from shared.redis.names import Names
from shared.redis.stream import EventStream
from shared.settings import Settings
from web.cli.local.redis_server import RedisServer
from worker.reporter import Reporter

PICTURE = InputPicture(key="assets/aa/aa", sha256="aa")
MESSAGE = JobMessage(job_id="j", attempt=2, content=PICTURE, style=PICTURE, options=StyleOptions())

NAMES = Names("test")


def test_reports_outlive_an_outage_of_redis(tmp_path: Path):
    server = RedisServer(tmp_path / "redis")
    server.start()
    client = connect_redis(Settings(redis_url=server.url))
    reporter = Reporter(EventStream(client, NAMES), MESSAGE)
    reporter.report(EventType.CLAIMED, {}, now=utc_now(), mark="node")
    server.stop()
    reporter.report(EventType.CHECKPOINTED, {"step": 5}, now=utc_now(), mark="5")
    reporter.report(EventType.SUCCEEDED, {}, now=utc_now())
    assert not reporter.flush()
    server.start()
    reporter.finish()
    events = [json.loads(delivery.text) for delivery in EventStream(client, NAMES).fresh(count=10)]
    client.close()
    server.stop()
    assert [event["event_id"] for event in events] == [
        "j:2:claimed:node",
        "j:2:checkpointed:5",
        "j:2:succeeded",
    ]
