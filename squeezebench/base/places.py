"""Where the files lie that come with squeezebench and are no Python of its own."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "project"  # in a wheel: the folders that stand beside the package in the repository (setup.py)
PROJECT = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent
METHODS = PROJECT / "methods"  # one file, one method
SOURCES = PACKAGE / "data" / "sources"  # one file, one data source
ASSETS = PROJECT / "report"  # the report's words, template and printed tables


def cache_folder() -> Path:
    """Where prepared arrays and downloads live."""
    if own := os.environ.get("SQUEEZEBENCH_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "squeezebench"


def data_folder() -> Path:
    """Where archives, clips, optical flow and features live: $SQUEEZEBENCH_DATA, else `data` in the cache folder.

    The folder need not exist yet.
    """
    if own := os.environ.get("SQUEEZEBENCH_DATA"):
        return Path(own).expanduser()
    return cache_folder() / "data"
