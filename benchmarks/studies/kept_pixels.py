"""Which pixels the compact networks of an end-to-end experiment read, and whether other runs read the same ones.

    python -m benchmarks.studies.kept_pixels RESULTS [--method vib_lstm] [--height 120] [--out kept_pixels]

Writes OUT.svg, a picture for each run (black: all three colours of a pixel are kept), and OUT.csv: the numbers of
inputs kept, and the inputs that each pair of runs shares beside those that two choices at random would share,
k1 k2 / N. It reads the saved networks, which a published page does not have.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from squeezebench.schema.record import read_record, record_files

COLOURS = 3


def kept(results: Path, method: str) -> dict[tuple[str, int], np.ndarray]:
    """(task, seed) -> whether each input is kept, (N,) bool, of every finished run of a method.

    Raises SystemExit if there is none, or if a run has no saved network.
    """
    masks = {}
    for path in record_files(results):
        record = read_record(path)
        if record.method != method or record.status != "ok":
            continue
        file = path.with_name("model.safetensors")
        if not file.is_file():
            raise SystemExit(f"{file}: not there; a published page has no networks, so make the run again")
        index, mask = load_file(file).get("input_index"), np.ones(record.shape.inputs, bool)
        if index is not None:
            mask = np.zeros(record.shape.inputs, bool)
            mask[index] = True
        masks[record.task, record.seed] = mask
    if not masks:
        raise SystemExit(f"{results}: no finished run of {method}")
    return masks


def overlaps(masks: dict[tuple[str, int], np.ndarray]) -> pd.DataFrame:
    """One row for each pair of runs: the inputs that each keeps, that both keep, and that two random choices share."""
    lines = []
    for (one, left), (other, right) in combinations(masks.items(), 2):
        line = dict(zip(("task", "seed", "other_task", "other_seed"), (*one, *other), strict=True))
        counts = {"kept": left.sum(), "other_kept": right.sum(), "both": (left & right).sum()}
        lines.append(line | counts | {"by_chance": left.sum() * right.sum() / left.size})
    return pd.DataFrame(lines)


def draw(masks: dict[tuple[str, int], np.ndarray], height: int) -> plt.Figure:
    """A picture for each run: how many of the three colours of each pixel are kept."""
    columns = min(3, len(masks))
    rows = -(-len(masks) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.4 * columns, 2.1 * rows), squeeze=False, layout="constrained")
    for panel in axes.flat:
        panel.set_axis_off()
    for panel, ((task, seed), mask) in zip(axes.flat, masks.items(), strict=False):
        image = mask.reshape(height, -1, COLOURS).sum(-1)
        panel.imshow(image, cmap="Greys", vmin=0, vmax=COLOURS, interpolation="nearest")
        panel.set_title(f"{task}, seed {seed}\n{mask.sum():,} of {mask.size:,}", fontsize=7)
    return figure


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--method", default="vib_lstm")
    parser.add_argument("--height", type=int, default=120, help="of a frame, in pixels")
    parser.add_argument("--out", type=Path, default=Path("kept_pixels"))
    given = parser.parse_args(argv)
    masks = kept(given.results, given.method)
    draw(masks, given.height).savefig(given.out.with_suffix(".svg"), metadata={"Date": None})
    table = overlaps(masks)
    table.to_csv(given.out.with_suffix(".csv"), index=False)
    print(table.to_string(index=False) if len(table) else "one run: no pairs")


if __name__ == "__main__":
    main()
