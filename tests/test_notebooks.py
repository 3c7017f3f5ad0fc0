"""The notebooks run as they are, with smaller parameters, and show what they promise."""

from __future__ import annotations

import ast
from pathlib import Path

import matplotlib
import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def run(name: str, parameters: str = "") -> list:
    """The values that the code cells show. parameters: a statement after the cell that is tagged `parameters`."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    variables, shown = {"__name__": "__main__"}, []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        more = f"\n{parameters}" if "parameters" in cell.metadata.get("tags", []) else ""
        *statements, last = ast.parse(cell.source + more).body
        expression = isinstance(last, ast.Expr)
        exec(compile(ast.Module(statements if expression else [*statements, last], []), name, "exec"), variables)
        value = eval(compile(ast.Expression(last.value), name, "eval"), variables) if expression else None
        shown += [] if value is None else [value]  # a cell that ends with print(...) shows nothing
    return shown


def test_every_notebook_is_run_here_and_keeps_no_output():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {
        "compress_your_lstm", "your_data_to_a_report", "published_results",
    }  # fmt: skip
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_compress_your_lstm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result, small = run("compress_your_lstm", 'training = {"steps": 40, "learning_rate": 0.003}')
    assert result.ratio >= 10 and "<table>" in result._repr_html_() and small.lstm.num_layers == 2
    printed = capsys.readouterr().out
    assert f"{result.compact.accuracy['test']:.1%} of the test part" in printed and "random units: " in printed


def test_your_data_to_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (table,) = run("your_data_to_a_report", "seeds, steps = [0], 60")
    assert list(table.index) == ["dense", "small_dense", "vib_lstm"] and (table["ratio"] >= [1, 10, 10]).all()
    assert (tmp_path / "waves" / "results" / "waves" / "report.html").is_file()
    assert "% of the test part; it reads" in capsys.readouterr().out


def test_published_results(monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(NOTEBOOKS)
    head, pivot, *_ = run("published_results")
    assert {"task", "method", "ratio", "test"} <= set(head)
    assert {"vib_lstm", "small_dense"} <= set(pivot.index.levels[0])
    assert pivot.loc[("magnitude", "element"), "digits"] == pytest.approx(0.771, abs=5e-4)  # once with units' 0.94
    matplotlib.pyplot.close("all")
