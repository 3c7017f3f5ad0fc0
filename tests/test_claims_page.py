"""The files of the claims, checked against what they refer to, and the claims on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from csv_files import read_csv
from planted_claims import EQUAL, ablation, case, model, put
from refusals import refusal_of
from synthetic_records import make

from squeezebench.base.errors import InputError
from squeezebench.method.discovery import find_methods, load
from squeezebench.report import build_report, outputs
from squeezebench.report.claims.file import CLAIMS, families, groups_of, read_claims
from squeezebench.report.claims.judge import SIZES_ALONE, judge_claims, task_specs
from squeezebench.report.names import CLAIMED
from squeezebench.schema.inference import Inference, write_inference

pytestmark = pytest.mark.usefixtures("undrawn")


def files() -> list[Path]:
    return sorted(CLAIMS.glob("*.yaml"))


def test_methods_settings_and_sources_of_the_claims_exist(root):
    known = find_methods()
    sources = {path.stem for path in (root / "squeezebench" / "data" / "sources").glob("*.py")}
    used = set()
    for claim in read_claims():
        assert {pattern.source for pattern in claim.tasks} <= sources
        compared = {group.of.method for test in claim.tests for group in groups_of(test)}
        named = compared | {getattr(test, "method", "") for test in claim.tests}
        assert CLAIMED in named or compared == {"dense"}, "the section is shown where this method runs"
        for test in claim.tests:
            for group in groups_of(test):
                names = set(load(known[group.of.method]).Settings.model_fields)
                assert {*group.of.where, *group.of.unlike} <= names, (claim.name, group)
                assert not hasattr(test, "setting") or {test.setting} <= names & set(group.of.along)
                used.add(group.family)
    assert used == set(families()), "a family that no claim compares"
    assert {path.suffix for path in CLAIMS.iterdir()} == {".yaml"}, "no Python in this folder"


GOOD = yaml.safe_load(files()[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize(("change", "said"), [
    ({"tests": [{"says": "x", "form": "guess"}]}, "tests.0: Input tag 'guess'"),
    ({"tests": [GOOD["tests"][1] | {"at_least": None}]}, "tests.0.difference: give a bound"),
    ({"tests": [GOOD["tests"][0] | {"more_than": 1}]}, "give one of at_least, more_than and about"),
    ({"tests": [GOOD["tests"][1] | {"of": "vib_lst"}]}, "no family 'vib_lst' in families.yaml; did you mean vib_lstm"),
    ({"tests": []}, "tests: List should have at least 1 item"),
    ({"tasks": []}, "tasks: List should have at least 1 item"),
    ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ({"printed": [GOOD["printed"][0] | {"block": "nowhere"}]}, "unknown block 'nowhere'"),
    ({"printed": [GOOD["printed"][0] | {"row": "nothing"}]}, "viblstm_text has no row 'nothing'"),
    ({"printed": [GOOD["printed"][0] | {"column": "size"}]}, "viblstm_text has no column 'size'"),
    ({"audit": ["speed"]}, "audit: no check 'speed'; did you mean speed-up"),
])  # fmt: skip
def test_a_malformed_claim_is_one_line(tmp_path, change, said):
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(GOOD | change, allow_unicode=True))
    line = refusal_of(read_claims, tmp_path)
    assert said in line and "bad.yaml" in line


@pytest.mark.parametrize("text", ["a: [", "just words", ""])
def test_what_is_no_claim_at_all_is_one_line(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml") as error:
        read_claims(tmp_path)
    assert "\n" not in str(error.value)


# --- on the page


UCF11 = {"source": "ucf11", "options": {"features": "inception_v3"}}


def with_spec(folder: Path, spec: dict) -> None:
    """The runs, with a plan that says what the task is made of."""
    runs = [{"task": "digits", "method": path.parents[2].name, "seed": int(path.parent.name[5:]),
             "path": path.parent.relative_to(folder).as_posix()} for path in folder.rglob("record.json")]  # fmt: skip
    (folder / "plan.json").write_text(json.dumps({"runs": runs, "tasks": {"digits": {"spec": spec}}}))


def test_claims_about_the_papers_figures_are_tested_on_the_papers_tasks_alone(tmp_path):
    ablation().write(tmp_path)

    def line(spec):
        with_spec(tmp_path, spec)
        here = case(tmp_path)
        assert task_specs(here.gathered)["digits"] == spec
        frame = judge_claims(here.groups, here.gathered)
        return frame[frame["claim"] == "02_ablation"].iloc[0]

    row = line(UCF11)
    assert (row["task"], row["verdict"], row["papers_task"]) == ("digits", "supported", True)
    assert row["ours"].startswith("feature mask alone: 2.00× in every seed; gate masks alone: 510×")
    for other in ({"source": "digits", "options": {}}, UCF11 | {"options": UCF11["options"] | {"synthetic": 4}}):
        row = line(other)
        assert (row["task"], row["verdict"]) == ("", "not testable") and "one of the paper's: ucf11" in row["reason"]


def test_sizes_of_the_paper_are_timed_in_any_folder(tmp_path):
    put(tmp_path, "vib_lstm", EQUAL)
    timed = model({"torch": 200.0, "engine": 50.0}, {"torch": 1.0, "engine": 1.0}, task=SIZES_ALONE, method="")
    write_inference(tmp_path, Inference(machine="m", packages={}, finished="2026-01-01", bandwidth={1: 1.0},
                                        macs_per_second=1.0, models=[timed]))  # fmt: skip
    here = case(tmp_path)
    frame = judge_claims(here.groups, here.gathered).set_index("claim")
    assert frame.at["05_inference_100x", "verdict"] == "supported"
    assert frame.at["06_inference_100x_fastest", "verdict"] == "contradicted"
    assert frame.at["05_inference_100x", "task"] == "sizes of the paper"


@pytest.mark.parametrize(("spec", "place"), [(UCF11, "claims"), ({"source": "digits", "options": {}}, "elsewhere")])
def test_claims_on_other_tasks_are_folded_at_the_end_of_the_page(tmp_path, spec, place):
    ablation().write(tmp_path)
    with_spec(tmp_path, spec)
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert ('id="claims"' in page) == (place == "claims") and 'id="claims_elsewhere"' in page
    if place == "claims":
        assert page.index('id="claims"') < page.index('id="selected"')
    else:
        folded = page[page.index('id="claims_elsewhere"') :]
        assert page.index('id="selected"') < page.index('id="claims_elsewhere"') and "<details>" in folded
    name = "claims" if place == "claims" else "claims_elsewhere"
    rows = read_csv(tmp_path / f"tables/{name}.csv")
    other = read_csv(tmp_path / "tables/claims_elsewhere.csv")
    assert {row["claim"] for row in [*rows, *other]} == {path.stem for path in files()}
    for row in rows:
        assert row["verdict"] in ("supported", "contradicted", "undecided", "not testable") and row["reason"]
        assert (row["verdict"] == "not testable") == bool(row["takes"]) and (row["takes"] or row["ours"])
    number = sum(row["verdict"] == "not testable" for row in rows)
    assert f'<span class="chip not-testable">{number} not testable</span>' in page
    assert {"tables/claims.tex", "tables/claims_elsewhere.csv"} <= set(outputs(tmp_path / "plan.json"))


def test_a_report_without_the_method_has_no_claims(tmp_path):
    make(tmp_path, tasks=("digits",), methods=("dense", "iss"), steps=2)
    assert 'id="claims' not in build_report(tmp_path).read_text(encoding="utf-8")
    assert not list((tmp_path / "tables").glob("claims*"))
    assert not any("claims" in name for name in outputs(tmp_path / "plan.json"))
