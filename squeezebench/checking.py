"""The commands that hold results against something: `compare`, `reproduce` and `report --verify`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import InputError


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see cli.py."""
    compare = add("compare", _compare, "tell two folders of results apart: what changed beyond noise")
    compare.add_argument("first", type=Path, metavar="A")
    compare.add_argument("second", type=Path, metavar="B")
    compare.add_argument("--json", action="store_true")
    compare.add_argument("--fail", action="store_true", help="exit status 1 where something changed beyond noise")

    reproduce = add("reproduce", _reproduce, "repeat a run from its record and say whether it matched", plugins=True)
    reproduce.add_argument("record", type=Path, help="record.json, or the folder of a run")
    reproduce.add_argument("--out", type=Path, help="keep what the repetition leaves in this folder")
    reproduce.add_argument("--json", action="store_true")


def add_verify(report: argparse.ArgumentParser) -> None:
    """The options of `report` that `verified` reads."""
    report.add_argument("--verify", action="store_true", help="measure the saved models again; status 1 on a problem")
    report.add_argument("--sample", type=int, metavar="N", help="with --verify: measure N models, drawn at random")
    report.add_argument("--plugins", action="append", default=[], help="with --verify: method file, or folder of them")


def _compare(options: argparse.Namespace) -> int:
    from .report.differences import compare_folders
    from .report.differences_text import as_json, as_text

    found = compare_folders(options.first, options.second)
    print(json.dumps(as_json(found), indent=1, allow_nan=False) if options.json else as_text(found))
    return 1 if options.fail and not found.unchanged else 0


def _reproduce(options: argparse.Namespace) -> int:
    from .reproduction import as_json, as_text, reproduce

    made = reproduce(options.record, options.out, options.plugins, progress=sys.stderr.isatty())
    print(json.dumps(as_json(made), indent=1) if options.json else as_text(made))
    return 0 if made.matched else 1


def verified(options: argparse.Namespace) -> bool:
    """Verify the folder of a report where that is asked for; False where a problem was found."""
    if not options.verify:
        if options.sample is not None or options.plugins:
            raise InputError("--sample and --plugins go with --verify")
        return True
    from .verification import as_text, verify

    found = verify(options.folder, options.sample, options.plugins, progress=sys.stderr.isatty())
    print(as_text(found))
    return not found.problems
