"""Methods, tasks and single runs: `run`, `methods`, `tasks`, `count`, `new-method`, `check`, `init`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from squeezebench.base.errors import InputError
from squeezebench.base.yaml_file import parse_yaml
from squeezebench.cli.arguments import assignments

if TYPE_CHECKING:
    from squeezebench.method.discovery import MethodFile
    from squeezebench.schema.record import Record


TASK = {  # settings of a task, as in an experiment file -> what they do
    "split": "official, random, group or leave_one_group_out; default: the source's own",
    "fold": "with leave_one_group_out: which group, or set of groups, is test, from 0",
    "folds": "with leave_one_group_out: so many sets of groups instead of single groups",
    "test_share": "of all sequences; not with official",
    "validation_share": "of the sequences outside the test part",
    "split_seed": "of the test part of random and group splits",
    "frames": "use so many steps of each sequence",
    "sampling": "uniform, or random: one step of each equal segment, drawn anew per epoch",
    "normalise": "standard, std, none; channel or imagenet for images",
}


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see main.py."""
    _add_run(add)
    methods = add("methods", _methods, "list the methods, or one method with its settings", plugins=True)
    methods.add_argument("name", nargs="?", help="show this method and its settings")
    methods.add_argument("--json", action="store_true", help="for programs")
    tasks = add("tasks", _tasks, "list the data sources", plugins=True)
    tasks.add_argument("--json", action="store_true", help="for programs")

    count = add("count", _count, "parameters of a method's compact network, closed form and constructed", plugins=True)
    count.add_argument("--method", required=True, help="its name (squeezebench methods)")
    count.add_argument("--input", type=int, required=True, metavar="D", help="features of a frame")
    count.add_argument("--hidden", type=int, metavar="H", help="of methods on recurrent networks")
    count.add_argument("--classes", type=int, default=11, help="of the linear head (default: 11)")
    count.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="of the method")
    count.add_argument("--json", action="store_true", help="for programs")

    init = add("init", _init, "make a folder for experiments of one's own: a Snakefile, an experiment, methods/")
    init.add_argument("folder", type=Path, help="a new one")
    init.add_argument("--experiment", default="first", metavar="NAME", help="one of squeezebench's: smoke, quick, ...")
    new = add("new-method", _new_method, "write a method file that passes the contract tests")
    new.add_argument("name", help="of the method and its file")
    new.add_argument("--folder", type=Path, default=Path("methods"), help="made if missing (default: methods)")
    check = add("check", _check, "run the contract tests on one method", plugins=True)
    check.add_argument("method", help="a method's name or file")


def _add_run(add: Callable[..., argparse.ArgumentParser]) -> None:
    run = add("run", _run, "make one run without Snakemake", plugins=True)
    run.add_argument("--task", required=True, help="digits, ucr:NAME, file:PATH, ...")
    run.add_argument("--option", action="append", default=[], metavar="OPTION=VALUE", help="of the data source")
    for name, text in TASK.items():
        run.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=text)
    run.add_argument("--method", required=True, help="its name (squeezebench methods)")
    run.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="a setting of the method")
    run.add_argument("--train", action="append", default=[], metavar="KEY=VALUE", help="a training setting")
    run.add_argument("--steps", type=int, metavar="N", help="gradient steps; as --train steps=N, instead of epochs")
    run.add_argument("--epochs", type=int, metavar="N", help="as --train epochs=N")
    run.add_argument("--seed", type=int, default=0, help="of weights, order and validation part")
    run.add_argument("--out", type=Path, required=True, help="folder for record.json, model.safetensors, ...")
    run.add_argument("--threads", type=int, default=1, help="of PyTorch (default: 1)")
    run.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, help="a progress bar (default: if stderr is a terminal)"
    )
    run.add_argument(
        "--checkpoint-seconds", metavar="S", help="of training between checkpoints; 0: none (default: 300)"
    )


def _run(options: argparse.Namespace) -> int:
    from squeezebench.pipeline.single import SingleRun, make_run

    lengths = [f"{name}={value}" for name in ("steps", "epochs") if (value := getattr(options, name)) is not None]
    training = assignments(options.train + lengths, "--train")
    asked = SingleRun(
        task=options.task,
        task_settings={
            name: parse_yaml(text, f"--{name}") for name in TASK if (text := getattr(options, name)) is not None
        },
        options=assignments(options.option, "--option"),
        method=options.method,
        settings=assignments(options.set, "--set"),
        training=training,
        seed=options.seed,
        plugins=options.plugins,
    )
    progress = sys.stderr.isatty() if options.progress is None else options.progress
    record = make_run(asked, options.out, options.threads, options.checkpoint_seconds, progress)
    return _print_result(record, options.out)


