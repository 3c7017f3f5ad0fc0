"""Inference of a compact LSTM against the dense one it came from, in the same runtime and against the fastest.

The default sizes are VIB-LSTM's on UCF11: 46 inputs and 9 units against 2048 and 2048 (the printed 2,052 parameters
are those of 46 and 9), 8 frames, one thread, a single video and a batch of 10 (section 5.5 of the paper).
`squeezebench inference FOLDER` measures them, and here nothing else: see squeezebench/tools/latency.

    python -m benchmarks.inference [--json FILE] [--seconds 1] [--steps 8] [--dense 2048 2048] [--compact 46 9]
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.timing import parser_of, write_json
from squeezebench.tools.latency import PAPER, Sizes, measure


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--dense", type=int, nargs=2, default=PAPER.dense, metavar=("D", "H"))
    parser.add_argument("--compact", type=int, nargs=2, default=PAPER.compact, metavar=("D", "H"))
    parser.add_argument("--steps", type=int, default=PAPER.steps)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each batch size of each network")
    options = parser.parse_args(argv)
    sizes = Sizes(tuple(options.dense), tuple(options.compact), options.steps, PAPER.classes, "synthetic")
    with tempfile.TemporaryDirectory() as folder:
        result = json.loads(measure(Path(folder), [], [sizes], options.seconds).read_bytes())
    for found in result["models"][0]["comparisons"]:
        print(f"\nbatch {found['batch']}, {options.steps} steps, one thread: median ms, and times faster than dense")
        print(f"{'':24}{'dense':>10}{'compact':>10}{'same runtime':>14}{'against the fastest dense':>28}")
        for name in found["compact"]["ms"]:
            ms = [side["ms"][name]["median"] for side in (found["dense"], found["compact"])]
            print(f"{name:24}{ms[0]:>10.4g}{ms[1]:>10.4g}{found['same_runtime'][name]:>13.0f}x"
                  f"{found['against_fastest'][name]:>27.0f}x")  # fmt: skip
    write_json(options.json, result)


if __name__ == "__main__":
    main()
