"""The audit: every printed figure is in it, its rule, its expressions, and what people and programs read of it."""

from __future__ import annotations

import json
import math
import re
import shutil
from fractions import Fraction
from html.parser import HTMLParser

import pytest
from csv_files import read_csv
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.cli.main import main
from squeezebench.report import outputs
from squeezebench.report.audit import as_json, as_text, audit, summary
from squeezebench.report.audit.arithmetic import Arithmetic, Reference
from squeezebench.report.audit.page import audit_page, audit_table, write_beside
from squeezebench.report.audit.remainder import COMPUTED, SILENT
from squeezebench.report.audit.sizes import exact_pairs, hidden_that_print, inputs_that_print, lstm, nearest_hidden
from squeezebench.report.audit.verdicts import MISMATCH, OK, OTHER_RULE, ROUNDING, VERDICTS, Check, by_figure
from squeezebench.schema.reference import REFERENCE, Figure, blocks, read_block


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return {check.id: check for check in audit()}


# --- completeness


def test_every_printed_figure_is_spoken_of(checks):
    spoken = {cell for check in checks.values() for cell in check.cells}
    for block in blocks():
        for row, line in enumerate(read_block(block).lines):
            for column, text in line.items():
                silent = column in SILENT | COMPUTED or not re.match(r"\d", text)
                assert silent or (block, column, row) in spoken, (block, column, row, text)


def test_accuracies_are_never_called_right_by_arithmetic_alone(checks):
    """An accuracy may agree with another printed one; else it is not checkable."""
    for check in checks.values():
        if check.verdict == OK and any("accuracy" in cell[1] or "error" in cell[1] for cell in check.cells):
            assert len({cell[0] for cell in check.cells}) > 1, check


def test_every_block_has_a_file_a_source_and_a_line_in_the_readme():
    readme = (REFERENCE / "README.md").read_text(encoding="utf-8")
    assert {"viblstm_t1", "viblstm_appT3", "vibnet_t4", "itpcc_f1", "sideways_text"} < set(blocks())
    for block in blocks():
        where = read_block(block).source
        assert f"| `{block}.csv` | {where['paper']} | {where['year']} | {where['place']} |" in readme
        assert read_block(block).lines and where["held"] in ("read", "assigned")
    files = {path.stem for path in REFERENCE.glob("*.csv")} - set(blocks()) - {"sources"}
    assert all(f"| `{name}.csv` |" in readme for name in files)
    for number in range(1, 24):
        assert f"| P{number} |" in readme


def test_the_one_computed_column_is_the_quotient_of_the_printed_sizes():
    block = read_block("viblstm_t2")
    sizes = dict(zip(block.keys, map(block.size, block.lines), strict=True))
    for line in block.lines:
        if line["compression_computed"]:
            quotient = sizes["Naive-LSTM"] / sizes[line["method"]]
            assert float(line["compression_computed"]) == pytest.approx(quotient, rel=3e-4)


# --- the rule


@given(st.integers(0, 10**8), st.integers(0, 3), st.sampled_from(["", "M"]))
def test_a_rounded_value_is_ok_and_a_cut_one_is_rounding(value, digits, unit):
    step = Fraction(10**6 if unit else 1, 10**digits)
    rounded, cut = math.floor(value / step + Fraction(1, 2)), value // step
    for number, expected in ((rounded, OK), (cut, OK if cut == rounded else ROUNDING)):
        text = f"{float(number * step / (10**6 if unit else 1)):.{digits}f}{unit}"
        assert by_figure(Figure.parse(text), Fraction(value), {})[0] in ((OK,) if expected == OK else (ROUNDING, OK))
    over = Figure.parse(f"{float((rounded + 2) * step / (10**6 if unit else 1)):.{digits}f}{unit}")
    assert by_figure(over, Fraction(value), {})[0] == MISMATCH
    assert by_figure(over, Fraction(value), {"another rule": over.value})[0] == OTHER_RULE


def test_reading_a_printed_figure():
    assert (Figure.parse("33.57M").value, Figure.parse("33.57M").step) == (33_570_000, 10_000)
    assert (Figure.parse("2052").value, Figure.parse("59.246", "M").step) == (2052, 1000)
    assert (Figure.parse("3.14M4").value, Figure.parse("3.14M4").stray) == (3_140_000, "4")
    assert Figure.parse("-") is None and Figure.parse("") is None


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ('t2["VIB-LSTM"].lstm', 2052, "2052"),
        ('(t1["TT-LSTM"].lstm - 1000) / 2', 133_500, "(0.268M − 1000) / 2"),
        ('lstm(46, text["UCF11 CNN hidden after VIB"])', 2052, "lstm(46, 9)"),
        ("3 * (2 - 1)", 3, "3·(2 − 1)"),
    ],
)
def test_expressions(text, value, shown):
    term = Arithmetic(Reference())(text)
    assert (term.value, term.text) == (value, shown)
    assert Arithmetic(Reference(), 1)("lstm(46, 9)").value == 2016, "with one bias"


