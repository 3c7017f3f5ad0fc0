"""VIBNet's theorem in numbers: how many masks are not 0 at the local minima of a quadratic data term, by its rank.

    python -m benchmarks.vibnet_theorem [--size 16] [--starts 60] [--svg FILE] [--json FILE]

For each rank and weight gamma of the KL term: local minima of problems drawn at random, from random starts
(benchmarks/studies/theorem.py). The poster says at most rank + 1; that module argues for at most rank.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.studies.theorem import random_bound
from benchmarks.timing import machine, parser_of, write_json

RANKS = (1, 2, 3, 4, 6, 8, 10, 12)
WEIGHTS = (0.01, 0.1, 1.0)
PROBLEMS = 3  # of each rank and weight


def counts(rank: int, weight: float, size: int, starts: int) -> dict[str, object]:
    """Masks at each minimum that are not 0, and how many of them VIBNet would keep (alpha > 1)."""
    rng = np.random.default_rng([rank, round(1000 * weight)])
    nonzero, kept = [], []
    for _ in range(PROBLEMS):
        bound = random_bound(rng, rank, size, weight)
        minima = bound.minima(rng.normal(0, 2, (starts // PROBLEMS, size)))
        nonzero += (minima != 0).sum(axis=1).tolist()
        kept += (bound.alpha(minima) > 1).sum(axis=1).tolist()
    return {"rank": rank, "weight": weight, "size": size, "nonzero": nonzero, "kept": kept}


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Every minimum as a dot at its rank, with the poster's bound and the sharper one as lines."""
    from squeezebench.report.drawing.svg import INK, SOFT, new_figure, style

    rng = np.random.default_rng(0)
    with style():
        figure = new_figure(5.3, 3.3)
        axes = figure.add_subplot()
        ends = np.array([min(RANKS) - 0.5, max(RANKS) + 0.5])
        axes.plot(ends, ends + 1, color=SOFT, lw=0.9, ls=(0, (6, 3)), label="rank + 1 (poster)")
        axes.plot(ends, ends, color=INK, lw=0.9, label="rank")
        for number, (weight, colour) in enumerate(zip(WEIGHTS, ("#0072b2", "#d55e00", "#009e73"), strict=True)):
            own = [row for row in rows if row["weight"] == weight]
            x = np.concatenate([np.full(len(row["nonzero"]), row["rank"] + 0.18 * (number - 1)) for row in own])
            y = np.concatenate([row["nonzero"] for row in own])
            axes.plot(x + rng.uniform(-0.07, 0.07, len(x)), y + rng.uniform(-0.12, 0.12, len(y)), marker="o", ms=1.8,
                      ls="none", color=colour, alpha=0.5, label=f"gamma {weight:g}")  # fmt: skip
        axes.set_title("Masks that are not 0 at a local minimum", loc="left", fontsize=8)
        axes.set_xlabel(f"Rank of the data term ({rows[0]['size']} masks)")
        figure.legend(loc="outside lower left", ncols=3)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=16, help="masks")
    parser.add_argument("--starts", type=int, default=60, help="of each rank and weight")
    parser.add_argument("--svg", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    rows = [counts(rank, weight, args.size, args.starts) for weight in WEIGHTS for rank in RANKS if rank < args.size]
    print(f"{'gamma':>6} {'rank':>4} {'minima':>6} {'most':>5} {'median':>6} {'most kept':>9}")
    for row in rows:
        print(f"{row['weight']:>6g} {row['rank']:>4} {len(row['nonzero']):>6} {max(row['nonzero']):>5} "
              f"{np.median(row['nonzero']):>6g} {max(row['kept']):>9}")  # fmt: skip
    if args.svg:
        draw(rows, args.svg)
    write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
