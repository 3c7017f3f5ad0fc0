"""Files of other versions of squeezebench: older ones are read, newer ones are neither read nor replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from altered_records import signed
from synthetic_records import record as synthetic

from squeezebench import __version__
from squeezebench.base.errors import InputError
from squeezebench.engine.run import execute, kept_record
from squeezebench.method.discovery import find_methods
from squeezebench.pipeline.plan_file import write_plan
from squeezebench.pipeline.tuning.tuner import Study, kept_result
from squeezebench.pipeline.workflow import load_plan
from squeezebench.report import build_report
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.inference import INFERENCE_NAME
from squeezebench.schema.record import RECORD_NAME, read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.stored import SCHEMA_VERSION, NewerError, write_json
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.tuning import Tuning
from squeezebench.schema.verification import VERIFICATION
from squeezebench.tools.latency import measure
from squeezebench.tools.verify.saved import verify

KEPT = Path(__file__).parent / "records"
NEWER = SCHEMA_VERSION + 1
SAYS = rf"written by squeezebench 9\.1\.0 in schema {NEWER}; this is squeezebench {__version__}"
SPEC = RunSpec(task=TaskSpec(name="digits", source="digits"), method="dense", settings={})
DENSE = find_methods()["dense"]


def seal(path: Path, content: dict) -> Path:
    """A file whose digest is right, whoever wrote it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(signed(content))
    return path


def newer(path: Path, content: dict | None = None) -> Path:
    """A sealed file of squeezebench 9.1.0 with a field that only it knows."""
    if content is None:
        content = synthetic("digits", "vib_lstm", 2, 0).model_dump(mode="json")
        content["provenance"]["squeezebench"] = "9.1.0"
    return seal(path, content | {"schema_version": NEWER, "of_the_future": {"value": 1}})


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- older ones are read


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.json")), ids=lambda path: path.stem)
def test_records_of_every_schema_stay_readable(path):
    """Files that versions of the history left, `schema_N.json` by the last one of schema N."""
    kept = read_record(path)
    assert kept.status == "ok" and path.stem.startswith(f"schema_{kept.schema_version}")
    assert (kept.task_spec is None) == path.stem.endswith("without_task")


def test_a_record_of_every_schema_is_kept_and_the_newest_has_every_field():
    """If this fails after a field was added: raise SCHEMA_VERSION and keep a record that has the field."""
    for schema in range(1, SCHEMA_VERSION + 1):
        assert (KEPT / f"schema_{schema}.json").is_file()
    content = json.loads((KEPT / f"schema_{SCHEMA_VERSION}.json").read_bytes())
    known = read_record(KEPT / f"schema_{SCHEMA_VERSION}.json").model_dump(mode="json")
    assert content.keys() == known.keys() | {"digest"}
    for key, part in known.items():
        assert not isinstance(part, dict) or part.keys() == content[key].keys(), key


# ---------------------------------------------------------------------- newer ones stop whoever would replace them


def plan_of(folder: Path) -> None:
    experiment = {"name": "e", "tasks": ["digits"], "methods": {"dense": None}, "runs_per_job": 1}
    write_plan(check_experiment(experiment, "e.yaml"), "e.yaml", folder.parent, costs=False)


def workflow_of(folder: Path) -> None:
    load_plan({"name": "e", "tasks": ["digits"], "methods": {"dense": None}}, ["e.yaml"], folder.parent)


def run_of(folder: Path) -> None:
    execute(SPEC, DENSE, folder / "runs", folder / "starts")


def tuning_of(folder: Path) -> None:
    kept_result(Study(SPEC, DENSE, {}, Tuning(trials=1)), folder / "tuning" / "dense.json")


def inference_of(folder: Path) -> None:
    measure(folder, [], [])


