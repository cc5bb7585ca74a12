"""The alerts and the dashboard: what they name is in a scrape, and whoever is woken finds what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.promtool import promtool
from tests.support.scrape import read_scrape

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/atelier.json"
#: What Prometheus itself adds to each scrape.
OWN = {"up"}
_NAME = re.compile(r"\b(?:atelier_\w+|up\{)")


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in read_yaml(ALERTS)["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """All that the panels ask, as Prometheus gets it when every service is chosen."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        target["expr"].replace("$instance", ".*") for panel in panels for target in panel.get("targets", ())
    ]


def names_in(expression: str) -> set[str]:
    return {name.removesuffix("{") for name in _NAME.findall(expression)}


def test_what_rules_and_panels_name_is_in_a_scrape(busy, scrape):
    told = set(read_scrape(scrape())) | OWN
    asked = [*expressions(), *(rule["expr"] for rule in rules())]
    assert len(asked) > 50
    assert {name for expression in asked for name in names_in(expression)} - told == set()
    assert all(names_in(expression) for expression in asked)


def test_every_alert_has_its_section_with_what_to_do():
    text = (ROOT / "docs/operations.md").read_text()
    part = text.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    sections = {
        head: said.strip() for head, _, said in (one.partition("\n") for one in part.split("\n### ")[1:])
    }
    assert [rule["alert"] for rule in rules()] == list(sections)
    for rule in rules():
        name = rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert len(sections[name]) > 100, name


def test_promtool_accepts_the_rules_and_the_configuration():
    promtool("check", "rules", ALERTS)
    promtool("check", "config", "--syntax-only", ROOT / "deploy/prometheus/prometheus.yaml")


def test_promtool_accepts_what_the_panels_ask(tmp_path: Path):
    asked = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions())]
    file = tmp_path / "panels.yaml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": asked}]}))
    promtool("check", "rules", file)


#: An alert, what Prometheus has seen a minute apart, and the minute at which the alert fires.
FIRES = [
    ("AtelierDown", {'up{job="atelier"}': "1 0x60"}, 5),
    ("AtelierSourceMissing", {'atelier_source_up{source="redis"}': "1 0x60"}, 5),
    ("AtelierControlDown", {"atelier_control_up": "1 0x60"}, 5),
    ("AtelierControlFails", {'atelier_control_fault{part="reports"}': "1x60"}, 6),
    ("AtelierControlStuck", {"atelier_control_part_seconds": "0+60x60"}, 5),
    ("AtelierReportsLate", {"atelier_projector_lag_seconds": "0+60x60"}, 6),
    (
        "AtelierNoWorker",
        {
            'atelier_queue_depth{route="fast",memory_class="2GB",priority="5"}': "2x60",
            'atelier_queue_depth{route="any",memory_class="2GB",priority="5"}': "2x60",
            'atelier_workers_taking_jobs{route="fast"}': "0x60",
            'atelier_workers_taking_jobs{route="any"}': "1x60",
        },
        6,
    ),
    (
        "AtelierQueueStandsStill",
        {
            'atelier_queue_oldest_age_seconds{route="any",memory_class="2GB",priority="5"}': "0+60x60",
            'atelier_claims_total{method="gatys"}': "5x60",
        },
        25,
    ),
    ("AtelierLongWait", {'atelier_queue_wait_seconds{route="any"}': "5000x60"}, 16),
    ("AtelierWorkersUnhealthy", {'atelier_workers{state="unhealthy",device="cpu"}': "1x60"}, 11),
    ("AtelierWorkersLost", {'atelier_lease_losses_total{method="gatys"}': "0+1x60"}, 20),
    (
        "AtelierJobsFail",
        {
            'atelier_jobs_ended_total{method="gatys",status="failed"}': "0+1x90",
            'atelier_jobs_ended_total{method="gatys",status="succeeded"}': "0+2x90",
        },
        60,
    ),
    ("AtelierSetAside", {"atelier_set_aside_items": "1x60"}, 6),
    (
        "AtelierDiskFull",
        {'atelier_disk_free_bytes{part="storage"}': "120x60", "atelier_min_free_bytes": "100x60"},
        5,
    ),
    (
        "AtelierDiskFills",
        {'atelier_disk_free_bytes{part="storage"}': "1000000-1000x600", "atelier_min_free_bytes": "100x600"},
        420,
    ),
    ("AtelierWebhooksLate", {"atelier_webhook_oldest_pending_age_seconds": "4000x60"}, 11),
    (
        "AtelierEstimatesOff",
        {
            'atelier_told_ends_total{kept="true"}': "0+1x300",
            'atelier_told_ends_total{kept="false"}': "0+2x300",
        },
        200,
    ),
    (
        "AtelierMixedReleases",
        {
            'atelier_worker_info{worker="a",build="1"}': "1x3000",
            'atelier_worker_info{worker="b",build="2"}': "1x3000",
        },
        1500,
    ),
]


def test_each_alert_is_tried_out():
    assert [name for name, _, _ in FIRES] == [rule["alert"] for rule in rules()]


@pytest.mark.parametrize(("name", "seen", "minute"), FIRES, ids=[name for name, _, _ in FIRES])
def test_an_alert_fires_when_it_is_to_and_not_before(tmp_path: Path, name, seen, minute):
    """promtool itself goes through the minutes. Of two parts of the service the other one is well."""
    series = [
        {"series": with_label(text, "instance", "a"), "values": values} for text, values in seen.items()
    ]
    (rule,) = (rule for rule in rules() if rule["alert"] == name)
    fires = [{"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": f"{minute}m"}]
    never = [{"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', "eval_time": "0m"}]
    fires[0]["exp_samples"] = [{"labels": "{}", "value": 1}]
    never[0]["exp_samples"] = []
    test = {
        "rule_files": [str(ALERTS)],
        # An alert that needs a day is not gone through minute by minute.
        "evaluation_interval": f"{max(1, minute // 100)}m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [*never, *fires]}],
    }
    assert rule["expr"]
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps(test))
    promtool("test", "rules", file)


def with_label(series: str, name: str, value: str) -> str:
    """Return a series with one more label, which Prometheus adds to all of one target."""
    label = f'{name}="{value}"'
    return series.replace("{", f"{{{label},", 1) if "{" in series else f"{series}{{{label}}}"
