"""A scrape of `/metrics`, read as Prometheus reads it."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

#: Found by the name in a scrape: the samples, each with its labels.
Scrape = dict[str, dict[tuple[tuple[str, str], ...], float]]


def read_scrape(text: str) -> Scrape:
    """Return the samples of a scrape by their name, those of each by their labels."""
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def families(text: str) -> dict[str, Family]:
    """Return the families of a scrape by their name, that of a counter with `_total`."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
    }
