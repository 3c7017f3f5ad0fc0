"""Figures and tables that come from outside the project: one file each, and nothing else to edit."""

from __future__ import annotations

import json

import pytest
from page_tables import Tables
from refusals import refusal_of
from synthetic_records import make

from squeezebench.report import build_report, outputs
from squeezebench.report.declarations import declared

FIGURE = '''"""Seconds of training by size."""

from pathlib import Path

from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure

EACH, SECTION = "task", "brief"
WORDS = {"title": "Training time, {task}", "caption": "One point per setting.", "how": "Means over seeds."}
(Path(__file__).parent / "imported").touch()


def draw(results, task):
    groups = results.of(task)
    figure = new_figure(4, 3)
    figure.add_subplot().plot(groups["size_mean"], groups["train_seconds_mean"], "o")
    return Drawing(figure, groups[["method", "size_mean", "train_seconds_mean"]])
'''
TABLE = '''"""Methods by their best accuracy."""

from squeezebench.report import formats
from squeezebench.report.tabular.table import Table, number_column, text_column


def build(results):
    best = results.groups.groupby("method", as_index=False)["test_accuracy_mean"].max()
    return Table([text_column("Method", "method"), number_column("Best", "test_accuracy_mean", formats.percent)], best)
'''


@pytest.fixture
def mine(tmp_path):
    """(folder of results, folder of plugins); the plan names the plugins."""
    folder, plugins = tmp_path / "results", tmp_path / "mine"
    make(folder, tasks=("digits",), steps=2, seeds=2)
    for kind, name, text in (("figures", "training_time", FIGURE), ("tables", "best", TABLE)):
        (plugins / kind).mkdir(parents=True)
        (plugins / kind / f"{name}.py").write_text(text)
    plan = json.loads((folder / "plan.json").read_text()) | {"plugins": [str(plugins)]}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder, plugins


@pytest.mark.usefixtures("undrawn")
def test_a_figure_and_a_table_from_outside_are_in_the_report(mine):
    folder, plugins = mine
    promised = outputs(folder / "plan.json")
    assert {"figures/training_time_digits.svg", "tables/best.tex"} <= set(promised)
    assert not (plugins / "figures" / "imported").exists(), "names are known without running the file"
    page = build_report(folder, plugins=[plugins]).read_text(encoding="utf-8")
    assert all((folder / name).is_file() for name in promised)
    assert 'id="figure-training_time_digits"' in page and "One point per setting." in page
    assert 'id="how-training_time"' in page and "Training time, digits" in page
    assert Tables(page).tables["best"].rows[0][0].text == "dense"
    assert "Methods by their best accuracy." in page and 'id="more"' in page


@pytest.mark.usefixtures("undrawn")
def test_a_plan_alone_runs_no_figure(mine):
    folder, plugins = mine
    page = build_report(folder).read_text(encoding="utf-8")
    assert not (plugins / "figures" / "imported").exists() and "training_time" not in page


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("kind", "name", "text", "says"),
    [
        ("figures", "ranks", FIGURE, "a figure named 'ranks' exists already"),
        ("figures", "odd", FIGURE.replace('"task"', '"tasks"'), "EACH 'tasks'; did you mean task"),
        ("figures", "odd", FIGURE.replace('"task"', "str(1)"), "EACH must be written out as a constant"),
        ("figures", "odd", FIGURE.replace('"task"', "7"), "EACH is 7, of the wrong type"),
        ("figures", "odd", FIGURE.replace('"brief"', '"brif"'), "no section 'brif'; did you mean brief"),
        ("figures", "odd", FIGURE.replace("def draw", "def paint"), "must define draw(results)"),
        ("tables", "odd", TABLE.replace("return Table", "Table"), "returned NoneType; return a Table"),
        ("tables", "odd", TABLE.replace("groupby", "grupby"), "AttributeError"),
        ("tables", "odd", "def build(:", "line 1"),
    ],
)
def test_a_file_that_is_no_figure_or_table_is_named_in_one_line(tmp_path, kind, name, text, says):
    make(tmp_path / "results", tasks=("digits",), steps=1, seeds=1, methods=("dense",))
    path = tmp_path / kind / f"{name}.py"
    path.parent.mkdir()
    path.write_text(text)
    line = refusal_of(build_report, tmp_path / "results", plugins=[path])
    assert says in line and f"{name}.py" in line


def test_every_figure_of_the_report_has_its_caption_in_captions_yaml():
    from squeezebench.report.words import captions

    for kind in ("figures", "tables"):
        shown = {one.name for one in declared(kind) if one.section or kind == "figures"}
        assert shown <= captions()[kind].keys() | {"audit"}