def _print_result(record: Record, out: Path) -> int:
    """Print one line about a run; return the command's status."""
    from squeezebench.schema.record import size_words

    name = f"{record.task} {record.method} seed {record.seed}"
    if record.status != "ok":
        print(f"{name}: {record.status}: {record.reason}", file=sys.stderr)
        return 0 if record.status == "skipped" else 1
    size = f"{record.counts.size:,} {size_words(record.counts)}"
    ratio = getattr(record.ratio, record.counts.rule)
    size += f" ({ratio:.3g}x)" if ratio else ""
    print("; ".join([f"{name}: test {record.accuracy.test:.1%}, {size}", *record.notes, str(out)]))
    return 0


def _methods(options: argparse.Namespace) -> None:
    from squeezebench.method.discovery import find_methods, pick

    files = find_methods(options.plugins)
    if options.name:
        files = {options.name: pick(files, options.name)}
    entries = [_described(name, file) for name, file in files.items()]
    if options.name and "error" in entries[0]:
        raise InputError(entries[0]["error"])
    if options.json:
        print(json.dumps(entries, indent=1))
    elif options.name:
        _print_method(entries[0])
    else:
        width = max(len(entry["name"]) for entry in entries)
        for entry in entries:
            print(f"{entry['name']:{width}} {entry.get('error') or entry['summary']}")


def _described(name: str, file: MethodFile) -> dict[str, Any]:
    """A method and its settings, or why its file cannot be used."""
    from squeezebench.method.discovery import load

    try:
        method = load(file)
    except InputError as error:
        return {"name": name, "error": str(error)}
    keys = ("description", "default", "search", "axis", "enum", "type")
    fields = method.Settings.model_json_schema().get("properties", {})
    return {
        "name": name,
        "title": method.title,
        "summary": (method.__doc__ or "").strip().split("\n")[0],
        "paper": method.paper,
        "control": method.control,
        "kinds": list(method.kinds),
        "settings": {key: {k: v for k, v in field.items() if k in keys} for key, field in fields.items()},
    }


def _print_method(entry: dict[str, Any]) -> None:
    print(f"{entry['name']}: {entry['title']}{' (a control)' if entry['control'] else ''}", entry["summary"], sep="\n")
    print(f"for {', '.join(entry['kinds'])} tasks; source: {entry['paper']}")
    for setting, field in entry["settings"].items():
        print(f"    {setting} = {field.get('default')}: {field.get('description', '')}")


def _tasks(options: argparse.Namespace) -> None:
    from squeezebench.data.sources import available

    sources = available(options.plugins)
    if options.json:
        print(
            json.dumps([{"name": n, "summary": s.summary, "options": s.options} for n, s in sources.items()], indent=1)
        )
        return
    for name, source in sources.items():
        print(f"{name:16} {source.summary}")


def _count(options: argparse.Namespace) -> int:
    from squeezebench.tools.counting import count_method

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
        still = "" if result["settings"].get("ratio") else ", with all that training may remove"
        print(f"{options.method} as its settings build it{still}")
        print(f"{'':18}{'closed form':>14}{'constructed':>14}")
        for key, value in result["constructed"].items():
            formula = "no formula" if result["closed_form"] is None else f"{result['closed_form'][key]:,}"
            print(f"{key:18}{formula:>14}{value:>14,}")
    return 0 if result["agree"] else 1


def _new_method(options: argparse.Namespace) -> None:
    from squeezebench.tools.new_method import write_method

    path = write_method(options.name, options.folder)
    print(f"wrote {path}; try: squeezebench check {shlex.quote(str(path))}")


def _init(options: argparse.Namespace) -> None:
    from squeezebench.tools.new_project import write_project

    written = write_project(options.folder, options.experiment)
    print(*(f"wrote {path}" for path in written), sep="\n")
    print(f"try: cd {shlex.quote(str(options.folder))} && snakemake --cores 2")


def _check(options: argparse.Namespace) -> int:
    from squeezebench.tools.check_method import check_method
    from squeezebench.tools.recorded import quiet

    failures = 0
    with quiet():  # that training goes on, which the checks interrupt on purpose, is no news
        for name, problem in check_method(options.method, options.plugins):
            print(f"FAIL {name}: {problem}" if problem else f"ok   {name}", flush=True)
            failures += problem is not None
    return 1 if failures else 0
