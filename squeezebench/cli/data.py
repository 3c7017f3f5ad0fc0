"""`squeezebench data ...`: fetch, check and prepare the video data sets."""

from __future__ import annotations

import argparse
from pathlib import Path

from squeezebench.cli.prepare import add_prepare
from squeezebench.data.video.fetch import fetch_dataset

SHOWN = 20  # problems printed before "and N more"


def add_commands(subparsers) -> None:
    """Add the actions of `data` to its subparsers. Nothing heavy is imported until one runs."""
    fetch = _add(subparsers, "fetch", _fetch, "download a video data set, unpack it and check it")
    fetch.add_argument("--mirror", help="folder or address that has the archives, instead of the official one")
    add_prepare(subparsers)
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
    from squeezebench.data.video.clips import index_clips
    from squeezebench.data.video.lists import official_split

    index = index_clips(dataset, folder)
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
