"""The Grafana dashboard shows the metrics that there are, all of them, by tags that they have."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.util import metrics
from ray.util.metrics import Counter, Gauge, Histogram

from raysys.logs.metrics import count_rows
from raysys.serving.metrics import DirectorMetrics, GatewayMetrics, PartMetrics
from raysys.training import metrics as of_training

DASHBOARD = Path(__file__).parents[3] / "serve_configs" / "grafana.json"
SUFFIXES = {Counter: ["_total"], Gauge: [""], Histogram: ["_bucket", "_sum", "_count"]}
EVERYWHERE = {"le", "NodeAddress"}  # of Prometheus, and of Ray


@pytest.fixture
def tags_by_name(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The tags of each metric that raysys has, by its names in Prometheus."""
    found: dict[str, set[str]] = {}
    make = metrics.Metric.__init__

    def noted(self: Any, name: str, what: str = "", tag_keys: Any = None) -> None:
        for suffix in SUFFIXES[type(self)]:
            found[f"ray_{name}{suffix}"] = {*(tag_keys or ())}
        make(self, name, what, tag_keys)

    monkeypatch.setattr(metrics.Metric, "__init__", noted)
    GatewayMetrics()
    DirectorMetrics(lambda: False)
    PartMetrics("shard-0")
    of_training._gauges.__wrapped__()
    nothing: Any = SimpleNamespace(
        rows_accepted=0, rows_quarantined=0, rows_duplicate=0, rows_suppressed=0
    )
    count_rows(nothing)
    return found


def expressions() -> list[tuple[str, str]]:
    """What each line of each panel asks of Prometheus, and how it is called."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        (target["expr"], target["legendFormat"])
        for panel in panels
        for target in panel.get("targets", [])
    ]


def test_every_metric_of_the_dashboard_exists_and_every_metric_is_on_it(
    tags_by_name: dict[str, set[str]],
) -> None:
    shown = {name for expr, _ in expressions() for name in re.findall(r"ray_raysys_\w+", expr)}
    assert shown <= set(tags_by_name)
    stem = re.compile("_(total|bucket|sum|count)$")
    assert {stem.sub("", name) for name in shown} == {stem.sub("", name) for name in tags_by_name}


def test_the_dashboard_selects_and_groups_by_tags_that_its_metrics_have(
    tags_by_name: dict[str, set[str]],
) -> None:
    for expr, legend in expressions():
        used = set(re.findall(r"\{\{(\w+)\}\}", legend))
        for tags in re.findall(r" by \(([^)]*)\)", expr):
            used |= set(tags.split(", "))
        for name, selected in re.findall(r"(ray_raysys_\w+)(?:\{([^}]*)\})?", expr):
            known = tags_by_name[name] | EVERYWHERE
            assert set(re.findall(r"(\w+)=", selected)) <= known, expr
            assert used <= known, expr


def test_panels_do_not_cover_each_other() -> None:
    covered = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        covered |= cells
