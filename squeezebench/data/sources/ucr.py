"""Any classification data set of the UCR and UEA archives, by its name there (option `name`).

Read by aeon's own loader, which downloads on first use to its data folder, or to `folder`; the official
split. Sequences of unequal length keep their lengths; if the archive offers a release with missing
values filled in, that one is read. Sources: Dau et al. (2019), arXiv:1810.07758; Bagnall et al. (2018),
arXiv:1811.00075; https://timeseriesclassification.com

Licence: that of the data set, which the archive's page names if it is known.

Leak: it depends on the data set: some have recordings of one person in both parts. Read its page in the archive.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from squeezebench.base.errors import InputError
from squeezebench.base.locks import locked
from squeezebench.base.places import cache_folder
from squeezebench.data.aeon_sets import official_arrays, official_dataset
from squeezebench.data.cache import Arrays, prepared_arrays
from squeezebench.data.dataset import Dataset, Expected

DEFAULT_SPLIT = "official"
MAIN_OPTION = "name"
REMOTE = True  # `expected` may ask the archive
PATIENCE = 5.0  # seconds that an estimate waits for the archive's table

log = logging.getLogger("squeezebench")


class Options(BaseModel):
    """Which data set, and where it is kept."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", description="as in the archive, for example ArrowHead")
    folder: str | None = Field(default=None, description="where its .ts files are or go; null: aeon's own folder")


def load(options: Options) -> Dataset:
    """x (N, T, D) float64, zero-padded, with lengths where they vary."""
    cached_as = f"ucr-{options.name}" if options.folder is None else None  # a user's folder may change
    origin = f"aeon load_classification({options.name}); https://timeseriesclassification.com"
    return official_dataset(options.name, cached_as, lambda: _build(options), origin)


def expected(options: Options) -> Expected:
    """From the arrays that an earlier run prepared, else from the archive's own table; else unknown."""
    unknown = Expected(None, None, None, None, disk_bytes=None, download_bytes=None)
    if options.folder is None and (arrays := prepared_arrays(f"ucr-{options.name}", "aeon")) is not None:
        n, steps, inputs = arrays["x"].shape
        train = int((arrays["subset"] == "train").sum())
        kept = sum(array.nbytes for array in arrays.values())
        return Expected(n, steps, inputs, len(arrays["classes"]), disk_bytes=kept, download_bytes=0, train=train)
    row = _metadata(options.name)
    if row is None:
        return unknown
    n, train, steps, inputs = (int(row[k]) for k in ("TrainSize", "TrainSize", "Length", "Channels"))
    n += int(row["TestSize"])
    steps = steps or None  # 0: lengths vary, and the table does not say how far
    kept = None if steps is None else n * (steps * inputs * 8 + 8)
    return Expected(n, steps, inputs, int(row["NumberClasses"]), disk_bytes=kept, download_bytes=None, train=train)


def _metadata(name: str) -> dict | None:
    """The archive's row about `name`, asked for on the network; None if it does not answer soon."""
    from aeon.datasets import get_dataset_meta_data

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # aeon gives no time limit of its own
    try:
        table = get_dataset_meta_data([name])
    except (OSError, ValueError, KeyError) as error:  # URLError and timeouts are OSError; a changed table the others
        log.debug("ucr: no metadata of %s: %s", name, error)
        return None
    finally:
        socket.setdefaulttimeout(before)
    return None if table.empty else table.iloc[0].to_dict()


def _build(options: Options) -> Arrays:
    from aeon.datasets import load_classification

    folder = None if options.folder is None else str(Path(options.folder).expanduser())
    try:
        with _one_download_at_a_time(options.name):
            train, test = (
                load_classification(options.name, split=split, extract_path=folder, load_no_missing=True)
                for split in ("train", "test")
            )
            if not (len(train[0]) and len(test[0])):
                raise ValueError("there is no sequence in it")
    except Exception as error:  # aeon wraps network, archive and parser errors in many types
        raise InputError(_explain(options.name, folder, error)) from None
    return official_arrays(train, test)


def _one_download_at_a_time(name: str) -> contextlib.AbstractContextManager:
    """Runs start together; the first downloads and the others wait for it."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        return locked(cache_folder() / f"ucr-{name}.lock")
    except OSError:
        return contextlib.nullcontext()


def _explain(name: str, folder: str | None, error: Exception) -> str:
    from aeon.datasets.tsc_datasets import tsc_zenodo

    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    own = Path(folder) / name if folder else None
    if own is not None and any(own.glob(f"{name}_T*.*")):
        return f"ucr: {own}: {name}_TRAIN.ts and {name}_TEST.ts cannot be read ({reason})"
    if name not in tsc_zenodo:
        near = difflib.get_close_matches(name, tsc_zenodo, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "see https://timeseriesclassification.com"
        return f"ucr: no data set {name!r} in the archive; {hint}"
    return (
        f"ucr: {name} could not be downloaded or read ({reason}); check the network, remove a half-written "
        f"{Path(folder) / name if folder else 'copy in the folder of aeon'}, or set folder to where it lies"
    )
