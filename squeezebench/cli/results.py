"""What is done with results: `compare`, `reproduce`, `inference`, `export`, `audit`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from squeezebench.base.errors import InputError


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see main.py."""
    compare = add("compare", _compare, "tell two folders of results apart: what changed beyond noise")
    compare.add_argument("first", type=Path, metavar="A", help="folder of results")
    compare.add_argument("second", type=Path, metavar="B", help="another; differences are B minus A")
    compare.add_argument("--json", action="store_true", help="for programs")
    compare.add_argument("--fail", action="store_true", help="exit status 1 where something changed beyond noise")

    reproduce = add("reproduce", _reproduce, "repeat a run from its record and say whether it matched", plugins=True)
    reproduce.add_argument("record", type=Path, help="record.json, or the folder of a run")
    reproduce.add_argument("--out", type=Path, help="keep what the repetition leaves in this folder")
    reproduce.add_argument("--json", action="store_true", help="for programs")
    inference = add("inference", _inference, "measure the speed of saved compact networks on a quiet machine")
    inference.add_argument("folder", type=Path, help="results of an experiment; writes inference.json there")
    inference.add_argument("--seconds", type=float, default=1.0, help="for each batch size of each network")
    _add_export(add)
    audit = add("audit", _audit, "recompute the figures that the papers print")
    audit.add_argument("--json", action="store_true", help="for programs")


def _add_export(add: Callable[..., argparse.ArgumentParser]) -> None:
    export = add("export", _export, "write a run's compact network as a standard LSTM or GRU for other programs")
    export.add_argument("record", type=Path, help="a run's folder, or its record.json")
    export.add_argument("--format", choices=["onnx", "torch", "safetensors", "c"], default="onnx", help="default: onnx")
    export.add_argument("--precision", choices=["float32", "int8"], default="float32", help="int8: onnx and c, scored")
    export.add_argument("--out", type=Path, help="file to write; default: beside the record")
    states = "onnx: takes and answers the states, so that a sequence is fed step by step"
    export.add_argument("--stateful", action="store_true", help=states)
    export.add_argument("--lengths", action=argparse.BooleanOptionalAction, help="onnx: a second input `length`")
    bare = "the bare network, which reads normalised data; without this option the file normalises raw data"
    export.add_argument("--without-normalisation", action="store_true", help=bare)


def _compare(options: argparse.Namespace) -> int:
    from squeezebench.report.compare.differences import compare_folders
    from squeezebench.report.compare.text import as_json, as_text

    comparison = compare_folders(options.first, options.second)
    print(json.dumps(as_json(comparison), indent=1, allow_nan=False) if options.json else as_text(comparison))
    return 1 if options.fail and not comparison.unchanged else 0


def _reproduce(options: argparse.Namespace) -> int:
    from squeezebench.tools.reproduce import as_json, as_text, reproduce

    outcome = reproduce(options.record, options.out, options.plugins, progress=sys.stderr.isatty())
    print(json.dumps(as_json(outcome), indent=1) if options.json else as_text(outcome))
    return 0 if outcome.matched else 1


def _inference(options: argparse.Namespace) -> None:
    from squeezebench.report.results import picked_runs
    from squeezebench.tools.latency import PAPER, measure

    if not options.seconds > 0:
        raise InputError(f"--seconds {options.seconds:g}: give more than 0")
    if not options.folder.is_dir():
        raise InputError(f"{options.folder}: no such folder")
    runs = picked_runs(options.folder)
    path = measure(options.folder, runs, [PAPER], options.seconds, progress=sys.stderr.isatty())
    print(f"wrote {path}; squeezebench report {options.folder} shows it")


def _export(options: argparse.Namespace) -> None:
    from squeezebench.tools.export import export

    bare = options.without_normalisation
    given = options.out, options.lengths, options.precision, not bare, options.stateful
    exported = export(options.record, options.format, *given)
    gap = exported.gap
    compared = "not run here" if gap is None else f"logits differ from the module's by at most {gap:.1e}"
    print(f"wrote {exported.path}: {exported.bytes:,} bytes; {compared}")
    if exported.test is not None:
        own = "not recorded" if exported.float32_test is None else f"{exported.float32_test:.2%}"
        print(f"  test accuracy {exported.test:.2%}, of each sequence by itself; the module's own in float32 {own}")
    elif exported.not_scored:
        print(f"  not scored: {exported.not_scored}")
    print(f"  input: {exported.input}")
    for note in exported.notes:
        print(f"  {note}")
    if exported.lines:
        print("  to use it without squeezebench:", *exported.lines, sep="\n    ")


def _audit(options: argparse.Namespace) -> None:
    from squeezebench.report.audit import as_json, as_text, audit

    checks = audit()
    print(json.dumps(as_json(checks), indent=1, ensure_ascii=False) if options.json else as_text(checks))
