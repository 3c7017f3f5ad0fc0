"""Images that are brought into one form once, kept on disk and mapped by every run: no run holds them in memory.

They lie below $SQUEEZEBENCH_DATA in a folder that is named by all that they are made from. The first run that needs
them makes them, others wait for it, and a process that was killed goes on where it was (squeezebench/data/store.py).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError

if TYPE_CHECKING:
    from squeezebench.data.store import Store

Small = dict[str, np.ndarray]
Fill = Callable[["Store"], tuple[dict[str, Any], Small]]


def prepared_images(source: str, key: dict[str, Any], inputs: int, fill: Fill) -> tuple[np.ndarray, Small, dict]:
    """(x (N, 1, inputs) uint8, mapped; small arrays; meta.json), made by `fill` where they are not there.

    key: JSON of all that decides them. fill: appends the rows that the store lacks; returns meta and small arrays.
    Raises InputError where they cannot be written, and what `fill` raises.
    """
    from squeezebench.data.folders import data_folder
    from squeezebench.data.store import complete, opened

    folder = data_folder() / "images" / f"{source}-{digest_of(key)[:12]}"
    try:
        meta = complete(folder)
        if meta is None:
            with opened(folder, key, {"x": ((1, inputs), "|u1")}) as store:
                if complete(folder) is None:  # otherwise another process made them while this one waited
                    about, small = fill(store)
                    store.finish(about, **small)
            meta = complete(folder)
        small = {name: _array(folder, name) for name in meta["digests"] if name != "x"}
        return _array(folder, "x", "r"), small, meta
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{error.filename or folder}: {reason}; prepared images are kept below $SQUEEZEBENCH_DATA: give a folder "
            "there that can be written"
        ) from None


def _array(folder: Path, name: str, mapped: str | None = None) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode=mapped, allow_pickle=False)
