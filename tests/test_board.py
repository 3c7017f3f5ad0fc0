"""`submit` and `board`: what is sent is checked, and every planted cheat is named and left out without running code."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import torch
from altered_records import alter, without_models
from page_tables import Reader

from squeezebench.cli.main import main
from squeezebench.report.board.entries import admitted
from squeezebench.report.board.numbers import AGAIN, AS_SUBMITTED, numbers
from squeezebench.report.board.site import build_board
from squeezebench.schema.experiment import check_experiment, read_experiment
from squeezebench.schema.record import read_record
from squeezebench.schema.stored import read_sealed, write_sealed
from squeezebench.schema.submission import SUBMISSION, Submission
from squeezebench.schema.task import TaskSpec
from squeezebench.tools import submissions
from squeezebench.tools.crate import _as_written
from squeezebench.tools.submissions import opened

EXPERIMENT = """
name: small
tasks: {digits: {version: 2}}
methods: {dense: {}, small_dense: {ratio: 10}, magnitude: {ratio: 10}}
model: {hidden: 12}
training: {epochs: 8, batch_size: 256}
seeds: [0, 1, 2, 3, 4]
runs_per_job: 15
"""
MARKER = "executed"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A finished experiment with its models."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "small.yaml").write_text(EXPERIMENT)
    assert main(["plan", str(folder / "small.yaml"), "--results", str(folder)]) == 0
    plan = folder / "small/plan.json"
    for job in json.loads(plan.read_text())["start_jobs"]:
        assert main(["starts", str(plan), job]) == 0
    for job in json.loads(plan.read_text())["jobs"]:
        assert main(["job", str(plan), job]) == 0
    return folder / "small"


@pytest.fixture(scope="module")
def archive(results, tmp_path_factory) -> Path:
    to = tmp_path_factory.mktemp("sent")
    assert main(["submit", str(results), "--as", "ada", "--to", str(to)]) == 0
    return to / "ada-small.zip"


@pytest.fixture
def sent(archive, tmp_path) -> Path:
    """The submission as a folder that may be altered; its name is another one."""
    folder = tmp_path / "sent"
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    reseal(folder, name="bob")
    return folder


def reseal(folder: Path, **changed) -> None:
    """Write submission.json as whoever altered the files would: with the right digests."""
    files = {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
             for path in folder.rglob("*") if path.is_file() and path.name != SUBMISSION}  # fmt: skip
    submission = read_sealed(folder / SUBMISSION, Submission, "submission")
    write_sealed(folder / SUBMISSION, submission.model_copy(update={"files": files} | changed))


def run(folder: Path, method: str = "small_dense", seed: int = 1) -> Path:
    return next(folder.glob(f"runs/digits/{method}/*/seed-{seed}"))


def alter_plan(folder: Path, change) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    change(plan)
    (folder / "plan.json").write_text(json.dumps(plan))


def reasons(tmp_path: Path, *places: Path) -> dict[str, str]:
    """Name -> why it is left out, of the submissions at `places`."""
    return {one.name: one.reason for one in admitted(opened(places, tmp_path / "work"))[1]}


# ---------------------------------------------------------------------- the board


def test_an_honest_submission_is_measured_again_and_every_link_leads_somewhere(archive, sent, tmp_path, capsys):
    without_models(sent)
    reseal(sent)
    site = tmp_path / "site"
    assert main(["board", str(archive), str(sent), "--to", str(site)]) == 0
    assert "2 submissions, 0 left out" in capsys.readouterr().out
    entries, _ = admitted(opened([archive, sent], tmp_path / "work"))
    frame = numbers(entries)
    ten = frame[frame["least"] == 10]
    assert set(zip(ten["submission"], ten["badge"], strict=True)) == {("ada-small", AGAIN), ("bob-small", AS_SUBMITTED)}
    records = [read_record(run(sent, seed=seed) / "record.json") for seed in range(5)]
    (row,) = ten[(ten["method"] == "small_dense") & (ten["submission"] == "ada-small")].to_dict("records")
    assert row["value"] == pytest.approx(sum(one.accuracy.test for one in records) / 5)
    assert row["low"] <= row["value"] <= row["high"] and row["version"] == 2
    assert ten.groupby("method")["rank"].nunique().max() == 1  # the same numbers, sent twice
    pages = sorted(site.glob("*.html"))
    assert {page.name for page in pages} >= {
        "index.html",
        "history.html",
        "task-digits-v2.html",
        "method-magnitude.html",
    }
    tags = {page.name: Reader(page.read_text(encoding="utf-8")).tags for page in pages}
    names = {page: {given["id"] for _, given in found if "id" in given} for page, found in tags.items()}
    for page in pages:
        for link in (given["href"] for tag, given in tags[page.name] if tag == "a"):
            path, anchor = urldefrag(unquote(link))
            assert not path or (site / path).is_file(), (page.name, link)
            assert not anchor or anchor in names[path or page.name], (page.name, link)
    assert len(list(site.glob("records/ada-small/runs/**/record.json"))) == 10


def test_a_frozen_board_is_built_again_to_the_same_bytes_or_not_at_all(archive, sent, tmp_path, complaint):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["board", str(archive), "--to", str(first), "--freeze", "2026.1"]) == 0
    again = ["--to", str(second), "--frozen", str(first / "board.json")]
    assert main(["board", str(sent), str(archive), *again]) == 0  # what was sent later is not on it
    files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(second): path.read_bytes() for path in second.rglob("*") if path.is_file()}
    assert b"2026.1" in files[Path("index.html")]
    shutil.rmtree(second)
    without_models(sent)
    reseal(sent)
    assert "ada-small: the submission that was frozen" in complaint("board", sent, *again) and not second.exists()


# ---------------------------------------------------------------------- planted cheats


def changed_accuracy(folder: Path) -> None:
    alter(run(folder), "accuracy", test=0.99)


def exchanged_model(folder: Path) -> None:
    shutil.copyfile(run(folder, seed=0) / "model.safetensors", run(folder) / "model.safetensors")


def other_split(folder: Path) -> None:
    alter(run(folder), "provenance", split_digest="0" * 64)


def other_split_without_models(folder: Path) -> None:
    other_split(folder)
    without_models(folder)


def other_data(folder: Path) -> None:
    for path in folder.rglob("record.json"):
        alter(path.parent, fingerprint="0" * 64)
    alter_plan(folder, lambda plan: plan["tasks"]["digits"].update(fingerprint="0" * 64))


def other_data_than_planned(folder: Path) -> None:
    alter(run(folder), task_spec=read_record(run(folder) / "record.json").task_spec | {"test_share": 0.1})


def longer(folder: Path) -> None:
    """Twice the epochs, in the record and in its stages."""
    record = read_record(run(folder) / "record.json")
    stages = [stage.model_copy(update={"epochs": 2 * stage.epochs}) for stage in record.stages]
    alter(run(folder), training=record.training | {"epochs": 16}, stages=stages)


def longer_stages(folder: Path) -> None:
    record = read_record(run(folder) / "record.json")
    alter(run(folder), stages=[stage.model_copy(update={"epochs": 40}) for stage in record.stages])


def longer_plan(folder: Path) -> None:
    """All runs, and the plan as well: against the task of the board."""
    without_models(folder)
    for path in folder.rglob("record.json"):
        record = read_record(path)
        stages = [stage.model_copy(update={"epochs": 2 * stage.epochs}) for stage in record.stages]
        alter(path.parent, training=record.training | {"epochs": 16}, stages=stages)
    alter_plan(folder, lambda plan: plan["tasks"]["digits"]["training"].update(epochs=16))


class Code:
    def __reduce__(self):
        return Path.write_text, (Path(MARKER), "")


def pickle_for_a_model(folder: Path) -> None:
    (run(folder) / "model.safetensors").write_bytes(pickle.dumps(Code()))


def zip_of_torch_for_a_model(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, run(folder) / "model.safetensors")


def pickle_beside_a_model(folder: Path) -> None:
    (run(folder) / "model.pkl").write_bytes(pickle.dumps(Code()))


def left_out_seed(folder: Path) -> None:
    shutil.rmtree(run(folder))


@pytest.mark.parametrize(
    ("cheat", "named"),
    [
        (changed_accuracy, "seed-1: accuracy.test is recorded as 0.99, and is 0."),
        (exchanged_model, "seed-1: model_digest is recorded as"),
        (other_split, "seed-1: provenance.split_digest is recorded as 000000000000"),
        (other_split_without_models, "seed-1: is of another split than the runs of seed 1 of ada-small"),
        (other_data, "was made from other data"),
        (
            other_data_than_planned,
            "seed-1: missing: planned; the record in its place is of other inputs: task test_share 0.1 (plan: 0.3)",
        ),
        (longer, "seed-1: missing: planned; the record in its place is of other inputs: training epochs 16 (plan: 8)"),
        (longer_stages, "seed-1: stages (epochs in all) is recorded as"),
        (longer_plan, "task digits, version 2: training epochs 16 (ada-small's: 8)"),
        (pickle_for_a_model, "seed-1/model.safetensors: is a pickle, which can run code"),
        (zip_of_torch_for_a_model, "seed-1/model.safetensors: is an archive of pickles"),
        (pickle_beside_a_model, "seed-1/model.pkl: no file of a submission, and may hold code"),
        (left_out_seed, "seed-1: missing: planned, but there is no record"),
    ],
)
def test_a_cheat_is_named_and_left_out(archive, sent, tmp_path, monkeypatch, cheat, named):
    monkeypatch.chdir(tmp_path)
    cheat(sent)
    reseal(sent)
    found = reasons(tmp_path, archive, sent)
    assert found.keys() <= {"bob-small", "sent"} and len(found) == 1
    assert named in next(iter(found.values()))
    assert not Path(MARKER).exists()


def test_files_that_are_not_those_sent_and_names_taken_twice(archive, sent, tmp_path):
    (run(sent) / "history.csv").write_text("epoch\n")
    assert "is not the file that was submitted" in reasons(tmp_path, sent)["bob-small"]
    (run(sent) / "history.csv").unlink()
    assert "is missing; it is listed" in reasons(tmp_path / "b", sent)["bob-small"]
    assert "another submission of the name" in reasons(tmp_path / "c", archive, archive)["ada-small"]


@pytest.mark.parametrize("length", [0x80, 0x4B50, 0x2123])  # of a header: its first bytes are those of other kinds
def test_a_safetensors_file_is_none_of_the_files_that_hold_code(length):
    content = length.to_bytes(8, "little") + b"{" + b" " * (length - 1)
    assert submissions._is_safetensors(content[:9], len(content))
    assert not submissions._is_safetensors(content[:9], len(content) - 1)


@pytest.mark.parametrize("name", ["../outside.json", "/tmp/outside.json", "runs/../../outside/record.json"])
def test_an_archive_writes_nothing_outside(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, "{}")
    assert "no path below" in reasons(tmp_path, tmp_path / "bad.zip")["bad.zip"]
    assert not list(tmp_path.glob("**/outside*"))


def test_links_are_refused(sent, tmp_path):
    (sent / "plan.json").unlink()
    (sent / "plan.json").symlink_to("/etc/passwd")
    assert "plan.json: is a link" in reasons(tmp_path, sent)["sent"]


def test_foreign_code_is_never_imported_and_its_runs_stay_as_submitted(sent, tmp_path):
    plugin = tmp_path / "stranger.py"
    plugin.write_text(f"from pathlib import Path\nPath({str(tmp_path / MARKER)!r}).touch()\n")
    moved = sent / "runs/digits/stranger"
    (sent / "runs/digits/small_dense").rename(moved)
    for path in moved.rglob("record.json"):
        alter(path.parent, method="stranger")

    def with_plugin(plan):
        plan["plugins"] = [str(plugin)]
        plan["methods"]["stranger"] = plan["methods"].pop("small_dense") | {"path": str(plugin)}
        for one in plan["runs"]:
            if one["method"] == "small_dense":
                one.update(method="stranger", path=one["path"].replace("/small_dense/", "/stranger/"))

    alter_plan(sent, with_plugin)
    reseal(sent)
    entries, left_out = admitted(opened([sent], tmp_path / "work"))
    assert not left_out and not (tmp_path / MARKER).exists()
    frame = numbers(entries)
    assert set(frame.loc[frame["method"] == "stranger", "badge"]) == {AS_SUBMITTED}
    assert set(frame.loc[frame["method"] == "magnitude", "badge"]) == {AGAIN}


def test_bad_input_is_one_line_and_leaves_the_site_alone(archive, tmp_path, complaint):
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.tex").write_text("mine")
    for arguments, words in [
        (["board", str(archive), "--to", str(own)], "is there, and no board"),
        (["board", str(tmp_path / "gone.zip"), "--to", str(tmp_path / "site")], "no such submission"),
        (["board", str(own), "--to", str(tmp_path / "site")], "no submission can be shown"),
        (["submit", str(tmp_path / "gone"), "--as", "ada"], "no such folder"),
        (["submit", str(own), "--as", "ada"], "has no plan.json"),
        (["appendix", str(tmp_path / "gone")], "no such folder"),
        (["appendix", str(own)], "no run has finished"),
    ]:
        assert words in complaint(*arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]
    assert (own / "thesis.tex").read_text() == "mine"


def test_the_old_site_stays_until_the_new_one_is_in_its_place(archive, tmp_path, monkeypatch):
    site = tmp_path / "site"
    build_board(opened([archive], tmp_path / "work"), site)
    before = (site / "index.html").read_bytes()
    moved, rename = [], Path.rename

    def fail_once(source: Path, target: Path) -> Path:
        moved.append(target)
        if moved.count(site) == 1 and target == site:
            raise OSError("cannot be moved")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="cannot be moved"):
        build_board(opened([archive], tmp_path / "again"), site, version="2026.1")
    assert (site / "index.html").read_bytes() == before
    assert not list(tmp_path.glob(".site.*"))
    build_board(opened([archive], tmp_path / "third"), site, version="2026.1")
    assert "2026.1" in (site / "index.html").read_text() and not list(tmp_path.glob(".site.*"))


# ---------------------------------------------------------------------- submitting, versions, the appendix


def test_submitting_twice_gives_the_same_bytes_and_says_what_is_missing(archive, results, tmp_path, complaint):
    own = shutil.copytree(results, tmp_path / "own")
    call = ["submit", str(own), "--as", "ada", "--to", str(tmp_path / "to")]
    assert main(call) == 0
    assert (tmp_path / "to/ada-small.zip").read_bytes() == archive.read_bytes()
    shutil.rmtree(tmp_path / "to")
    (run(own) / "model.safetensors").unlink()
    assert "1 of 15 runs have no model.safetensors" in complaint(*call)
    shutil.rmtree(run(own))
    assert "missing: planned, but there is no record" in complaint(*call) and not (tmp_path / "to").exists()
    assert main([*call, "--unfinished", "--without-models"]) == 0
    (entry,), _ = admitted(opened([tmp_path / "to/ada-small.zip"], tmp_path / "work"))
    assert [Path(path).name for path in entry.submission.missing] == ["seed-1"]
    alter(run(own, seed=2), "accuracy", test=0.99)
    assert "accuracy.test is recorded as 0.99" in complaint(*call[:3], "ada", "--unfinished")
    assert "--as 'a b'" in complaint(*call[:3], "a b", "--unfinished")


def test_the_first_version_of_a_task_leaves_digests_as_they_were():
    assert "version" not in TaskSpec(name="digits").model_dump()
    assert TaskSpec(name="digits", version=2).model_dump()["version"] == 2


def test_the_appendix_has_a_row_for_every_claim_and_table(results, tmp_path, capsys):
    assert main(["appendix", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "| Claim or table | Command | Minutes | Expected | Found |"
    assert all(row.count(" | ") == 4 for row in rows)
    (first,) = [row for row in rows if row.startswith("| All runs")]
    assert "small.yaml`" in first and first.endswith("| 15 runs | 15 ok |")
    assert any(row.startswith("| Task digits") for row in rows)
    assert main(["appendix", str(results), "--format", "latex", "--out", str(tmp_path / "a.tex")]) == 0
    assert r"\toprule" in (tmp_path / "a.tex").read_text()


def test_a_crate_describes_the_folder_and_keeps_its_files(results, tmp_path, capsys):
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed: pip install rocrate==0.16.0")
    own = shutil.copytree(results, tmp_path / "own")
    assert main(["crate", str(own)]) == 0
    written = (own / "ro-crate-metadata.json").read_bytes()
    crate = rocrate.ROCrate(own)  # which raises if a file of it is not there
    assert crate.mainEntity.type == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    profiles = {entity.id for entity in crate.root_dataset["conformsTo"]}
    assert {"https://w3id.org/ro/wfrun/process/0.5", "https://w3id.org/ro/wfrun/workflow/0.5"} <= profiles
    (action,) = [entity for entity in crate.contextual_entities if entity.type == "CreateAction"]
    assert action["instrument"] is crate.mainEntity and action["object"][0].id == "plan.json"
    assert {entity.id for entity in action["result"]} == {"runs/"}
    assert main(["crate", str(own)]) == 0 and (own / "ro-crate-metadata.json").read_bytes() == written
    before = {path.relative_to(results) for path in results.rglob("*") if path.is_file()}
    new = {path.relative_to(own) for path in own.rglob("*") if path.is_file()} - before
    assert Path("ro-crate-metadata.json") in new and all((own / name).is_file() for name in included(own / "Snakefile"))
    again = read_experiment(own / "experiment.json").model_dump(mode="json")
    assert again == json.loads((own / "plan.json").read_text())["config"]


def included(file: Path) -> list[str]:
    """The files that a Snakefile includes, and those that they include, relative to its folder."""
    names = re.findall(r'^include: "(.+)"$', file.read_text(), re.MULTILINE)
    deeper = [f"{Path(name).parent}/{below}" for name in names for below in included(file.parent / name)]
    return [*names, *deeper]


def test_a_crate_of_a_tiny_variant_makes_that_variant():
    content = {"tasks": ["digits"], "methods": {"dense": None}, "tiny": {"seeds": [0]}}
    content |= {"name": "e", "protocol": "as_released", "scale": "tiny"}
    planned = check_experiment(content, "e.yaml")
    again = check_experiment(_as_written(planned.model_dump(mode="json")), "experiment.json")
    assert again == planned and again.name == "e_as_released_tiny"
