"""What the jobs of the workflow ask a scheduler for: memory, time, GPUs; from `resources:` of the experiment.

Reads the plan as JSON and imports nothing heavy: each job of a cluster reads the Snakefile again.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

LONGEST_MINUTES = 1440  # a job asks for the time of all its runs, but not for more than a day: it resumes
MARGIN_MB = 1000  # for the Snakemake processes of a Slurm job and for who watches a run; see config/README.md


class Allocation:
    """Of the jobs of a plan. Memory in MB (10^6 bytes), time in minutes."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.tasks = plan["tasks"]
        self.runs = Counter(run["job"] for run in plan["runs"])
        self.seeds = len({run["seed"] for run in plan["runs"]})
        self.trials = (plan.get("tuning") or {}).get("trials", 1)

    def memory(self, task: str) -> int:
        """What a run may use, and what is around it, so that its own limit is met before the cluster's."""
        return math.ceil(1000 * self.tasks[task]["resources"]["memory_gb"]) + MARGIN_MB

    def gpus(self, task: str) -> int:
        """As many as asked for; one where `training: {device: cuda}` needs it and nothing is said."""
        return self.tasks[task]["resources"]["gpus"] or int(self.tasks[task]["training"]["device"] == "cuda")

    def run_minutes(self, task: str, job: str) -> int:
        """For all runs of a job."""
        return self._minutes(task, self.runs[job])

    def start_minutes(self, task: str) -> int:
        """For the dense pretraining of a task, one or a few for each seed."""
        return self._minutes(task, self.seeds)

    def tune_minutes(self, task: str) -> int:
        """For the trials of one method."""
        return self._minutes(task, self.trials)

    def _minutes(self, task: str, number: int) -> int:
        """For `number` runs; at least one fits whatever it may take."""
        each = self.tasks[task]["resources"]["minutes"]
        return math.ceil(max(each, min(each * number, LONGEST_MINUTES)))
