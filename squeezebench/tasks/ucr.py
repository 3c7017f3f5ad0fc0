"""Any classification data set of the UCR and UEA archives, by its name there (option `name`).

Read by aeon's own loader, which downloads on first use to its data folder, or to `folder`; the official
split. Sequences of unequal length keep their lengths; where the archive offers a release with missing
values filled in, that one is read. Sources: Dau et al. (2019), arXiv:1810.07758; Bagnall et al. (2018),
arXiv:1811.00075; https://timeseriesclassification.com
"""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field

from squeezebench.dataset import Dataset
from squeezebench.errors import InputError
from squeezebench.tasks._cache import Arrays, cache_folder, cached_arrays
from squeezebench.tasks._collections import official_arrays

DEFAULT_SPLIT = "official"
MAIN_OPTION = "name"


class Options(BaseModel):
    """Which data set, and where it is kept."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="as in the archive, for example ArrowHead")
    folder: str | None = Field(default=None, description="where its .ts files are or go; null: aeon's own folder")


def load(options: Options) -> Dataset:
    """x (N, T, D) float64, zero-padded, with lengths where they vary."""
    if options.folder is None:
        arrays = cached_arrays(f"ucr-{options.name}", "aeon", lambda: _build(options))
    else:
        arrays = _build(options)  # the user's folder may change, so it is read each time
    varies = bool((arrays["length"] < arrays["x"].shape[1]).any())
    return Dataset(
        name=options.name,
        x=arrays["x"],
        y=arrays["y"],
        classes=tuple(map(str, arrays["classes"])),
        length=arrays["length"] if varies else None,
        subset=arrays["subset"],
        origin=f"aeon load_classification({options.name}); https://timeseriesclassification.com",
    )


def _build(options: Options) -> Arrays:
    from aeon.datasets import load_classification

    folder = None if options.folder is None else str(Path(options.folder).expanduser())
    try:
        with _one_download_at_a_time(options.name):
            train, test = (
                load_classification(options.name, split=split, extract_path=folder, load_no_missing=True)
                for split in ("train", "test")
            )
    except Exception as error:  # aeon wraps network, archive and parser errors in many types
        raise InputError(_explain(options.name, folder, error)) from None
    return official_arrays(train, test)


def _one_download_at_a_time(name: str) -> contextlib.AbstractContextManager:
    """Runs start together; the first downloads and the others wait for it."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return FileLock(cache_folder() / f"ucr-{name}.lock", timeout=3600)
    except OSError:
        return contextlib.nullcontext()


def _explain(name: str, folder: str | None, error: Exception) -> str:
    from aeon.datasets.tsc_datasets import tsc_zenodo

    if name not in tsc_zenodo:
        near = difflib.get_close_matches(name, tsc_zenodo, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "see https://timeseriesclassification.com"
        return f"ucr: no data set {name!r} in the archive; {hint}"
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return (
        f"ucr: {name} could not be downloaded or read ({reason}); check the network, remove a half-written "
        f"{Path(folder) / name if folder else 'copy in the folder of aeon'}, or set folder to where it lies"
    )
