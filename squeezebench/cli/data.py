"""`squeezebench data ...`: fetch, check and prepare the video data sets."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from squeezebench.base.errors import InputError
from squeezebench.cli.arguments import assignments
from squeezebench.cli.log_file import add_log
from squeezebench.data.video.fetch import fetch_dataset

if TYPE_CHECKING:
    from squeezebench.schema.task import TaskSpec

SHOWN = 20  # problems printed before "and N more"


def add_commands(subparsers) -> None:
    """Add the actions of `data` to its subparsers. Nothing heavy is imported until one runs."""
    fetch = _add(subparsers, "fetch", _fetch, "download a video data set, unpack it and check it")
    fetch.add_argument("--mirror", help="folder or address that has the archives, instead of the official one")
    _add_prepare(subparsers)
    _add(subparsers, "verify", _verify, "check a data set by content: clips per class, first frames, split lists")


def _add(subparsers, name: str, function, text: str) -> argparse.ArgumentParser:
    command = subparsers.add_parser(name, help=text, description=text)
    command.set_defaults(command=function)
    command.add_argument("dataset", help="ucf11, ucf101 or hmdb51")
    command.add_argument("--folder", type=Path, help="where it lies (default: $SQUEEZEBENCH_DATA/DATASET)")
    return command


def _fetch(options: argparse.Namespace) -> int:
    folder = fetch_dataset(options.dataset, options.folder, mirror=options.mirror)
    _report(options.dataset, folder)
    return 0


def _verify(options: argparse.Namespace) -> int:
    return 1 if _report(options.dataset, options.folder) else 0


def _report(dataset: str, folder: Path | None) -> int:
    """Print what a folder holds; returns the number of problems."""
    from squeezebench.data.video.catalogue import video_set
    from squeezebench.data.video.clips import checked, list_clips
    from squeezebench.data.video.lists import official_split

    index = checked(list_clips(dataset, folder))
    groups = len({clip.group for clip in index.clips})
    print(f"{dataset}: {len(index.clips):,} clips, {len(index.classes)} classes, {groups:,} groups in {index.root}")
    for number in range(1, video_set(dataset).splits + 1):
        subset = official_split(index, number, folder).subset.tolist()
        print(f"split {number}: {subset.count('train'):,} train, {subset.count('test'):,} test")
    for problem in index.problems[:SHOWN]:
        print(f"problem: {problem.name + ': ' if problem.name else ''}{problem.reason}")
    if len(index.problems) > SHOWN:
        print(f"problem: and {len(index.problems) - SHOWN} more")
    return len(index.problems)


def _add_prepare(subparsers) -> None:
    text = "decode the clips of a video task and compute the features that its runs read"
    command = subparsers.add_parser("prepare", help=text, description=text)
    command.set_defaults(command=_prepare)
    command.add_argument(
        "what", help="ucf11, ucf101, hmdb51 or clips:FOLDER; or a plan.json, followed by one of its tasks"
    )
    command.add_argument("task", nargs="?", help="a task of the plan")
    command.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the source")
    command.add_argument("--receipt", type=Path, help="write the summary there as JSON")
    add_log(command)
    command.add_argument("--workers", type=int, help="threads that decode and compute flow (default: all cores)")
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="of the backbone")


def _prepare(options: argparse.Namespace) -> None:
    from squeezebench.base.files import write_atomically

    spec = _spec(options)
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers {options.workers}: give at least 1")
    try:
        from squeezebench.data.video.prepare import prepare
    except ModuleNotFoundError as error:
        raise InputError(f"preparing videos needs {error.name}: pip install -r requirements.txt") from None
    summary = prepare(spec, sys.stderr.isatty(), options.device, options.workers)
    for clip, reason in summary["skipped"].items():
        print(f"skipped: {clip}: {reason}", file=sys.stderr)
    for problem in summary["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    print(f"{spec.name}: {summary['clips']:,} clips in {summary['folder']}, {len(summary['skipped'])} skipped", end="")
    print(f"; {summary['made']:,} made now, {summary['clips_per_second']:.2f} clips/s" if summary["made"] else "")
    if options.receipt:
        write_atomically(options.receipt, json.dumps(summary, indent=1).encode())


def _spec(options: argparse.Namespace) -> TaskSpec:
    from squeezebench.data.task import task_spec
    from squeezebench.pipeline.plan_file import read_plan
    from squeezebench.schema.task import TaskSpec

    if options.task is None:
        spec = task_spec(options.what)
        given = spec.options | assignments(options.set, "--set")
        return TaskSpec(name=spec.name, source=spec.source, options=given)
    if options.set:
        raise InputError("--set is for a source; a plan has its tasks' options already")
    tasks = read_plan(Path(options.what), job="").tasks  # no run is read: their check would take half a second
    if options.task not in tasks:
        raise InputError(f"{options.what}: no task {options.task!r}; it has {', '.join(tasks)}")
    return tasks[options.task].spec
