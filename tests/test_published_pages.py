"""Each interval that a published page states, `4.7 [1.6, 7.9]`, stands in a table below the page's folder; those of the
project's README stand in any published table.

A sentence that is edited without its table, and a table that is made again without its page, fail here. The tables are
those of the report, and what `python -m benchmarks.studies.across_splits` prints, in `across*.csv` beside `tables/`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
NUMBER = r"[+\N{MINUS SIGN}]?\d+(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER})(?: points| %)? \[({NUMBER}), ({NUMBER})\](?!\()")
UNREAD = {"runs.csv", "provenance.csv", "problems.csv"}  # they hold no interval


def stated(page: Path) -> list[tuple[str, str, str]]:
    """The intervals of a page's text: mean, low, high."""
    return INTERVAL.findall(" ".join(page.read_text("utf-8").replace("*", "").split()))


@cache
def intervals(file: Path) -> np.ndarray:
    """(n, 3) mean, low and high of every interval in a CSV file, by the names of its columns."""
    frame = pd.read_csv(file, low_memory=False)
    numbers = frame.select_dtypes("number")
    found = []
    for name in numbers:
        base = re.sub(r"(_mean|_?difference)$", "", name)
        half, *ends = (f"{base}_{part}".removeprefix("_") for part in ("half_width", "low", "high"))
        if half != name and half in numbers:
            found.append((numbers[name], numbers[name] - numbers[half], numbers[name] + numbers[half]))
        if name not in ends and set(ends) <= set(numbers):
            found.append((numbers[name], *(numbers[end] for end in ends)))
    table = np.concatenate([np.stack(columns, axis=1) for columns in found]) if found else np.empty((0, 3))
    return table[np.isfinite(table).all(axis=1)]


def below(folder: Path) -> np.ndarray:
    files = [file for file in sorted(folder.rglob("*.csv")) if file.name not in UNREAD and "figures" not in file.parts]
    return np.concatenate([np.empty((0, 3)), *map(intervals, files)])


def is_in(table: np.ndarray, texts: tuple[str, str, str]) -> bool:
    """Whether an interval is in the table to the digits that are printed: a share or points, or the difference the
    other way round, as `4.7 above` and `4.7 below`."""
    said = np.array([float(text.replace("\N{MINUS SIGN}", "-")) for text in texts])
    digits = np.array([10.0 ** -len(text.partition(".")[2]) for text in texts])
    forms = [scale * side for scale in (1, 100) for side in (table, -table[:, [0, 2, 1]])]
    return any((np.abs(form - said) <= 0.5 * digits + 1e-9).all(axis=1).any() for form in forms)


def missing(page: Path) -> list[str]:
    table = below(REFERENCE if page.parent == ROOT else page.parent)
    return [f"{mean} [{low}, {high}]" for mean, low, high in stated(page) if not is_in(table, (mean, low, high))]


ACROSS = {  # page -> folders whose `across*.csv` it quotes; a page is held as soon as they are there
    ".": ("quick", "fine_tuning_rates"),
    "cnn_lstm": ("cnn_lstm",),
    "fine_tuning_rates": ("fine_tuning_rates",),
    "itpcc": ("itpcc/resnet20", "itpcc/resnet20_mu", "itpcc/resnet56"),
    "jhmdb": ("jhmdb",),
    "project": ("three_rates", "tuned", "ucf101_vgg16_14"),
    "quick": ("quick",),
    "three_rates": ("three_rates",),
    "tuned": ("tuned",),
    "ucf101_vgg16_14": ("ucf101_vgg16_14",),
    "ucf11_features": ("ucf11_features",),
    "vibnet_lenet": ("vibnet_lenet/lenet_5_later",),
    "vibnet_vgg16": ("vibnet_vgg16",),
}
KNOWN = {  # page -> intervals that no table below it holds; this list only gets shorter
    ".": {"−0.3 [−1.5, 0.9]"},  # of the SSD study, see itpcc
    "itpcc": {
        # between two variants of ITPCC, where across_splits compares with controls
        "1.4 [0.6, 2.1]", "−0.5 [−1.3, 0.2]",
        # mAP, by benchmarks/studies/detection/differences.py, which prints no CSV
        "−7.3 [−8.6, −5.9]", "−0.3 [−1.5, 0.9]", "−6.9 [−8.3, −5.6]",
    },
    # of the later five seeds alone, where across_splits takes all ten
    "quick": {"4.7 [−0.2, 9.6]", "3.3 [−3.6, 10.3]", "4.3 [1.3, 7.3]", "5.3 [0.7, 9.8]"},
    "sideways": {
        # one training on J-HMDB: over test clips alone, where rules.csv has no interval of one seed
        "5.1 [1.3, 8.8]", "3.9 [−0.7, 8.5]", "2.7 [−0.8, 6.2]", "3.1 [−0.3, 6.5]", "−0.4 [−4.1, 3.3]",
        "−1.6 [−4.8, 1.7]", "5.8 [0.6, 11.1]",
        # of prediction/prediction_shapes.csv, which has a line for each training and no difference
        "−0.28 [−0.35, −0.21]", "0.10 [0.05, 0.16]", "0.10 [0.09, 0.11]",
    },
    "ucf11_end_to_end": {"35 [26, 45]"},  # quoted from ucf11_features, where it is 35.1 [25.7, 44.5]
}  # fmt: skip
PAGES = sorted(page for page in [ROOT / "README.md", *REFERENCE.rglob("README.md")] if stated(page))


def name_of(page: Path) -> str:
    return "project" if page.parent == ROOT else page.parent.relative_to(REFERENCE).as_posix()


def test_the_published_pages_state_intervals():
    names = {name_of(page) for page in PAGES}
    assert names >= {*ACROSS, *KNOWN, "project"} and len(names) >= 10


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_interval_of_a_page_is_in_a_table_below_it(page):
    name = name_of(page)
    if lacking := [folder for folder in ACROSS.get(name, ()) if not list((REFERENCE / folder).glob("across*.csv"))]:
        pytest.skip(f"no across*.csv of across_splits in {', '.join(lacking)}")
    assert set(missing(page)) == KNOWN.get(name, set())


def test_an_interval_that_is_edited_is_no_longer_found(tmp_path):
    frame = pd.DataFrame({"difference": [0.0471], "low": [0.0163], "high": [0.0786], "dense_difference": [-1.5],
                          "dense_half_width": [0.25]})  # fmt: skip
    frame.to_csv(tmp_path / "across.csv", index=False)
    page = tmp_path / "README.md"
    for text, lacks in [
        ("It is 4.7 [1.6,\n7.9] above, or **−4.7 [−7.9, −1.6]**, and −1.5 [−1.8, −1.2].", []),
        ("It is 4.8 [1.6, 7.9] above and 4.7 points [1.6, 7.8].", ["4.8 [1.6, 7.9]", "4.7 [1.6, 7.8]"]),
        ("[5, 6](a.md) and 4 [2, 8](b.md) are links.", []),
    ]:
        page.write_text(text, encoding="utf-8")
        assert missing(page) == lacks
