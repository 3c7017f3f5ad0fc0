"""`--log FILE`: what a job of the workflow prints is kept as well, as Snakemake expects of a rule."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO


def add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log", type=Path, metavar="FILE", help="write what is printed there as well")


class _Copied:
    """A terminal whose text is copied to a file. Progress bars are not, as they draw over themselves."""

    def __init__(self, terminal: TextIO, file: TextIO) -> None:
        self._terminal, self._file = terminal, file

    def write(self, text: str) -> int:
        if "\r" not in text:
            with suppress(OSError, ValueError):  # a full disk, a closed file: the command can go on without this line
                self._file.write(text)
        return self._terminal.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


@contextmanager
def copied_to(path: Path | None) -> Iterator[None]:
    """Copy all that is printed to `path`, which is emptied first. If it cannot be written, nothing is copied."""
    try:
        file = path and path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        print(f"squeezebench: --log {path}: cannot be written: {error.strerror}", file=sys.stderr)
        file = None
    if file is None:
        yield
        return
    with file, redirect_stdout(_Copied(sys.stdout, file)), redirect_stderr(_Copied(sys.stderr, file)):
        yield
