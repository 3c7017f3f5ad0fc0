"""The command line. Each command is one function; heavy imports happen inside it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from . import __version__
from .checking import add_commands as add_checking_commands
from .checking import add_verify, verified
from .errors import InputError
from .video.commands import add_commands as add_data_commands

BAD_INPUT = 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Wrong input prints one line and returns 2."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages for large tensors; before its import
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    options = _parser().parse_args(arguments)
    try:
        status = options.command(options) or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"squeezebench: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None:
            raise
        print(f"squeezebench: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("squeezebench: interrupted; finished runs are kept, call again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="squeezebench", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"squeezebench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, function, text: str, *, plugins: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        if plugins:
            command.add_argument("--plugins", action="append", default=[], help="method file, or folder of them")
        return command

    run = add("run", _run, "make one run without Snakemake", plugins=True)
    run.add_argument("--task", required=True, help="digits, ucr:NAME, file:PATH, ...")
    run.add_argument("--method", required=True)
    run.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a setting of the method")
    run.add_argument("--train", action="append", default=[], metavar="KEY=VALUE", help="a training setting")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--out", type=Path, required=True, help="folder for record.json, model.safetensors, ...")
    run.add_argument("--threads", type=int, default=1)

    methods = add("methods", _methods, "list the methods and their knobs", plugins=True)
    methods.add_argument("--json", action="store_true")
    tasks = add("tasks", _tasks, "list the data sources")
    tasks.add_argument("--json", action="store_true")

    count = add("count", _count, "parameters of a method's compact network, closed form and constructed", plugins=True)
    count.add_argument("--method", required=True)
    count.add_argument("--input", type=int, required=True, metavar="D")
    count.add_argument("--hidden", type=int, required=True, metavar="H")
    count.add_argument("--classes", type=int, default=11)
    count.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE")
    count.add_argument("--json", action="store_true")

    new = add("new-method", _new_method, "write a method file that passes the contract tests")
    new.add_argument("name")
    new.add_argument("--folder", type=Path, default=Path("methods"))
    check = add("check", _check, "run the contract tests on one method", plugins=True)
    check.add_argument("method", help="a method's name or file")

    plan = add("plan", _plan, "check an experiment and write the list of its runs")
    plan.add_argument("experiment", type=Path)
    plan.add_argument("--config", nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's: replaces a key")
    plan.add_argument("--results", type=Path, default=Path("results"))
    plan.add_argument("--gpu-tflops", type=float, help="what your GPU sustains in float32, for the cost estimate")
    plan.add_argument("--json", action="store_true", help="the estimated cost as JSON")
    plan.add_argument("--config-from-stdin", action="store_true", help="the experiment as JSON (the Snakefile's)")
    plan.add_argument("--key", default="", help=argparse.SUPPRESS)
    for name, function, text in [
        ("starts", _starts, "train the dense starts of one task of a plan"),
        ("tune", _tune, "make the trials of one method on one task (TASK/METHOD) of a plan"),
        ("job", _job, "make the runs of one job of a plan"),
    ]:
        step = add(name, function, text)
        step.add_argument("plan", type=Path)
        step.add_argument("id")
        step.add_argument("--receipt", type=Path)
        step.add_argument("--threads", type=int, default=1)
    data = commands.add_parser("data", help="fetch, check and prepare the video data sets")
    add_data_commands(data.add_subparsers(required=True, metavar="action"))
    inference = add("inference", _inference, "measure the speed of saved compact networks on a quiet machine")
    inference.add_argument("folder", type=Path, help="results of an experiment; writes inference.json there")
    inference.add_argument("--all", action="store_true", help="every run, not only those of settings that are picked")
    inference.add_argument("--seconds", type=float, default=1.0, help="for each batch size of each network")
    inference.add_argument("--steps", type=int, help="for older records, which do not say theirs")
    export = add("export", _export, "write a run's compact network as a standard LSTM or GRU for other programs")
    export.add_argument("record", type=Path, help="a run's folder, or its record.json")
    export.add_argument("--format", choices=["onnx", "torch", "safetensors"], default="onnx")
    export.add_argument("--precision", choices=["float32", "int8"], default="float32", help="int8: onnx only, scored")
    export.add_argument("--out", type=Path, help="file to write; default: beside the record")
    export.add_argument("--lengths", action=argparse.BooleanOptionalAction, help="onnx: a second input `length`")
    audit = add("audit", _audit, "recompute the figures that the papers print")
    audit.add_argument("--json", action="store_true")
    verdicts = "only such checks: ok, rounding, mismatch or 'not checkable'; may be given again"
    audit.add_argument("--verdict", action="append", default=[], metavar="VERDICT", help=verdicts)
    audit.add_argument("--html", type=Path, metavar="FILE", help="write the page of all checks instead")
    report = add("report", _report, "build report.html from a folder of records")
    report.add_argument("folder", type=Path)
    add_verify(report)
    add_checking_commands(add)
    return parser


def assignments(pairs: list[str], option: str) -> dict[str, Any]:
    """`["beta=0.5"]` -> `{"beta": 0.5}`; values are read as YAML scalars or lists."""
    import yaml

    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {pair!r}: write {option} name=value")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"{option} {pair!r}: the value is not readable") from None
    return found


def _run(options: argparse.Namespace) -> int:
    import torch

    from .discovery import find_methods, load, pick
    from .experiment import validated
    from .plan import fingerprint
    from .run import RunSpec, execute, settings_of
    from .task import load_task, task_spec
    from .training import TrainingSettings

    if options.threads < 1:
        raise InputError(f"--threads {options.threads}: give at least 1")
    torch.set_num_threads(options.threads)
    file = pick(find_methods(options.plugins), options.method)
    varied = assignments(options.set, "--set")
    settings = settings_of(load(file), varied, "--set").model_dump(mode="json")
    shared = {k: v for k, v in settings.items() if k in RunSpec.model_fields["model"].annotation.model_fields}
    task = task_spec(options.task)
    spec = RunSpec(
        experiment=options.out.name,
        task=task,
        fingerprint=fingerprint(task),
        method=options.method,
        settings=settings,
        varied=varied,
        seed=options.seed,
        training=validated(TrainingSettings, assignments(options.train, "--train"), "--train"),
        model=shared,
    )
    load_task(task, options.seed)  # what is wrong with the data is the user's to know, not a failed run
    record = execute(spec, file, options.out, options.out / "starts", progress=sys.stderr.isatty())
    if record.status == "ok":
        print(
            f"{record.task} {record.method} seed {record.seed}: test {record.accuracy.test:.1%}, "
            f"{record.counts.lstm_total:,} recurrent parameters ({record.ratio.lstm_total or '-'}x); {options.out}"
        )
        return 0
    print(f"{record.task} {record.method} seed {record.seed}: {record.status}: {record.reason}", file=sys.stderr)
    return 0 if record.status == "skipped" else 1


def _methods(options: argparse.Namespace) -> None:
    from .discovery import find_methods, load

    listing, broken = [], 0
    for name, file in find_methods(options.plugins).items():
        try:
            method = load(file)
        except InputError as error:
            listing.append({"name": name, "error": str(error)})
            broken += 1
            continue
        schema = method.Settings.model_json_schema()
        knobs = {
            knob: {k: v for k, v in field.items() if k in ("description", "default", "search", "axis", "enum", "type")}
            for knob, field in schema.get("properties", {}).items()
        }
        listing.append(
            {
                "name": name,
                "title": method.title,
                "summary": (method.__doc__ or "").strip().split("\n")[0],
                "paper": method.paper,
                "control": method.control,
                "kinds": list(method.kinds),
                "settings": knobs,
            }
        )
    if options.json:
        print(json.dumps(listing, indent=1))
        return
    for entry in listing:
        print(f"{entry['name']:16} {entry.get('error') or entry['summary']}")
        for knob, field in entry.get("settings", {}).items():
            print(f"    {knob} = {field.get('default')}: {field.get('description', '')}")


def _tasks(options: argparse.Namespace) -> None:
    from .tasks import available

    sources = available()
    if options.json:
        print(
            json.dumps([{"name": n, "summary": s.summary, "options": s.options} for n, s in sources.items()], indent=1)
        )
        return
    for name, source in sources.items():
        print(f"{name:16} {source.summary}")


def _count(options: argparse.Namespace) -> int:
    from .counting import count_method

    result = count_method(
        options.method,
        options.input,
        options.hidden,
        options.classes,
        assignments(options.set, "--set"),
        options.plugins,
    )
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{'':18}{'closed form':>14}{'constructed':>14}")
        for key, value in result["constructed"].items():
            print(f"{key:18}{result['closed_form'][key]:>14,}{value:>14,}")
    return 0 if result["agree"] else 1


def _new_method(options: argparse.Namespace) -> None:
    from .template import write_method

    print(f"wrote {write_method(options.name, options.folder)}; try: squeezebench check {options.name}")


def _check(options: argparse.Namespace) -> int:
    from .contract import check_method

    failures = 0
    for name, problem in check_method(options.method, options.plugins):
        print(f"{'ok  ' if problem is None else 'FAIL'} {name}{'' if problem is None else ': ' + problem}", flush=True)
        failures += problem is not None
    return 1 if failures else 0


def _plan(options: argparse.Namespace) -> None:
    from .experiment import check_experiment, load_yaml, read_experiment
    from .plan import make_plan
    from .record import write_atomically

    where = str(options.experiment)
    if options.config_from_stdin:
        if options.experiment.is_file():
            load_yaml(options.experiment)  # Snakemake's reader lets a key that is given twice pass
        content = {"name": options.experiment.stem} | json.load(sys.stdin)
        experiment = check_experiment(content, where)
    else:
        experiment = read_experiment(options.experiment, assignments(options.config, "--config"))
    plan = make_plan(experiment, where)
    path = options.results / experiment.name / "plan.json"
    costs = None
    if not options.config_from_stdin:  # the Snakefile plans each time it is read: seconds of calibration are too many
        from .costs import GPU_TFLOPS, estimate, words

        costs = estimate(plan, GPU_TFLOPS if options.gpu_tflops is None else options.gpu_tflops)
    write_atomically(path, json.dumps(plan.model_dump(mode="json") | {"key": options.key}).encode())
    if costs and options.json:
        print(json.dumps({"plan": str(path)} | costs.as_dict(), indent=1))
    elif costs:
        print(f"{len(plan.runs)} runs in {len(plan.jobs)} jobs; wrote {path}", *words(costs), sep="\n")


def _starts(options: argparse.Namespace) -> None:
    from .jobs import train_starts

    train_starts(options.plan, options.id, options.receipt, options.threads)


def _tune(options: argparse.Namespace) -> None:
    from .jobs import tune_job

    tune_job(options.plan, options.id, options.receipt, options.threads)


def _job(options: argparse.Namespace) -> None:
    from .jobs import run_job

    run_job(options.plan, options.id, options.receipt, options.threads)


def _inference(options: argparse.Namespace) -> None:
    from .inference import PAPER, all_runs, measure, picked_runs

    if not options.seconds > 0:
        raise InputError(f"--seconds {options.seconds:g}: give more than 0")
    if options.steps is not None and options.steps < 1:
        raise InputError(f"--steps {options.steps}: give at least 1")
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder")
    runs = (all_runs if options.all else picked_runs)(options.folder)
    path = measure(options.folder, runs, [PAPER], options.seconds, options.steps, progress=sys.stderr.isatty())
    print(f"wrote {path}; squeezebench report {options.folder} shows it")


def _export(options: argparse.Namespace) -> None:
    from .export import export

    made = export(options.record, options.format, options.out, options.lengths, options.precision)
    print(f"wrote {made.path}: {made.bytes:,} bytes; logits differ from the module's by at most {made.gap:.1e}")
    if made.test is not None:
        own = "not recorded" if made.float32_test is None else f"{made.float32_test:.2%}"
        print(f"  test accuracy {made.test:.2%}, one sequence at a time; the module's own {own}")
    elif made.not_scored:
        print(f"  not scored: {made.not_scored}")
    for note in made.notes:
        print(f"  {note}")


def _audit(options: argparse.Namespace) -> None:
    from .report.audit import VERDICTS, as_json, as_text, audit, summary

    if unknown := [verdict for verdict in options.verdict if verdict not in VERDICTS]:
        raise InputError(f"--verdict {unknown[0]!r}: give one of {', '.join(VERDICTS)}")
    checks = audit()
    if options.html:
        from .record import write_atomically
        from .report.audit.page import audit_page

        if options.html.is_dir():
            raise InputError(f"--html {options.html}: is a folder; give the page's file name")
        write_atomically(options.html, audit_page(checks))
        print(f"wrote {options.html}; {summary(checks)}")
    elif options.json:
        print(json.dumps(as_json(checks, options.verdict), indent=1, ensure_ascii=False))
    else:
        print(as_text(checks, options.verdict))


def _report(options: argparse.Namespace) -> int:
    from .report import build_report

    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder of results")
    sound = verified(options)
    plan = options.folder / "plan.json"
    print(build_report(options.folder, plan=plan if plan.exists() else None))
    return 0 if sound else 1