@given(st.integers(1, 5000), st.integers(1, 3000), st.sampled_from([0, 1, 2]))
def test_sizes_solved_backwards(d, h, biases):
    size = lstm(d, h, biases)
    assert (d, h) in exact_pairs(size, biases)
    assert all(lstm(*pair, biases) == size for pair in exact_pairs(size, biases))
    assert nearest_hidden(size, d, biases) == h
    if biases == 2:
        coarse = Figure.parse(f"{size / 1e6:.2f}M")
        for found, other in ((hidden_that_print(coarse, d), 0), (inputs_that_print(coarse, h), 1)):
            assert [d, h][1 - other] in found
            assert all(coarse.fit(lstm(d, n) if other == 0 else lstm(n, h)) for n in found)
            edge = found[-1] + 1
            assert not coarse.fit(lstm(d, edge) if other == 0 else lstm(edge, h))


# --- what people and programs read


def test_json(checks, capsys):
    assert main(["audit", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content == as_json(list(checks.values()))
    assert list(content) == ["schema_version", "summary", "checks"] and content["schema_version"] == 2
    assert content["summary"] == {"checks": len(checks)} | {
        verdict: sum(check["verdict"] == verdict for check in content["checks"]) for verdict in VERDICTS
    }
    fields = ["id", "group", "problem", "source", "item", "printed", "recomputed", "verdict", "remark"]
    for check in content["checks"]:
        assert list(check) == fields and all(isinstance(value, str) for value in check.values())
        assert check["verdict"] in VERDICTS and check["id"] and check["source"] and check["printed"]


def test_text(checks, capsys):
    assert main(["audit"]) == 0
    text = capsys.readouterr().out
    last = text.rstrip().splitlines()[-1]
    assert last == summary(list(checks.values()))
    assert re.sub(r"\d+", "n", last) == "n checks: " + ", ".join(f"n {verdict}" for verdict in VERDICTS)
    assert text.count("  mismatch  ") == sum(check.verdict == MISMATCH for check in checks.values())


class Rows(HTMLParser):
    """Text of every cell of the body of the first table; tags that the page opens."""

    def __init__(self, page: str):
        super().__init__()
        self.rows, self.tags, self.open = [], set(), False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        self.open = tag == "td" or (self.open and tag == "small")
        if tag == "td":
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "tr")


def test_page(checks):
    page = audit_page(list(checks.values())).decode()
    rows = [row for row in Rows(page).rows if row]
    assert [row[5] for row in rows] == [check.verdict for check in checks.values()]
    assert [row[3] for row in rows] == [check.printed for check in checks.values()]
    assert "tables/audit.csv" in page and "src=" not in page and "http" not in page.replace("http-equiv", "")
    assert all(f"<option>{verdict}</option>" in page for verdict in VERDICTS)


def test_what_a_file_holds_is_escaped(tmp_path):
    copy = shutil.copytree(REFERENCE, tmp_path / "reference")
    path = copy / "viblstm_appT2.csv"
    path.write_text(path.read_text().replace("3.14M4", "3.14M<script>alert(1)</script>"))
    page = audit_page(audit(copy)).decode()
    assert "3.14M&lt;script&gt;alert(1)&lt;/script&gt;" in page and page.count("<script>") == 1


def test_a_report_that_compares_with_a_paper_has_the_audit_beside_it(tmp_path, checks):
    runs = [{"task": "digits", "method": "dense", "seed": 0, "path": "runs/0"}]
    table = {"name": "table2", "title": "Table 2", "printed": "viblstm_t2"}
    assert "audit.html" not in outputs({"runs": runs})
    promised = [name for name in outputs({"runs": runs, "config": {"tables": [table]}}) if "audit" in name]
    assert write_beside(tmp_path, "audit.html") == summary(list(checks.values()))
    audit_table(list(checks.values())).write(tmp_path / "tables")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == sorted(promised)
    assert 'href="report.html"' in (tmp_path / "audit.html").read_text(encoding="utf-8")
    rows = read_csv(tmp_path / "tables/audit.csv")
    assert [row["verdict"] for row in rows] == [check.verdict for check in checks.values()]
    assert as_text(list(checks.values())).count("\n") > len(checks)
