"""What the papers print: `report/reference/*.csv`, one file a table, every figure as it stands, misprints included.

`printed("viblstm_t2")` gives a table with text in every cell ("33.57M", "2052", "-"), because how a figure is
printed decides what it may round to. `sources.csv` names the paper, the table and the year of each block;
report/reference/README.md explains the columns.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from squeezebench.base.errors import InputError
from squeezebench.report.words import ASSETS

REFERENCE = ASSETS / "reference"
SOURCES = "sources"
SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def read(name: str, folder: Path = REFERENCE) -> pd.DataFrame:
    """One CSV file of the folder, every cell as text; an empty cell is ''."""
    path = folder / f"{name}.csv"
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None


def blocks(folder: Path = REFERENCE) -> list[str]:
    """Names of all blocks of printed figures, in the order of the papers."""
    return list(read(SOURCES, folder)["block"])


def printed(block: str, folder: Path = REFERENCE) -> pd.DataFrame:
    """A block as it is printed: one row a line of the paper's table, text in every cell."""
    known = blocks(folder)
    if block not in known:
        raise InputError(f"no block of printed figures {block!r}; there are {', '.join(known)}")
    return read(block, folder)


def source(block: str, folder: Path = REFERENCE) -> dict[str, str]:
    """Where a block is printed: `paper`, `year`, `place` and how the figures came here (`held`)."""
    table = read(SOURCES, folder).set_index("block")
    if block not in table.index:
        raise InputError(f"no block of printed figures {block!r}; there are {', '.join(table.index)}")
    return table.loc[block].to_dict()
