"""Methods, tasks and single runs: `run`, `methods`, `tasks`, `count`, `new-method`, `check`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from squeezebench.base.errors import InputError
from squeezebench.cli.arguments import assignments

if TYPE_CHECKING:
    from squeezebench.method.discovery import MethodFile
    from squeezebench.schema.record import Record
    from squeezebench.schema.run import RunSpec


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see cli.py."""
    run = add("run", _run, "make one run without Snakemake", plugins=True)
    run.add_argument("--task", required=True, help="digits, ucr:NAME, file:PATH, ...")
    run.add_argument("--method", required=True)
    run.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a setting of the method")
    run.add_argument("--train", action="append", default=[], metavar="KEY=VALUE", help="a training setting")
    run.add_argument("--steps", type=int, metavar="N", help="gradient steps; as --train steps=N, instead of epochs=N")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--out", type=Path, required=True, help="folder for record.json, model.safetensors, ...")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument(
        "--checkpoint-seconds", metavar="S", help="of training between checkpoints; 0: none (default: 300)"
    )

    methods = add("methods", _methods, "list the methods and their settings", plugins=True)
    methods.add_argument("--json", action="store_true")
    tasks = add("tasks", _tasks, "list the data sources", plugins=True)
    tasks.add_argument("--json", action="store_true")

    count = add("count", _count, "parameters of a method's compact network, closed form and constructed", plugins=True)
    count.add_argument("--method", required=True)
    count.add_argument("--input", type=int, required=True, metavar="D")
    count.add_argument("--hidden", type=int, metavar="H", help="of methods on recurrent networks")
    count.add_argument("--classes", type=int, default=11)
    count.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE")
    count.add_argument("--json", action="store_true")

    new = add("new-method", _new_method, "write a method file that passes the contract tests")
    new.add_argument("name")
    new.add_argument("--folder", type=Path, default=Path("methods"))
    check = add("check", _check, "run the contract tests on one method", plugins=True)
    check.add_argument("method", help="a method's name or file")


def _run(options: argparse.Namespace) -> int:
    import torch

    from squeezebench.data.task import load_task
    from squeezebench.engine.run import execute
    from squeezebench.engine.training.checkpoint import SECONDS, interval
    from squeezebench.method.discovery import find_methods, pick

    if options.checkpoint_seconds is not None:
        os.environ[SECONDS] = options.checkpoint_seconds
    interval()
    if options.threads < 1:
        raise InputError(f"--threads {options.threads}: give at least 1")
    torch.set_num_threads(options.threads)
    file = pick(find_methods(options.plugins), options.method)
    spec = _spec(options, file)
    # Wrong data are a mistake of the user's, not a failed run: they are read before the run begins.
    load_task(spec.task, options.seed, plugins=options.plugins)
    record = execute(spec, file, options.out, options.out / "starts", progress=sys.stderr.isatty())
    return _print_result(record, options.out)


def _spec(options: argparse.Namespace, file: MethodFile) -> RunSpec:
    from squeezebench.data.task import task_spec
    from squeezebench.method.discovery import load
    from squeezebench.method.settings import settings_of
    from squeezebench.pipeline.planner import fingerprint
    from squeezebench.schema.experiment import validated
    from squeezebench.schema.models import ModelSettings
    from squeezebench.schema.run import RunSpec
    from squeezebench.schema.training import TrainingSettings

    varied, training = assignments(options.set, "--set"), assignments(options.train, "--train")
    if options.steps is not None:
        training["steps"] = options.steps
    settings = settings_of(load(file), varied, "--set")
    shared = settings.shared().model_dump(mode="json") if isinstance(settings, ModelSettings) else {}
    task = task_spec(options.task, options.plugins)
    return RunSpec(
        experiment=options.out.name,
        task=task,
        fingerprint=fingerprint(task, options.plugins),
        method=options.method,
        settings=settings.model_dump(mode="json"),
        varied=varied,
        seed=options.seed,
        training=validated(TrainingSettings, training, "--train"),
        model=shared,
        plugins=options.plugins,
    )


def _print_result(record: Record, out: Path) -> int:
    """Print one line about a run; return the command's status."""
    from squeezebench.schema.record import size_words

    name = f"{record.task} {record.method} seed {record.seed}"
    if record.status != "ok":
        print(f"{name}: {record.status}: {record.reason}", file=sys.stderr)
        return 0 if record.status == "skipped" else 1
    size = f"{record.counts.size:,} {size_words(record.counts)}"
    ratio = getattr(record.ratio, record.counts.rule) or "-"
    print(f"{name}: test {record.accuracy.test:.1%}, {size} ({ratio}x); {out}")
    return 0


def _methods(options: argparse.Namespace) -> None:
    from squeezebench.method.discovery import find_methods, load

    listing, broken = [], 0
    for name, file in find_methods(options.plugins).items():
        try:
            method = load(file)
        except InputError as error:
            listing.append({"name": name, "error": str(error)})
            broken += 1
            continue
        schema = method.Settings.model_json_schema()
        setting_names = {
            setting: {
                k: v for k, v in field.items() if k in ("description", "default", "search", "axis", "enum", "type")
            }
            for setting, field in schema.get("properties", {}).items()
        }
        listing.append(
            {
                "name": name,
                "title": method.title,
                "summary": (method.__doc__ or "").strip().split("\n")[0],
                "paper": method.paper,
                "control": method.control,
                "kinds": list(method.kinds),
                "settings": setting_names,
            }
        )
    if options.json:
        print(json.dumps(listing, indent=1))
        return
    for entry in listing:
        print(f"{entry['name']:16} {entry.get('error') or entry['summary']}")
        for setting, field in entry.get("settings", {}).items():
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
        print(f"{'':18}{'closed form':>14}{'constructed':>14}")
        for key, value in result["constructed"].items():
            formula = "no formula" if result["closed_form"] is None else f"{result['closed_form'][key]:,}"
            print(f"{key:18}{formula:>14}{value:>14,}")
    return 0 if result["agree"] else 1


def _new_method(options: argparse.Namespace) -> None:
    from squeezebench.tools.new_method import write_method

    print(f"wrote {write_method(options.name, options.folder)}; try: squeezebench check {options.name}")


def _check(options: argparse.Namespace) -> int:
    import logging

    from squeezebench.tools.check_method import check_method

    log, failures = logging.getLogger("squeezebench"), 0
    before = log.level
    log.setLevel(logging.ERROR)  # that training goes on, which the checks interrupt on purpose, is no news
    try:
        for name, problem in check_method(options.method, options.plugins):
            words = f"FAIL {name}: {problem}" if problem else f"ok   {name}"
            print(words, flush=True)
            failures += problem is not None
    finally:
        log.setLevel(before)
    return 1 if failures else 0
