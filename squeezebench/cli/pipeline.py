"""An experiment step by step, as the Snakefile calls it: `plan`, `starts`, `tune`, `job`, `report`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.reading import results_folder
from squeezebench.cli.arguments import assignments
from squeezebench.cli.log_file import add_log
from squeezebench.report.formats import plural


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see main.py."""
    plan = add("plan", _plan, "check an experiment and write the list of its runs")
    plan.add_argument("experiment", type=Path, help="its YAML file")
    plan.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's: laid over the file")
    plan.add_argument("--results", type=Path, default=Path("results"), help="plan.json goes to RESULTS/NAME")
    plan.add_argument("--gpu-tflops", type=float, help="what your GPU sustains in float32, for the cost estimate")
    plan.add_argument("--json", action="store_true", help="the estimated cost as JSON")
    plan.add_argument("--elsewhere", action="store_true", help="the runs are made on another machine, which has a GPU")
    plan.add_argument("--config-from-stdin", action="store_true", help="the experiment as JSON (the Snakefile's)")
    plan.add_argument("--key", default="", help=argparse.SUPPRESS)
    plan.add_argument("--files", nargs="+", default=[], help=argparse.SUPPRESS)
    for name, text in [
        ("starts", "train the dense networks that the runs of one task of a plan start from"),
        ("tune", "make the trials of one method on one task (TASK/METHOD) of a plan"),
        ("job", "make the runs of one job of a plan"),
    ]:
        step = add(name, partial(_step, name), text)
        step.add_argument("plan", type=Path, help="plan.json of the experiment")
        step.add_argument("id", help="the job, as the plan names it")
        step.add_argument("--receipt", type=Path, help="file that says what the job made")
        add_log(step)
        step.add_argument("--threads", type=int, default=1, help="of PyTorch")
    report = add("report", _report, "build report.html from a folder of records")
    report.add_argument("folder", type=Path, help="results of an experiment, or the folder of one run")
    add_log(report)
    report.add_argument("--verify", action="store_true", help="measure the saved models again; status 1 on a problem")
    report.add_argument("--sample", type=int, metavar="N", help="with --verify: measure N models, drawn at random")
    report.add_argument(
        "--plugins",
        action="append",
        default=[],
        help="a file or folder of plugins: figures and tables, and with --verify methods and data sources",
    )


def _plan(options: argparse.Namespace) -> None:
    from squeezebench.pipeline.plan_file import write_plan
    from squeezebench.schema.experiment import check_experiment, read_experiment

    where, snakefile = str(options.experiment), options.config_from_stdin
    if snakefile:
        experiment = check_experiment({"name": options.experiment.stem} | json.load(sys.stdin), where)
    else:
        experiment = read_experiment(options.experiment, assignments(options.config, "--config"))
    plan, path, sizes = write_plan(
        experiment,
        where,
        options.results,
        options.key,
        not snakefile,
        options.gpu_tflops,
        options.files,
        options.elsewhere,
    )
    if snakefile:
        return
    if options.json:
        print(json.dumps({"plan": str(path)} | sizes["costs"], indent=1))
    else:
        planned = f"{plural(len(plan.runs), 'run')} in {plural(len(plan.jobs), 'job')}"
        print(f"{planned}; wrote {path}", *sizes["lines"], sep="\n")


def _step(name: str, options: argparse.Namespace) -> None:
    from squeezebench.pipeline.worker import run_job, train_starts, tune_job

    make = {"starts": train_starts, "tune": tune_job, "job": run_job}[name]
    make(options.plan, options.id, options.receipt, options.threads)


def _report(options: argparse.Namespace) -> int:
    from squeezebench.report import build_report
    from squeezebench.tools.changed import changed_methods

    _refuse_without_records(results_folder(options.folder))
    sound = _verified(options)
    print(build_report(options.folder, plugins=options.plugins))
    if changed := changed_methods(options.folder, options.plugins):
        print(f"squeezebench: {changed}", file=sys.stderr)
    return 0 if sound else 1


def _refuse_without_records(folder: Path) -> None:
    """Raise InputError if the folder has neither records nor a plan: a wrong folder is not to be filled with a page."""
    from squeezebench.schema.record import record_files

    if not ((folder / "plan.json").exists() or record_files(folder)):
        raise InputError(
            f"{folder}: no records in it, and no plan.json; give the folder of an experiment (results/NAME) or of a run"
        )


def _verified(options: argparse.Namespace) -> bool:
    """Verify the folder of a report where that is asked for; False if a problem was found."""
    if not options.verify:
        if options.sample is not None:
            raise InputError("--sample goes with --verify")
        return True
    from squeezebench.tools.verify.saved import as_text, verify

    verified = verify(options.folder, options.sample, options.plugins, progress=sys.stderr.isatty())
    print(as_text(verified))
    return not verified.problems
