"""The site of a board: one folder of static pages with the records behind its numbers, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from squeezebench import __version__
from squeezebench.base.contents import sha256_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import hidden_beside
from squeezebench.report import formats, html
from squeezebench.report.board import tables
from squeezebench.report.board.entries import Entry, LeftOut, admitted
from squeezebench.report.board.numbers import AGAIN, dense_accuracies, numbers, progress, records_of, without_number
from squeezebench.report.overview import task_facts
from squeezebench.report.rows import rows_of
from squeezebench.schema.stored import read_sealed, write_sealed
from squeezebench.schema.submission import BOARD, Board, Opened

TITLE = "Compressed recurrent networks"


@dataclass(frozen=True)
class Built:
    """What came of it."""

    site: Path
    entries: list[Entry]
    left_out: list[LeftOut]
    board: Board


def build_board(submissions: Iterable[Opened], site: Path, version: str = "", frozen: Path | None = None) -> Built:
    """Write the site of all submissions that are sound.

    version: under which the board is frozen; it then shows nothing of those that are left out. frozen: the board.json
    of a board that was frozen; its submissions alone are shown, and the site has its bytes. Raises InputError, and
    writes nothing: `site` is a folder of something else, no submission is sound, one of a frozen board is not there, or
    its bytes would be others.
    """
    check_site(site)
    again = read_sealed(frozen, Board, "board") if frozen else None
    entries, left_out = admitted(_of_board(submissions, again) if again else submissions)
    if not entries:
        reasons = "; ".join(f"{submission.name}: {submission.reason}" for submission in left_out)
        raise InputError(f"no submission can be shown: {reasons}")
    version = again.version if again else version
    half = hidden_beside(site.resolve())
    try:
        half.mkdir(parents=True)
        _write(half, entries, [] if version else left_out, version)
        board = _described(half, entries, version)
        if again:
            _check_same(board, again, frozen)
        write_sealed(half / BOARD, board)
        _swap(half, site.resolve())
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Built(site, entries, left_out, board)


def _swap(half: Path, site: Path) -> None:
    """Put the folder `half` in the place of `site`. What is there stays until then, and comes back if that fails."""
    old = hidden_beside(site)
    there = site.exists()
    if there:
        site.rename(old)
    try:
        half.rename(site)
    except BaseException:
        if there:
            old.rename(site)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_site(site: Path) -> None:
    """Raises InputError if `site` has files that no board wrote."""
    if site.exists() and not (site / BOARD).is_file() and (not site.is_dir() or any(site.iterdir())):
        raise InputError(f"{site}: is there, and no board; give --to a new folder")


def _of_board(submissions: Iterable[Opened], board: Board) -> list[Opened]:
    """The submissions of a frozen board in its order."""
    by_digest = {opened.digest: opened for opened in submissions if opened.digest}
    for name, digest in board.submissions.items():
        if digest not in by_digest:
            raise InputError(f"{name}: the submission that was frozen (digest {digest[:12]}) is not among those given")
    return [by_digest[digest] for digest in board.submissions.values()]


def _described(folder: Path, entries: Sequence[Entry], version: str) -> Board:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    digests = {entry.id: entry.opened.digest for entry in entries}
    return Board(version=version, squeezebench=__version__, submissions=digests, files=files)


def _check_same(board: Board, frozen: Board, where: Path) -> None:
    names = sorted(board.files.keys() | frozen.files.keys())
    other = [name for name in names if board.files.get(name) != frozen.files.get(name)]
    if other:
        raise InputError(
            f"{where}: {len(other):,} of {len(names):,} files would have other bytes, {other[0]} first; squeezebench "
            f"{frozen.squeezebench} froze the board, this is {board.squeezebench}"
        )


def _write(folder: Path, entries: list[Entry], left_out: list[LeftOut], version: str) -> None:
    """All pages and records."""
    frame = numbers(entries)
    keys = sorted({key for entry in entries for key in entry.keys.values()})
    tasks = [_task(key, frame, entries) for key in keys]
    shared = {
        "version": version,
        "squeezebench": __version__,
        "submissions": formats.plural(len(entries), "submission"),
        "tasks": tasks,
        "left_out": left_out,
    }
    again = int((frame["badge"] == AGAIN).sum())
    caption = "Rank: 1 + the number of methods whose whole interval is above. Settings are picked on validation."
    pages: dict[str, dict[str, Any]] = {
        "index": {
            "title": TITLE,
            "numbers": len(frame),
            "again": again,
            "submitted": len(frame) - again,
            "table": tables.ranking_table(frame, "numbers", caption, whole=True),
        },
        "history": {
            "title": "Submissions and history",
            "table": tables.submissions_table(entries),
            "progress": tables.progress_table(progress(frame)),
        },
    }
    for name, content in pages.items():
        _page(folder / f"{name}.html", name, shared | content)
    for task in tasks:
        _page(folder / task["page"], "task", shared | {"title": task["label"]} | task)
    for method, rows in frame.groupby("method", sort=True):
        _page(folder / tables.method_page(str(method)), "method", shared | _method(rows, entries))
    for name, path in records_of(frame):
        source = next(entry for entry in entries if entry.id == name).opened.folder
        target = folder / "records" / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)


def _page(path: Path, name: str, values: dict[str, Any]) -> None:
    path.write_bytes(html.page(html.template(f"board/{name}.html.j2"), **values))


def _task(key: tuple[str, int, str], frame: pd.DataFrame, entries: list[Entry]) -> dict[str, Any]:
    """What the pages say of one task."""
    here = frame[(frame["task"] == key[0]) & (frame["version"] == key[1]) & (frame["protocol"] == key[2])]
    of_task = [entry for entry in entries if key in entry.keys.values()]
    sizes = [
        {
            "least": formats.ratio_tick(least),
            "anchor": f"at-{least:g}",
            "table": tables.ranking_table(
                rows, f"at_{least:g}", f"Methods at least {formats.ratio_tick(least)} smaller."
            ),
            "absent": without_number(entries, rows, key),
            "rows": rows,
        }
        for least, rows in here.groupby("least", sort=True)
    ]
    for size in sizes:
        size["leaders"] = [_leader(size["rows"], control) for control in (False, True)]
    return {
        "label": tables.task_label(key),
        "page": tables.task_page(key),
        "facts": _facts(key, of_task),
        "brief": formats.clean(task_facts(key[0], of_task[0].results.gathered)),
        "sizes": sizes,
    }


def _leader(rows: pd.DataFrame, control: bool) -> dict[str, str] | None:
    """The most accurate method, or control, of a task at one size."""
    able = rows[rows["control"].astype(bool) == control].sort_values("value", ascending=False, kind="stable")
    for row in rows_of(able.head(1)):
        return {
            "label": formats.clean(row["method_label"]),
            "link": f"{tables.method_page(row['method'])}#{row['anchor']}",
            "interval": tables.interval(row),
        }
    return None


def _facts(key: tuple[str, int, str], entries: list[Entry]) -> list[tuple[str, str]]:
    """The definition of a task, by the first submission that has it."""
    inputs = entries[0].inputs(key[0])
    words = {name: value for name, value in inputs.items() if not formats.absent(value) and value not in ({}, "")}

    def of(part: str) -> str:
        return formats.clean(", ".join(f"{name.removeprefix(part)} {formats.setting(value)}" for name, value in
                                       words.items() if name.startswith(part)))  # fmt: skip

    dense = [f"{accuracy} ({name})" for name, accuracy in dense_accuracies(entries, key)]
    return [
        ("Version", str(key[1])),
        ("Protocol", key[2]),
        ("Data and split", of("task ") or formats.NONE),
        ("Dense network", of("model ") or formats.NONE),
        ("Training", of("training ") or formats.NONE),
        ("Accuracy of the dense network", "; ".join(dense) or formats.NONE),
    ]


def _method(rows: pd.DataFrame, entries: list[Entry]) -> dict[str, Any]:
    """The page of one method."""
    first = rows.iloc[0]
    number, tasks = len(rows), len(rows[["task", "version", "protocol"]].drop_duplicates())
    return {
        "title": formats.clean(first["method_label"]),
        "control": bool(first["control"]),
        "said": f"{formats.plural(number, 'number')} on {formats.plural(tasks, 'task')}.",
        "numbers": tables.ranking_table(rows, "numbers", "Each number leads to its runs below.", whole=True),
        "runs": tables.runs_table(rows, entries),
    }
