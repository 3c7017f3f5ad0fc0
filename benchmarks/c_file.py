"""The exported C file of a compact LSTM: its bytes, and its microseconds beside ONNX Runtime and PyTorch.

The default sizes are VIB-LSTM's on UCF11 (section 5.5 of the paper): 46 inputs and 9 units against 2048 and 2048, 11
classes, 8 steps, one sequence, one thread. Weights are random: no time depends on them. All variants take turns, and
the time is the processor's, so that a busy machine costs a variant its cache but not its turn.

If `aarch64-linux-gnu-gcc` and `qemu-aarch64` are there, the C also runs on an emulated 64-bit Arm core. Those are the
emulator's seconds and no Arm core's; only the ratio of two of them says something.

    python -m benchmarks.c_file [--json FILE] [--steps 8] [--dense 2048 2048] [--compact 46 9]
        [--repeats 11] [--core CORE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.timing import Step, compare, enough, machine, parser_of, print_table, repeated, within, write_json
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.tools.export.c.arrays import Arrays
from squeezebench.tools.export.c.source import c_source
from squeezebench.tools.export.standard import Standard, StandardLayer, standard
from squeezebench.tools.latency.runtimes import in_every_runtime

CLASSES = 11
FLAGS = ["-std=c99", "-O3", "-D_POSIX_C_SOURCE=199309L"]
CORES = {
    "real": (["gcc"], [], []),
    "emulated": (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"], ["aarch64-linux-gnu-size"]),
}
ABOUT = {"classes": "[]"}
DRIVER = """\
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#define NET_DECLARATIONS_ONLY
#include "net.c"
void fill(void);
int main(int count, char **given)
{
    size_t steps = (size_t)atoi(given[1]), calls = (size_t)atoi(given[2]), k;
    float *x = malloc(steps * NET_INPUTS * sizeof *x), logits[NET_CLASSES], sum = 0.0f;
    struct timespec from, to;
    fill();
    for (k = 0; k < steps * NET_INPUTS; ++k)
        x[k] = (float)(k % 17) / 8.0f - 1.0f;
    if (calls > 1)
        net_sequence(x, steps, logits);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (k = 0; k < calls; ++k) {
        net_sequence(x, steps, logits);
        sum += logits[0];
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    printf("%.9g %g\\n",
           ((double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec)) / (double)calls,
           (double)sum);
    return count < 3;
}
"""


class Unwritten(Arrays):
    """Arrays that a program fills when it starts: a dense network's numbers are too many for source."""

    def add(self, name, values, kind="float"):
        size = values.numel()
        self.texts.append(f"{kind} {name}[{size}];")
        self.filled = [*getattr(self, "filled", []), (name.replace("@", "net"), size)]
        return name


def source_of(form: Standard, int8: bool = False, unwritten: bool = False) -> str:
    """net.c with the function `fill`, which gives the arrays values where the source has none."""
    if not unwritten:
        return c_source(form, ABOUT, Path("net.c"), int8)
    arrays = Unwritten(int8)
    with patch("squeezebench.tools.export.c.source.Arrays", lambda _: arrays):
        text = c_source(form, ABOUT, Path("net.c"), int8)
    loops = [f"for (k = 0; k < {n}; ++k) {name}[k] = (float)(k % 13) / 999.0f - 0.006f;" for name, n in arrays.filled]
    body = "void fill(void);\nvoid fill(void)\n{\n    long k;\n" + "\n".join(loops) + "\n}"
    return f"{text}\n#ifndef NET_DECLARATIONS_ONLY\n{body}\n#endif\n"


def program(source: str, core: str, folder: Path) -> Path:
    """The compiled benchmark of net.c; the object of net.c alone stays beside it."""
    cc, *_ = CORES[core]
    folder.mkdir(parents=True)
    (folder / "net.c").write_text(source)
    (folder / "main.c").write_text(DRIVER)
    own = "" if "void fill" in source else "void fill(void);\nvoid fill(void) {}\n"
    (folder / "fill.c").write_text(own or "typedef int nothing;\n")
    subprocess.run([*cc, *FLAGS, "-c", "net.c"], cwd=folder, check=True)
    subprocess.run([*cc, *FLAGS, "main.c", "fill.c", "net.o", "-o", "program", "-lm"], cwd=folder, check=True)
    return folder / "program"


def seconds_of(path: Path, core: str, steps: int, calls: int) -> float:
    """Seconds of one sequence, the mean of `calls` in a row, by the program's own clock."""
    command = [*CORES[core][1], str(path), str(steps), str(calls)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


def sizes(folder: Path, core: str) -> dict[str, int]:
    """Bytes of the source, and of code and constants in its object file."""
    tool = [*(CORES[core][2] or ["size"]), "-A", "net.o"]
    lines = subprocess.run(tool, cwd=folder, check=True, capture_output=True, text=True).stdout.split("\n")
    parts = [line.split() for line in lines if line.startswith((".text", ".rodata"))]
    sections = {kind: sum(int(p[1]) for p in parts if p[0].startswith(kind)) for kind in (".text", ".rodata")}
    return {"source": (folder / "net.c").stat().st_size, **sections}


def empty(inputs: int, hidden: int) -> Standard:
    """A dense LSTM of which only the sizes are read; to initialise millions of numbers takes seconds."""
    rows = 4 * hidden
    sizes = (rows, inputs), (rows, hidden), (rows,), (rows,)
    layer = StandardLayer(*(torch.empty(size) for size in sizes), factors={})
    return Standard(cell_of("lstm"), inputs, None, None, [layer], torch.nn.Linear(hidden, CLASSES), None)


def runtimes(inputs: int, hidden: int, steps: int) -> dict[str, Step]:
    """One sequence through a classifier of the given size in each runtime; that they agree has been checked."""
    torch.manual_seed(0)
    variants, _ = in_every_runtime(recurrent_classifier(inputs, hidden, CLASSES), inputs, steps)
    x = torch.randn(1, steps, inputs)
    return {name: within(variant.within, variant.make(x)) for name, variant in variants.items()}


def row_of(call: Step) -> Callable[[], float]:
    """Seconds of one call, the mean of a row of them."""
    count = enough(call)
    row = repeated(call, count)

    def run() -> float:
        started = time.process_time()
        row()
        return (time.process_time() - started) / count

    return run


def c_variants(core: str, options: argparse.Namespace, folder: Path) -> tuple[dict[str, Callable[[], float]], dict]:
    """(what is timed on `core`, sizes of the compact files)."""
    torch.manual_seed(0)
    compact = standard(recurrent_classifier(*options.compact, CLASSES))
    dense = empty(*options.dense)
    sources = {
        "compact, C": source_of(compact),
        "compact, C int8": source_of(compact, int8=True),
        "dense, C": source_of(dense, unwritten=True),
    }
    variants, bytes_of = {}, {}
    for number, (name, source) in enumerate(sources.items()):
        path = program(source, core, folder / core / str(number))
        calls = max(1, min(100_000, round(0.02 / seconds_of(path, core, options.steps, 1))))
        variants[name] = lambda path=path, calls=calls: seconds_of(path, core, options.steps, calls)
        if name.startswith("compact"):
            bytes_of[name] = sizes(path.parent, core)
    return variants, bytes_of


@torch.no_grad()
def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--dense", type=int, nargs=2, default=(2048, 2048), metavar=("D", "H"))
    parser.add_argument("--compact", type=int, nargs=2, default=(46, 9), metavar=("D", "H"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--core", choices=CORES, action="append", help="only this; default: both")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start; seconds are the processor's, of one thread")
    result = {"machine": machine(), "load": load, "flags": FLAGS, "cores": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for core in options.core or CORES:
            cc, emulator, _ = CORES[core]
            if missing := [tool for tool in (cc[0], *emulator) if shutil.which(tool) is None]:
                print(f"\n{core} core: not timed, {missing[0]} is not installed")
                continue
            variants, bytes_of = c_variants(core, options, Path(scratch))
            if not emulator:
                calls = runtimes(*options.compact, options.steps)
                variants |= {f"compact, {name}": row_of(call) for name, call in calls.items()}
            timings = compare(variants, repeats=options.repeats, warmup=1, seconds=lambda variant: variant())
            print_table(f"{core} core: one sequence of {options.steps} steps, one thread", timings, "dense, C")
            print("\nbytes: " + "; ".join(f"{name}: {size}" for name, size in bytes_of.items()))
            for name, timing in timings.items():
                if name.startswith("compact"):
                    print(f"{name}: {timing.median * 1e6:.2f} us")
            result["cores"][core] = {"timings": timings, "bytes": bytes_of}
    write_json(options.json, result)


if __name__ == "__main__":
    main()
