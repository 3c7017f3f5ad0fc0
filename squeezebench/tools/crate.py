"""`squeezebench crate RESULTS`: a folder of results as an RO-Crate of the Workflow Run profile.

It adds `ro-crate-metadata.json`, a copy of the workflow and the experiment that it makes, so that `snakemake` in the
folder makes the results again; everything else stays as it is. The library `rocrate` writes the format
(https://w3id.org/ro/wfrun/workflow/0.5). The same results give the same bytes.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from squeezebench import __version__
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import PROJECT
from squeezebench.base.reading import inside
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.schema.experiment import suffix
from squeezebench.schema.record import RecordError, read_record, record_files
from squeezebench.schema.stored import in_json
from squeezebench.schema.submission import PLAN

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
}
WORKFLOW = PROJECT / "workflow"
EXPERIMENT = "experiment.json"
SNAKEFILE = f"""# `snakemake --cores N` makes these results again; it needs squeezebench {__version__}.
EXPERIMENT = f"{{workflow.current_basedir}}/{EXPERIMENT}"


include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
"""
RESULTS = ("report.html", "audit.html", "verification.json", "inference.json")  # files, where they are there
FOLDERS = {"runs": "the records and networks of all runs", "tables": "tables of the report", "figures": "its figures"}


def write_crate(folder: Path) -> Path:
    """Describe the results in `folder`; return the path of the description. Raises InputError: no plan, no finished
    run, or the library is not installed."""
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise InputError("an RO-Crate takes the package rocrate: pip install 'squeezebench[crate]'") from None
    plan, finished = read_plan(folder / PLAN), _finished(folder)
    crate = ROCrate()
    crate.name = f"squeezebench: {plan.experiment}"
    crate.description = plan.description or f"Results of the experiment {plan.experiment}"
    crate.datePublished = finished[-1]
    crate.license = "not stated"  # whose results they are says under which they may be used
    files = _workflow_files(plan.config)
    for name, content in files.items():
        write_atomically(inside(folder, folder / name), content)
    workflow = crate.add_workflow(folder / "Snakefile", "Snakefile", main=True, lang="snakemake",
                                  properties={"name": "squeezebench", "version": __version__})  # fmt: skip
    workflow["hasPart"] = [crate.add_file(folder / name, name) for name in files if name != "Snakefile"]
    _add_profiles(crate)
    _add_action(crate, workflow, folder, plan.description, finished)
    write_atomically(inside(folder, folder / METADATA), in_json(crate.metadata.generate()))
    return folder / METADATA


def _workflow_files(config: dict[str, Any]) -> dict[str, bytes]:
    """Name -> content of all files that the workflow reads: what it includes, its environment, and the experiment."""
    paths = sorted(path for path in WORKFLOW.rglob("*") if path.name == "Snakefile" or path.suffix in (".smk", ".yaml"))
    files = {f"workflow/{path.relative_to(WORKFLOW).as_posix()}": path.read_bytes() for path in paths}
    experiment = json.dumps(_as_written(config), indent=1)  # keys in their order, which is that of the report
    return {"Snakefile": SNAKEFILE.encode(), EXPERIMENT: experiment.encode(), **files}


def _as_written(config: dict[str, Any]) -> dict[str, Any]:
    """The experiment of a plan, such that reading it gives the same again: a variant adds its name anew, and a tiny one
    has to say what it is."""
    content = {key: value for key, value in config.items() if value is not None}
    content["name"] = content["name"].removesuffix(suffix(content))
    return content | ({"tiny": {"description": content["description"]}} if content["scale"] == "tiny" else {})


def _finished(folder: Path) -> list[datetime]:
    """When the runs finished, in their order. Raises InputError if none has."""
    moments = []
    for path in record_files(folder):
        try:
            moment = read_record(path).provenance.finished
        except RecordError:
            continue
        moments += [datetime.fromisoformat(moment)] if moment else []
    if not moments:
        raise InputError(f"{folder}: no run has finished; a crate describes results")
    return sorted(moments)


def _add_profiles(crate: Any) -> None:
    """The root names every profile that the crate conforms to."""
    from rocrate.model.contextentity import ContextEntity

    kinds = [
        crate.add(ContextEntity(crate, url, properties={"@type": "CreativeWork", "name": name, "version": "0.5"}))
        for url, name in PROFILES.items()
    ]
    known = crate.root_dataset.get("conformsTo") or []
    crate.root_dataset["conformsTo"] = [*(known if isinstance(known, list) else [known]), *kinds]


def _add_action(crate: Any, workflow: Any, folder: Path, description: str, finished: list[datetime]) -> None:
    """The one execution of the workflow: from the plan to the records and the report."""
    from rocrate.model.contextentity import ContextEntity

    plan = crate.add_file(
        folder / PLAN, PLAN, properties={"name": "plan of the runs", "encodingFormat": "application/json"}
    )
    outputs = [crate.add_file(folder / name, name) for name in RESULTS if (folder / name).is_file()]
    outputs += [crate.add_dataset(folder / name, name, properties={"description": text})
                for name, text in FOLDERS.items() if (folder / name).is_dir()]  # fmt: skip
    properties = {
        "@type": "CreateAction",
        "name": "snakemake",
        "description": description,
        "startTime": finished[0].isoformat(),  # records say when a run finished: the first one that did
        "endTime": finished[-1].isoformat(),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    action = crate.add(ContextEntity(crate, "#run", properties=properties))
    action["instrument"], action["object"], action["result"] = workflow, [plan], outputs
    crate.root_dataset["mentions"] = action
