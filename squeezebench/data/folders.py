"""Where the large data live: archives, clips, optical flow and features."""

from __future__ import annotations

import os
from pathlib import Path

from squeezebench.base.places import cache_folder


def data_folder() -> Path:
    """$SQUEEZEBENCH_DATA, else the folder `data` in the cache of prepared arrays. It need not exist yet."""
    if own := os.environ.get("SQUEEZEBENCH_DATA"):
        return Path(own).expanduser()
    return cache_folder() / "data"