PLAN = {"squeezebench": "9.1.0", "runs": [], "experiment": "e"}
NEWER_FILES = {  # what is called -> the file that a newer version left
    run_of: f"runs/{RECORD_NAME}",
    build_report: f"runs/digits/{RECORD_NAME}",
    verify: f"runs/digits/{RECORD_NAME}",
    tuning_of: "tuning/dense.json",
    plan_of: "plan.json",
    workflow_of: "plan.json",
    inference_of: INFERENCE_NAME,
}


@pytest.mark.parametrize("call", NEWER_FILES, ids=lambda call: call.__name__)
def test_a_newer_version_is_named_and_nothing_is_touched(tmp_path, call):
    folder = tmp_path / "results" / "e"
    name = NEWER_FILES[call]
    newer(folder / name, None if name.startswith("runs") else PLAN)
    (folder / Path(name).parent / "model.safetensors").write_bytes(b"kept")
    before = state(folder)
    with pytest.raises(NewerError, match=SAYS) as error:
        call(folder)
    assert len(str(error.value).splitlines()) == 1
    assert {name: content for name, content in state(folder).items() if name in before} == before
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(("name", "calls"), [(VERIFICATION, [verify, build_report]), (INFERENCE_NAME, [build_report])])
def test_the_page_and_the_verification_stop_at_newer_measurements(tmp_path, name, calls):
    seal(tmp_path / "runs" / "digits" / RECORD_NAME, synthetic("digits", "vib_lstm", 2, 0).model_dump(mode="json"))
    newer(tmp_path / name, PLAN)
    before = state(tmp_path)
    for call in calls:
        with pytest.raises(NewerError, match=SAYS):
            call(tmp_path)
    assert state(tmp_path) == before


def test_no_json_file_of_a_newer_schema_is_ever_replaced(tmp_path):
    path = newer(tmp_path / "any.json", PLAN)
    before = path.read_bytes()
    with pytest.raises(NewerError, match=SAYS):
        write_json(path, {})
    assert path.read_bytes() == before


def test_the_command_line_stops_with_one_line(tmp_path, complaint):
    newer(tmp_path / "one" / RECORD_NAME)
    before = state(tmp_path)
    call = ["run", "--task", "digits", "--method", "dense", "--train", "epochs=1", "--out", tmp_path / "one"]
    assert "written by squeezebench 9.1.0" in complaint(*call)
    assert {name: content for name, content in state(tmp_path).items() if name in before} == before


def test_a_sound_record_with_an_unknown_field_is_of_another_version_and_stays(tmp_path):
    """A version between two releases may add a field before it raises the schema."""
    content = synthetic("digits", "vib_lstm", 2, 0).model_dump(mode="json") | {"of_a_branch": 1}
    path = seal(tmp_path / RECORD_NAME, content)
    with pytest.raises(InputError, match=r"of_a_branch: .* it is undamaged .* move the file away"):
        kept_record(SPEC, DENSE, tmp_path)
    assert path.is_file()


def test_a_damaged_record_is_still_made_again(tmp_path):
    path = newer(tmp_path / RECORD_NAME)
    path.write_text(path.read_text().replace('"digits"', '"figits"'))
    assert kept_record(SPEC, DENSE, tmp_path) is None


def test_the_receipt_of_a_record_of_another_version_stays(tmp_path):
    """Snakemake's plan removes receipts of records that cannot be read, so that their jobs are made again."""
    given = {"name": "e", "tasks": ["digits"], "methods": {"dense": None}, "seeds": [0], "runs_per_job": 1}
    plan = load_plan(given, ["e.yaml"], tmp_path)
    (run,) = plan["runs"]
    receipt = tmp_path / "e" / "jobs" / f"{run['job']}.json"
    receipt.parent.mkdir(parents=True)
    receipt.touch()
    newer(tmp_path / "e" / run["path"] / RECORD_NAME)
    with pytest.raises(NewerError, match=SAYS):
        load_plan(given, ["e.yaml"], tmp_path)
    assert receipt.exists()
    shutil.rmtree(tmp_path / "e" / "runs")
    load_plan(given, ["e.yaml"], tmp_path)
    assert not receipt.exists()
