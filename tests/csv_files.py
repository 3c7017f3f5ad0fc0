"""A CSV file as a test looks at it."""

from __future__ import annotations

import csv
import io
from pathlib import Path


def read_csv(path: Path) -> list[dict[str, str]]:
    """A dict for each line, by the names in the first one."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
