"""Results for others: `submit`, `board`, `appendix`, `crate`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.reading import results_folder


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(name, function, text)` makes a command; see main.py."""
    submit = add("submit", _submit, "check a finished experiment and pack it for a board", plugins=True)
    submit.add_argument("folder", type=Path, help="results of an experiment")
    submit.add_argument("--as", dest="name", required=True, metavar="NAME", help="who sends it, as a board shows it")
    submit.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help="of NAME-EXPERIMENT.zip (default: .)")
    submit.add_argument("--without-models", action="store_true", help="numbers alone: shown as submitted")
    submit.add_argument("--unfinished", action="store_true", help="planned runs may be missing; the board names them")

    board = add("board", _board, "verify submissions and build the static site that ranks their methods")
    board.add_argument("submissions", type=Path, nargs="+", metavar="SUBMISSION", help="archives or folders of them")
    board.add_argument("--to", type=Path, required=True, metavar="SITE", help="folder of the site, replaced as a whole")
    version = board.add_mutually_exclusive_group()
    version.add_argument("--freeze", default="", metavar="VERSION", help="the site says this version")
    version.add_argument("--frozen", type=Path, metavar="FILE", help="board.json of a frozen site: build it again")

    appendix = add("appendix", _appendix, "the artifact appendix of a paper: a row for each claim and table")
    appendix.add_argument("folder", type=Path, help="results of an experiment")
    appendix.add_argument("--format", choices=["markdown", "latex"], default="markdown", help="default: markdown")
    appendix.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of printing it")

    crate = add("crate", _crate, "describe a folder of results as an RO-Crate (Workflow Run profile)")
    crate.add_argument("folder", type=Path, help="results of an experiment; writes ro-crate-metadata.json there")


def _submit(options: argparse.Namespace) -> None:
    from squeezebench.report.board.entries import check_results
    from squeezebench.tools.submit import submit

    check_results(results_folder(options.folder), options.unfinished)
    path = submit(
        options.folder,
        options.name,
        options.to,
        models=not options.without_models,
        unfinished=options.unfinished,
        plugins=options.plugins,
    )
    print(f"wrote {path}: {path.stat().st_size:,} bytes")


def _board(options: argparse.Namespace) -> int:
    from squeezebench.report.board.site import build_board, check_site
    from squeezebench.tools.submissions import opened

    check_site(options.to)
    with tempfile.TemporaryDirectory() as work:
        submissions = opened(options.submissions, Path(work), progress=sys.stderr.isatty())
        built = build_board(submissions, options.to, options.freeze, options.frozen)
        for submission in built.left_out:
            more = f" (and {submission.more} more)" if submission.more else ""
            print(f"left out {submission.name}: {submission.reason}{more}")
        print(f"wrote {built.site / 'index.html'}: {len(built.entries)} submissions, {len(built.left_out)} left out")
        return 1 if built.left_out else 0


def _appendix(options: argparse.Namespace) -> None:
    from squeezebench.base.files import write_atomically
    from squeezebench.report.appendix import appendix

    results_folder(options.folder)
    if options.out and options.out.is_dir():
        raise InputError(f"--out {options.out}: is a folder; give the file's name")
    text = appendix(options.folder, options.format)
    if options.out:
        write_atomically(options.out, text.encode())
        print(f"wrote {options.out}")
    else:
        print(text, end="")


def _crate(options: argparse.Namespace) -> None:
    from squeezebench.tools.crate import write_crate

    print(f"wrote {write_crate(results_folder(options.folder))}")
