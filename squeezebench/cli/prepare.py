"""`squeezebench data prepare`: of a task of a plan (as the workflow calls it), or of a source with its options."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from squeezebench.base.errors import InputError

if TYPE_CHECKING:
    from squeezebench.schema.task import TaskSpec


def add_prepare(subparsers) -> None:
    """Add the action to those of `data`."""
    text = "decode the clips of a video task and compute the features that its runs read"
    command = subparsers.add_parser("prepare", help=text, description=text)
    command.set_defaults(command=_prepare)
    command.add_argument("what", help="ucf11, ucf101 or hmdb51; or a plan.json, followed by one of its tasks")
    command.add_argument("task", nargs="?", help="a task of the plan")
    command.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the source")
    command.add_argument("--receipt", type=Path, help="write the summary there as JSON")
    command.add_argument("--workers", type=int, help="threads that decode and compute flow (default: all cores)")
    command.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])


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
    from squeezebench.cli.arguments import assignments
    from squeezebench.schema.task import TaskSpec

    if options.task is None:
        return TaskSpec(name=options.what, options=assignments(options.set, "--set"))
    if options.set:
        raise InputError("--set is for a source; a plan has its tasks' options already")
    try:
        tasks = json.loads(Path(options.what).read_bytes())["tasks"]
        found = {name: task["spec"] for name, task in tasks.items()}
    except OSError as error:
        raise InputError(f"{options.what}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{options.what}: not a plan that `squeezebench plan` wrote") from None
    if options.task not in found:
        raise InputError(f"{options.what}: no task {options.task!r}; it has {', '.join(found)}")
    return TaskSpec.model_validate(found[options.task])
