"""Inference of a compact LSTM against the dense one it came from, in the same runtime and against the fastest.

The default sizes are VIB-LSTM's on UCF11: 46 inputs and 9 units against 2048 and 2048 (the printed 2,052 parameters
are those of 46 and 9), 8 frames, one thread, a single video and a batch of 10 (section 5.5 of the paper).

`squeezebench inference FOLDER` does the same for the networks of an experiment.

    python -m benchmarks.inference [--json FILE] [--steps 8] [--dense 2048 2048] [--compact 46 9]
"""

from __future__ import annotations

import time
from dataclasses import astuple

import torch

from benchmarks.timing import Step, Timing, compare, machine, parser_of, print_table, repeated, within, write_json
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.tools.latency.runtimes import PYTORCH, in_every_runtime

BATCHES = (1, 10)
CLASSES = 11


def runtimes(inputs: int, hidden: int, batch: int, steps: int) -> dict[str, Step]:
    """One dense classifier of the given size in each runtime; that they agree has been checked."""
    torch.manual_seed(0)
    variants, _ = in_every_runtime(recurrent_classifier(inputs, hidden, CLASSES), inputs, steps)
    x = torch.randn(batch, steps, inputs)
    return {name: within(variant.within, variant.make(x)) for name, variant in variants.items()}


def enough(call: Step, seconds: float = 0.01) -> int:
    """How many calls take about `seconds`: a short call is timed in a row of many, in its steady state."""
    call()
    started = time.perf_counter()
    call()
    return max(1, min(1000, round(seconds / (time.perf_counter() - started))))


@torch.no_grad()
def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--dense", type=int, nargs=2, default=(2048, 2048), metavar=("D", "H"))
    parser.add_argument("--compact", type=int, nargs=2, default=(46, 9), metavar=("D", "H"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    result = {"machine": machine(), "threads": 1, "dense": options.dense, "compact": options.compact, "batches": {}}
    for batch in BATCHES:
        variants = {
            f"{size}, {name}": call
            for size, shape in (("dense", options.dense), ("compact", options.compact))
            for name, call in runtimes(*shape, batch, options.steps).items()
        }
        calls = {name: enough(call) for name, call in variants.items()}
        measured = compare({n: repeated(variants[n], k) for n, k in calls.items()}, repeats=options.repeats, warmup=2)
        timings = {n: Timing(*(value / calls[n] for value in astuple(t))) for n, t in measured.items()}
        print_table(f"batch {batch}, {options.steps} steps, one thread", timings, f"dense, {PYTORCH}")
        names = [name.removeprefix("compact, ") for name in variants if name.startswith("compact")]
        fastest = min(timings[f"dense, {name}"].median for name in names)
        ratios = {
            name: {
                "same runtime": timings[f"dense, {name}"].median / timings[f"compact, {name}"].median,
                "fastest dense": fastest / timings[f"compact, {name}"].median,
            }
            for name in names
        }
        print(f"{'':24}{'same runtime':>14}{'against the fastest dense':>28}")
        for name, ratio in ratios.items():
            print(f"{name:24}{ratio['same runtime']:>13.0f}x{ratio['fastest dense']:>27.0f}x")
        result["batches"][batch] = {"timings": timings, "ratios": ratios}
    write_json(options.json, result)


if __name__ == "__main__":
    main()
