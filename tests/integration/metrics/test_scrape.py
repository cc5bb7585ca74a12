"""A real scrape: all that the catalogue and the documents name is in it, and it is as Prometheus wants it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.clock import utc_now
from tests.support.promtool import promtool
from tests.support.scrape import families, read_scrape
from web.access.tokens import Scope, create_token
from web.metrics.catalogue import CATALOGUE, Kind

DOCUMENT = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
OPEN_METRICS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
}


def test_everything_in_the_catalogue_is_told(busy, scrape):
    found = families(scrape())
    assert set(found) == {metric.full_name for metric in CATALOGUE.values()}
    for metric in CATALOGUE.values():
        family = found[metric.full_name]
        assert family.type == metric.kind.value, metric.name
        assert family.documentation == metric.help
        assert family.samples, metric.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), metric.name


def test_the_table_in_the_document_is_the_catalogue():
    table = DOCUMENT.partition("<!-- metrics")[2].partition("<!-- end of metrics -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (\w+) \| (.*?) \|$", table, flags=re.MULTILINE)
    assert [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), source, said)
        for name, kind, labels, source, said in rows
    ] == [
        (metric.full_name, metric.kind.value, tuple(metric.labels), metric.source, metric.help)
        for metric in CATALOGUE.values()
    ]


def test_promtool_has_nothing_to_say_of_it(busy, scrape):
    promtool("check", "metrics", said=scrape().encode())


def test_names_are_as_prometheus_has_them():
    for metric in CATALOGUE.values():
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert not re.search(
            r"_(ms|milliseconds|minutes|hours|kb|mb|gb|percent|count|sum|bucket)$", metric.name
        )
        assert metric.help.endswith(".")


def test_it_tells_what_is_so(busy, scrape):
    found = read_scrape(scrape())
    depth = found["atelier_queue_depth"]
    place = {"route": "any", "priority": next(iter(dict(labels)["priority"] for labels in depth))}
    small = tuple(sorted({**place, "memory_class": "2GB"}.items()))
    large = tuple(sorted({**place, "memory_class": "16GB"}.items()))
    assert depth == {small: 1, large: 1}
    # 12.5 s for 20 steps at 64 px, and in proportion to the work.
    assert found["atelier_queue_backlog_seconds"][small] == pytest.approx(12.5)
    assert found["atelier_queue_backlog_seconds"][large] >= 12.5
    assert 0 <= found["atelier_queue_oldest_age_seconds"][small] < 60
    assert found["atelier_jobs"][(("status", "running"),)] == 1
    assert found["atelier_jobs_ended_total"][(("method", "gatys"), ("status", "succeeded"))] == 2
    assert found["atelier_jobs_ended_total"][(("method", "gatys"), ("status", "failed"))] == 1
    assert found["atelier_workers"][(("device", "NVIDIA H100"), ("state", "idle"))] == 1
    assert found["atelier_workers_taking_jobs"][(("route", "any"),)] == 1
    assert found["atelier_control_fault"] == {(("part", "prune"),): 1}
    assert found["atelier_set_aside_items"] == {(): 1}
    assert set(found["atelier_source_up"].values()) == {1}
    told = found["atelier_told_ends_total"]
    assert sum(told.values()) == 1
    assert found["atelier_told_end_error_seconds_count"] == {(): 1}


def test_who_asks_for_openmetrics_gets_it(busy, client, scrape):
    scrape()
    answer = client.get("/metrics", headers=OPEN_METRICS)
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert client.get("/metrics").content_type.startswith("text/plain; version=0.0.4")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=", ";", "é"]
)
def test_an_odd_wish_is_no_fault(client, accept):
    assert client.get("/metrics", headers={"Accept": accept}).status_code == 200


def test_metrics_of_everybody_need_who_manages(client, services):
    services.gate.stale_seconds = 0
    with services.backend.database.write() as session:
        tokens = {
            scope: create_token(
                session, name=scope.value, scopes={scope}, caller="anna", expires_at=None, now=utc_now()
            ).text
            for scope in Scope
        }
    assert client.get("/metrics").status_code == 401
    for scope, text in tokens.items():
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == (200 if scope in (Scope.MANAGE, Scope.ADMIN) else 403)
