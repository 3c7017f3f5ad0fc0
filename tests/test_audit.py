"""The audit: verdicts come from arithmetic on the printed figures, all of them are spoken of, nothing is stored."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import re
import shutil
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.report import outputs
from squeezebench.report.audit import as_json, as_text, audit, summary
from squeezebench.report.audit.figure import MISMATCH, NOT_CHECKABLE, OK, ROUNDING, VERDICTS, Check, Figure, judge
from squeezebench.report.audit.page import audit_page, audit_table, write_beside
from squeezebench.report.audit.remainder import COMPUTED, NAMES, SETTINGS
from squeezebench.report.audit.sizes import exact_pairs, hidden_that_print, inputs_that_print, lstm, nearest_hidden
from squeezebench.report.paper.reference import REFERENCE, blocks, printed, source

# Numbers of the 58 printed sizes whose verdict is not `ok`, worked out by hand from the three values 4h(d+h+2),
# 4h(d+h+1) and 4h(d+h).
WRONG = {4, 14, 16, 27, 30}
NOT_ROUNDED = {1, 6, 7, 8, 12, 17, 24, 35, 36, 37, 38, 40, 41, 42, 45}
# what is known to be wrong without being one of P1 ... P23
UNNUMBERED = {"E-vibnet_t1-DN-r_W_pct"}


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    found = audit()
    by_id = {check.id: check for check in found}
    assert len(by_id) == len(found), "two checks have one id"
    return by_id


@pytest.fixture
def copy(tmp_path) -> Path:
    return shutil.copytree(REFERENCE, tmp_path / "reference")


def change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / f"{name}.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (name, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def verdicts(folder: Path) -> dict[str, str]:
    return {check.id: check.verdict for check in audit(folder)}


# --- the figures


def test_every_size_of_the_58_has_the_verdict_worked_out_by_hand(checks):
    sizes = {int(id[1:]): check for id, check in checks.items() if re.fullmatch(r"A\d+", id)}
    assert sorted(sizes) == list(range(1, 59))
    for number, check in sizes.items():
        expected = MISMATCH if number in WRONG else ROUNDING if number in NOT_ROUNDED else OK
        assert check.verdict == expected, check


def test_recomputed_sizes_are_those_of_the_dimensions_beside_them(checks):
    for id, check in checks.items():
        if re.fullmatch(r"A\d+", id):
            d, h = map(int, re.search(r"(\d+) inputs, (\d+) hidden", check.item).groups())
            assert int(check.recomputed.replace(",", "")) == 4 * (h * d + h * h + 2 * h)


def test_sizes_are_those_of_a_real_lstm():
    import torch

    for d, h in [(46, 9), (96, 277), (1312, 33)]:
        assert lstm(d, h) == sum(p.numel() for p in torch.nn.LSTM(d, h).parameters())
        assert lstm(d, h, 0) == sum(p.numel() for p in torch.nn.LSTM(d, h, bias=False).parameters())


@pytest.mark.parametrize("number", range(1, 24))
def test_each_known_problem_comes_out(checks, number):
    found = [check for check in checks.values() if check.problem == f"P{number}"]
    assert any(check.verdict in (MISMATCH, NOT_CHECKABLE) for check in found), found


def test_no_other_mismatch(checks):
    assert {c.id for c in checks.values() if c.verdict == MISMATCH and not c.problem} == UNNUMBERED


@pytest.mark.parametrize(
    ("id", "recomputed", "said"),
    [
        ("A4", "2,160", "(46, 9)"),  # 4*9*(49+9+2); 2052 is 4*9*(46+9+2)
        ("A27", "2,037,504", "255 hidden units"),
        ("A30", "49,344", "row above, 2048 inputs and 8 hidden units"),
        ("A-iss", "0 common checkpoints", "(52, 7) = 1,680, with two biases 1,708, where (51, 7)"),
        ("A-efficientnet", "11 exact pairs", "(62, 6)"),
        ("A-TT-LSTM", "267,552", "3,360 core"),
        ("A-BT-LSTM", "267,584", "3,392 core"),
        ("A-TR-LSTM", "265,917", "1,725 core"),
        ("A-HT-LSTM", "265,437", "1,245 core"),
        ("A-TR-viblstm_t2", "17,457,152", "663,552 core"),
        ("B-t1-VIB-LSTM", "333.22×", "333.21"),
        ("B-ucf11", "16,359.65×", "16,360.05"),
        ("B-hmdb51", "81.88×", "80.80"),
        ("B-competitor", "77.97×", ""),
        ("B-speed", "96.92×", ""),
        ("B-cores-HT", "47,375.4×", ""),
        ("C-t2-Naive-LSTM", "55,378,923", ""),
        ("C-t2-ISS", "21,945,788", "head on 2048 units"),
        ("C-t2-VIB-LSTM", "21,787,730", "21.859311M"),
        ("C-t4-w-o-VIB-on-LSTM", "38,872,043", "38.849504M"),
        ("C-t4-w-o-VIB-on-LSTM", "38,872,043", "(28, 2048)"),
        ("C-t4-w-o-feature-mask-layer", "21,851,523", "21.921067M"),
        ("C-t3_hmdb51-Naive-LSTM", "55,460,883", "Table 2 (UCF11) for Naive-LSTM"),
        ("C-t3_ucf101-Naive-LSTM", "31,278,661", "53.064229M"),
        ("C-efficientnet-full", "7,795,864", ""),
        ("D-code-beta", "1e-05 and 5e-06", ""),
        ("E-vibnet_t1-DN-r_W_pct", "19.03 %", ""),
    ],
)
def test_recomputed_values_known_from_hand_computation(checks, id, recomputed, said):
    assert checks[id].recomputed == recomputed
    assert said in checks[id].remark


def test_ratios_again_from_the_files_alone(checks):
    with (REFERENCE / "viblstm_t1.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        value = float(rows[0]["lstm_params_M"]) / float(row["lstm_params_M"])
        check = checks[f"B-t1-{row['method']}"]
        assert check.recomputed == f"{value:.2f}×"
        said = float(row["lstm_compression"])
        decimals = len(row["lstm_compression"].partition(".")[2])
        rounds = round(value, decimals) == said
        cut = math.floor(value * 10**decimals) / 10**decimals == said
        assert check.verdict == (OK if rounds else ROUNDING if cut else MISMATCH)


def test_backbones_are_those_of_torchvision():
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    import torch

    from squeezebench.data.video.backbones import torchvision

    models = torchvision()
    with torch.device("meta"):
        inception = models.inception_v3(weights=None, aux_logits=False, init_weights=False)
        inception.fc = torch.nn.Identity()
        efficient, bare = models.efficientnet_b1(weights=None), models.efficientnet_b1(weights=None)
        bare.classifier = torch.nn.Identity()
        residual = models.resnet101(weights=None)
    with (REFERENCE / "backbones.csv").open(encoding="utf-8", newline="") as file:
        stored = [int(row["parameters"]) for row in csv.DictReader(file)]
    made = [sum(p.numel() for p in net.parameters()) for net in (inception, bare, efficient, residual)]
    assert stored == made


# --- nothing is stored


@pytest.mark.parametrize(
    ("name", "old", "new", "id", "before", "after"),
    [
        ("viblstm_appT1", "2048,224,2.35M", "2048,224,2.04M", "A27", MISMATCH, OK),
        ("viblstm_appT1", "28,8,1216", "28,8,1217", "A34", OK, MISMATCH),
        ("viblstm_appT2", "3.14M4", "3.14M", "A-print", MISMATCH, OK),
        ("viblstm_appT3", "33.570816", "-", "A47", OK, NOT_CHECKABLE),
        ("viblstm_t1", "332.2", "333.2", "B-t1-VIB-LSTM", MISMATCH, OK),
        ("viblstm_t1", "0.266,", "0.265,", "A-HT-LSTM", MISMATCH, OK),
        ("viblstm_t2", "1.340M", "17.46M", "A-TR-viblstm_t2", MISMATCH, OK),
        ("viblstm_t2", "VIB-LSTM+ISS,UCF11,21.86,1680", "VIB-LSTM+ISS,UCF11,21.86,1540", "A-iss", MISMATCH, OK),
        ("viblstm_t2", "ISS,UCF11,21.97,0.16M,94.6", "ISS,UCF11,21.97,0.16M,98.0", "B-comparable", MISMATCH, OK),
        ("viblstm_t3_ucf101", "94.3", "94.1", "D-ts-lstm-UCF101", MISMATCH, OK),
        ("viblstm_t3_ucf101", "59.57", "31.2", "C-order-ucf101", MISMATCH, OK),
        ("viblstm_t4", "38.81,17.06M", "38.87,17.06M", "C-t4-w-o-VIB-on-LSTM", MISMATCH, OK),
        ("viblstm_text", "hidden after VIB,9", "hidden after VIB,10", "A5", OK, MISMATCH),
        ("viblstm_text", "UCF101 input features kept,3.8", "UCF101 input features kept,4.7", "A15", OK, MISMATCH),
        ("further", "HMDB51 clips,6849", "HMDB51 clips,6770", "D-clips-HMDB51", MISMATCH, OK),
        ("further", "kl_fac,0.000001", "kl_fac,1", "D-code-beta", MISMATCH, OK),
        ("backbones", "21785568", "21746100", "C-t4-w-o-VIB-on-LSTM", MISMATCH, ROUNDING),
        ("tensor_layers", "8 20 20 18,16 4 4 4,1 4 4 4 1", "8 20 20 18,16 4 4 4,1 5 4 4 1", "B-cores-TT", OK, MISMATCH),
        ("vibnet_t1", "23.05", "19.03", "E-vibnet_t1-DN-r_W_pct", MISMATCH, OK),
        ("vibnet_t1", "97-71-33", "97-72-33", "E-vibnet_t1-VIBNet-r_N_pct", OK, MISMATCH),
        ("sideways_text", "64 or 128", "64 or 129", "E-sideways-TPUs", OK, MISMATCH),
    ],
)
def test_a_changed_figure_changes_its_verdict(checks, copy, name, old, new, id, before, after):
    assert checks[id].verdict == before
    change(copy, name, old, new)
    assert verdicts(copy)[id] == after


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("viblstm_t2", "ISS,UCF11,21.97,0.16M", "ISS,UCF11,21.97,none", "viblstm_t2.csv, line 6, lstm_params: 'none'"),
        ("viblstm_t4", "w/o VIB on LSTM", "w/o VIB", "viblstm_t4.csv: 0 rows with method 'w/o VIB on LSTM'"),
        ("viblstm_appT1", "28,8,1216", "28,x,1216", "viblstm_appT1.csv, line 15: input and hidden must be numbers"),
        ("viblstm_t1", "lstm_compression", "ratio", "viblstm_t1.csv: no column 'lstm_compression'"),
        ("pairs", "2048,2048,,sizes of section 5.1", "2o48,2048,,sizes of section 5.1", "'2o48' is neither"),
        ("vibnet_t1", "97-71-33", "97-71", "'97-71' is not a structure of 3 layers"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(copy, name, old, new, said):
    change(copy, name, old, new)
    with pytest.raises(InputError, match=re.escape(said)) as error:
        audit(copy)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(copy):
    (copy / "viblstm_t3_ucf101.csv").unlink()
    with pytest.raises(InputError, match=r"viblstm_t3_ucf101\.csv: cannot be read \(No such file"):
        audit(copy)
    with pytest.raises(InputError, match="no block of printed figures 'viblstm_t9'; there are viblstm_t1,"):
        printed("viblstm_t9")


# --- completeness


def test_every_printed_figure_is_spoken_of(checks):
    spoken = {cell for check in checks.values() for cell in check.cells}
    silent = NAMES | SETTINGS | COMPUTED
    for block in blocks():
        table = printed(block)
        for column in set(table) - silent:
            for row, text in enumerate(table[column]):
                assert not re.match(r"\d", text) or (block, column, row) in spoken, (block, column, row, text)


def test_accuracies_are_never_called_right_by_arithmetic_alone(checks):
    """An accuracy may agree with another printed one; else it is not checkable."""
    for check in checks.values():
        if check.verdict == OK and any("accuracy" in cell[1] or "error" in cell[1] for cell in check.cells):
            assert len({cell[0] for cell in check.cells}) > 1, check


def test_every_block_has_a_file_a_source_and_a_line_in_the_readme():
    readme = (REFERENCE / "README.md").read_text(encoding="utf-8")
    assert {"viblstm_t1", "viblstm_appT3", "vibnet_t4", "itpcc_f1", "sideways_text"} < set(blocks())
    for block in blocks():
        where = source(block)
        assert f"| `{block}.csv` | {where['paper']} | {where['year']} | {where['place']} |" in readme
        assert len(printed(block)) and where["held"] in ("read", "assigned")
    files = {path.stem for path in REFERENCE.glob("*.csv")} - set(blocks()) - {"sources"}
    assert all(f"| `{name}.csv` |" in readme for name in files)
    for number in range(1, 24):
        assert f"| P{number} |" in readme


def test_the_one_computed_column_is_the_quotient_of_the_printed_sizes():
    scale = {"M": 1e6, "": 1}
    size = {row["method"]: re.fullmatch(r"([\d.]+)(M?)", row["lstm_params"]) for _, row in
            printed("viblstm_t2").iterrows()}  # fmt: skip
    value = {name: float(found[1]) * scale[found[2]] for name, found in size.items()}
    for _, row in printed("viblstm_t2").iterrows():
        if row["compression_computed"]:
            assert float(row["compression_computed"]) == pytest.approx(
                value["Naive-LSTM"] / value[row["method"]], rel=3e-4
            )


# --- the rule


@given(st.integers(0, 10**8), st.integers(0, 3), st.sampled_from(["", "M"]))
def test_a_rounded_value_is_ok_and_a_cut_one_is_rounding(value, digits, unit):
    step = Fraction(10**6 if unit else 1, 10**digits)
    rounded, cut = math.floor(value / step + Fraction(1, 2)), value // step
    for number, expected in ((rounded, OK), (cut, OK if cut == rounded else ROUNDING)):
        text = f"{float(number * step / (10**6 if unit else 1)):.{digits}f}{unit}"
        assert judge(Figure.parse(text), value)[0] in ((OK,) if expected == OK else (ROUNDING, OK))
    over = Figure.parse(f"{float((rounded + 2) * step / (10**6 if unit else 1)):.{digits}f}{unit}")
    assert judge(over, value)[0] == MISMATCH
    assert judge(over, value, {"another rule": over.value})[0] == ROUNDING


def test_reading_a_printed_figure():
    assert (Figure.parse("33.57M").value, Figure.parse("33.57M").step) == (33_570_000, 10_000)
    assert (Figure.parse("2052").value, Figure.parse("59.246", "M").step) == (2052, 1000)
    assert (Figure.parse("3.14M4").value, Figure.parse("3.14M4").stray) == (3_140_000, "4")
    assert Figure.parse("-") is None and Figure.parse("") is None
    assert judge(None, 3)[0] == NOT_CHECKABLE


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
    assert list(content) == ["schema_version", "summary", "checks"] and content["schema_version"] == 1
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
    assert re.fullmatch(r"\d+ checks: \d+ ok, \d+ rounding, \d+ mismatch, \d+ not checkable", last)
    assert text.count("  mismatch  ") == sum(check.verdict == MISMATCH for check in checks.values())
    assert main(["audit", "--verdict", "mismatch"]) == 0
    some = capsys.readouterr().out
    assert "  rounding  " not in some and some.rstrip().endswith(last)
    assert main(["audit", "--verdict", "wrong"]) == 2
    assert "give one of ok, rounding, mismatch, not checkable" in capsys.readouterr().err


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


def test_page(tmp_path, checks, capsys):
    assert main(["audit", "--html", str(tmp_path / "audit.html")]) == 0
    assert "checks: " in capsys.readouterr().out
    assert main(["audit", "--html", str(tmp_path)]) == 2 and "is a folder" in capsys.readouterr().err
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    rows = [row for row in Rows(page).rows if row]
    assert [row[5] for row in rows] == [check.verdict for check in checks.values()]
    assert [row[3] for row in rows] == [check.printed for check in checks.values()]
    assert "tables/audit.csv" not in page and "src=" not in page and "http" not in page.replace("http-equiv", "")
    assert all(f"<option>{verdict}</option>" in page for verdict in VERDICTS)


def test_what_a_file_holds_is_escaped(copy):
    change(copy, "viblstm_appT2", "3.14M4", "3.14M<script>alert(1)</script>")
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
    with (tmp_path / "tables/audit.csv").open(encoding="utf-8", newline="") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == [check.verdict for check in checks.values()]
    assert as_text(list(checks.values())).count("\n") > len(checks)
