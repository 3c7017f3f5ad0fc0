"""The figure of pruned widths: what it draws of each method, and when there is nothing to draw."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from squeezebench.report.drawing.palette import FIXED
from squeezebench.report.figures.pruned_widths import POINTS, draw

DENSE = "16-16-16-16-32-32-32-64-64"


def results(*rows: dict) -> SimpleNamespace:
    common = {"task": "t", "ok": 2, "of_structure": DENSE, "size_rule": "weights", "dense_macs_mean": 400.0,
              "test_accuracy_mean": 0.9, "settings_label": "", "settings": "{}"}  # fmt: skip
    groups = pd.DataFrame([common | row for row in rows])
    return SimpleNamespace(of=lambda task: groups[groups["task"] == task], looks=FIXED)


def group(method: str, kept: str, macs: float, **more) -> dict:
    control = method != "itpcc"
    return {
        "method": method,
        "method_label": method,
        "kept_structure": kept,
        "macs_mean": macs,
        "control": control,
    } | more


SMALL = "4-16-8-0-32-10-32-64-20"


def test_the_smallest_network_of_each_method_stands_beside_the_dense_one():
    other = "6-16-8-2-32-10-32-64-20"
    drawing = draw(
        results(
            group("random_network", DENSE.replace("64", "32"), 200.0),
            group("itpcc", DENSE.replace("16", "15"), 300.0),
            group("itpcc", f"{SMALL} {other}", 100.0, settings="small"),
            group("dense_network", DENSE, 400.0),
        ),
        "t",
    )
    points = drawing.points
    assert list(points) == POINTS and points["method"].unique().tolist() == ["itpcc", "random_network"]
    itpcc = points[points["method"] == "itpcc"]
    assert set(itpcc["settings"]) == {"small"} and itpcc["layer"].tolist() == list(range(1, 10))
    assert itpcc["kept"].tolist() == [5, 16, 8, 1, 32, 10, 32, 64, 20]  # the mean of two seeds
    assert "-".join(map(str, itpcc["dense"])) == DENSE
    assert "4× fewer operations" in drawing.figure.axes[0].get_title(loc="left").replace(".00", "")


@pytest.mark.parametrize(
    "rows", [[group("dense_network", DENSE, 400.0)], [group("itpcc", "9-9", 9.0, of_structure="16-16")], []]
)
def test_without_a_deep_network_that_is_smaller_there_is_no_figure(rows):
    assert draw(results(*rows or [group("itpcc", SMALL, 1.0, ok=0)]), "t") is None
