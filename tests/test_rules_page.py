"""The page of learning rules: differences to exact gradients on the same network, learning curves, no axis of sizes."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from browser import PHONE, chromium, opened, started
from synthetic_records import ENGINE, history, record, write

from squeezebench.base.errors import InputError
from squeezebench.report import build_report, outputs
from squeezebench.report.figures import rules_accuracy
from squeezebench.report.gather import gather
from squeezebench.report.results import Results
from squeezebench.report.rules import rule_label

# Test accuracy of each rule, with shortcuts and without: the numbers that the page has to find again.
TEST = {
    ("none", "backpropagation"): 0.80, ("none", "backpropagation_per_tick"): 0.78, ("none", "sideways"): 0.70,
    ("concat", "backpropagation"): 0.90, ("concat", "backpropagation_per_tick"): 0.85, ("concat", "sideways"): 0.86,
}  # fmt: skip
SIZED = (
    "accuracy_vs_size",
    "accuracy_vs_cost",
    "ranked",
    "ranks",
    "difference_vs_ratio",
    "summary",
    "selected",
    "cost",
)


def experiment(folder, seeds=5, page="rules", more=()):
    """Records of six rules on a task, the accuracies of whose seeds differ by a point from one to the next."""
    planned = []
    settings = [{"shortcuts": kind, "rule": rule, "slower": 1.0} for kind, rule in TEST] + list(more)
    for given in settings:
        for seed in range(seeds):
            test = (
                TEST[given["shortcuts"], given["rule"]] + 0.01 * (seed - seeds // 2) + 0.02 * ("exact_epochs" in given)
            )
            changed = {"settings": given, "varied": given, "control": given["rule"] != "sideways"}
            accuracy = {"train": 0.99, "validation": test, "test": test}
            run = record("digits", "vib_lstm", 0, seed, accuracy=accuracy, **changed)
            run = run.model_copy(update={"method": "skip_sideways", "method_title": "Skip-Sideways (a learning rule)"})
            path = write(folder, run)
            history(path.parent, run)
            place = path.parent.relative_to(folder).as_posix()
            planned.append({"task": "digits", "method": run.method, "settings": given, "seed": seed, "path": place})
    plan = {
        "experiment": "rules",
        "protocol": "sound",
        "config": {"page": page},
        "engine_digest": ENGINE,
        "runs": planned,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def test_a_rule_is_held_against_exact_gradients_on_its_own_network(tmp_path):
    first = {"shortcuts": "concat", "rule": "sideways", "slower": 1.0, "flush": "drop", "exact_epochs": 4}
    rules = Results(gather(experiment(tmp_path, more=[first]))).rules.set_index("rule_label")
    expected = {
        "Sideways": (-0.10, -0.08), "Skip-Sideways, concat": (-0.04, 0.01),
        "Skip-Sideways, concat, 4 epochs of BP first, no pause": (-0.02, 0.03), "BP per tick": (-0.02, None),
        "BP per tick, concat": (-0.05, None), "BP": (None, 0.02), "BP, concat": (None, 0.05),
    }  # fmt: skip
    assert set(rules.index) == set(expected)
    for label, (exact, tick) in expected.items():
        for name, value in (("exact", exact), ("tick", tick)):
            found = rules.loc[label, f"{name}_difference"]
            assert pd.isna(found) if value is None else found == pytest.approx(value), (label, name)
    tested = rules[rules["rule"] == "sideways"]
    assert (tested["exact_p_holm"] >= tested["exact_p"]).all() and tested["exact_p_holm"].max() < 0.05
    assert rules.loc[["BP per tick", "BP per tick, concat"], "exact_p_holm"].isna().all()  # no claim about a rule
    assert (tested["tick_detectable"] > 0).all()


def test_the_page_shows_rules_and_no_sizes(tmp_path):
    folder = experiment(tmp_path)
    promised = outputs(folder / "plan.json")
    page = build_report(folder).read_text(encoding="utf-8")
    assert all((folder / name).is_file() for name in promised)
    assert {"figures/rules_accuracy_digits.svg", "figures/rules_training_digits.csv", "tables/rules.tex"} <= set(
        promised
    )
    assert not [name for name in promised if name.split("/")[-1].startswith(SIZED)]
    assert 'id="rules"' in page and 'id="front"' not in page and "small_dense" not in page.split('id="protocol"')[0]
    assert "Sideways: 70.0" in page and "The rule is worse, after Holm" in page
    curves = pd.read_csv(folder / "figures" / "rules_training_digits.csv")
    assert curves.groupby("rule_label")["epoch"].max().to_dict() == dict.fromkeys(curves["rule_label"].unique(), 30)
    assert set(curves["seeds"]) == {5} and (curves["lowest"] <= curves["validation_accuracy"]).all()
    table = pd.read_csv(folder / "tables" / "rules.csv").set_index("rule_label")
    assert table.loc["Sideways", "exact_difference"] == pytest.approx(-0.10)


def test_rules_without_exact_gradients_are_not_drawn(tmp_path):
    folder = experiment(tmp_path)
    for path in list(folder.rglob("record.json")):
        if json.loads(path.read_text())["settings"]["rule"] != "sideways":
            shutil.rmtree(path.parent)
    rules = Results(gather(folder))
    assert "by exact gradients too" in rules_accuracy.draw(rules, "digits").words


@pytest.mark.usefixtures("undrawn")
def test_few_seeds_carry_no_verdict_and_other_pages_stay_as_they_are(tmp_path):
    page = build_report(experiment(tmp_path / "few", seeds=3)).read_text(encoding="utf-8")
    assert "So few seeds carry no verdict." in page and "The rule is worse" not in page
    promised = outputs(experiment(tmp_path / "sizes", page="sizes") / "plan.json")
    assert "figures/accuracy_vs_size_digits.svg" in promised and not [name for name in promised if "rules" in name]
    plan = json.loads((tmp_path / "sizes" / "plan.json").read_text()) | {"config": {"page": "rule"}}
    with pytest.raises(InputError, match="'rule'; give sizes or rules"):
        outputs(plan)


def test_labels_say_what_is_not_the_papers():
    assert rule_label({"rule": "sideways", "shortcuts": "none", "slower": 0.7}) == "Sideways, slower 0.7"
    assert rule_label({"rule": "sideways", "shortcuts": "sum", "exact_epochs": 1}) == (
        "Skip-Sideways, sum, 1 epoch of BP first"
    )
    assert rule_label({"rule": "sideways", "shortcuts": "none", "flush": "drop"}) == "Sideways, no pause"


@pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome on PATH")
def test_on_a_phone_only_figures_and_tables_swipe(tmp_path):
    build_report(experiment(tmp_path))
    with started() as browser, opened(browser, tmp_path / "report.html", PHONE) as (page, _):
        right = page.evaluate(
            "Math.max(...[...document.querySelectorAll('h1, h2, p, figcaption')].map("
            "(element) => element.getBoundingClientRect().right))"
        )
        assert right <= PHONE
