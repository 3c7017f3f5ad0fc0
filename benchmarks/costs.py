"""How near `squeezebench plan` comes: estimated against measured seconds of training, in one process.

    python -m benchmarks.costs

Seconds are those of the processor, so that what else the machine does is in neither of them.
"""

from __future__ import annotations

import argparse
import time

import torch

from squeezebench.data.task import load_task
from squeezebench.engine.start import DenseStart
from squeezebench.engine.training.loop import Trainer
from squeezebench.pipeline.cost.estimate import MEASURING_SECONDS, estimate
from squeezebench.pipeline.cost.throughput import measured
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.task import TaskSpec

EPOCHS = 4


def estimated_and_measured(hidden: int) -> tuple[float, float]:
    """Seconds of a dense run of EPOCHS epochs on digits: by the estimate, and the fastest of three."""
    content = {"name": "costs", "tasks": {"digits": {}}, "seeds": [0], "methods": {"dense": {}},
               "model": {"hidden": hidden}, "training": {"epochs": EPOCHS, "batch_size": 32}}  # fmt: skip
    plan = make_plan(check_experiment(content, "costs"), "costs")
    predicted = estimate(plan, cpu=measured()).total("cpu_core_hours") * 3600 - MEASURING_SECONDS
    task, planned, seconds = load_task(TaskSpec(name="digits")), plan.tasks["digits"], []
    for _ in range(3):
        started = time.process_time()
        Trainer(DenseStart(planned.model), task, planned.training, 0).run(None, EPOCHS)
        seconds.append(time.process_time() - started)
    return predicted, min(seconds)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    print(measured().about)
    for hidden in (64, 256):
        predicted, seconds = estimated_and_measured(hidden)
        ratio = f"{predicted / seconds:.2f}"
        print(f"LSTM 8-{hidden}: estimated {predicted:.2f} s, measured {seconds:.2f} s, ratio {ratio}")


if __name__ == "__main__":
    main()
