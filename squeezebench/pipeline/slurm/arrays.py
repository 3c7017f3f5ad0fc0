"""A patch of the job arrays of snakemake-executor-plugin-slurm 2.6.1, until the plugin has a better form.

Its arrays do not stand up to runs of unequal length. Each task checks the *first* task's output after its own work, so
that whoever finishes earlier is called a failure and its output is removed (issue 447 of the plugin); jobs beyond
`--jobs` are dropped (issue 473); all tasks get the memory, time and GPUs of the first; and commands that outgrow one
argument (128 KiB) are submitted as a broken script. Single jobs wait 5 s each before they are submitted, two at a time,
and their command is wrapped in double quotes, where a file name with `$(...)` is run by the shell.

Here jobs whose `sbatch` line is the same become one array (of one, where there is no other), whose tasks are the
branches of one script on standard input: no limit, no second layer of quotes, a log file for each. Everything else
(the sbatch options, status, cancelling, accounts, group jobs) is the plugin's own.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import subprocess
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PLUGIN, PATCHED = "snakemake-executor-plugin-slurm", "2.6.1"
log = logging.getLogger("squeezebench")


def patch() -> None:
    """Put `run_jobs` and `sacct` into the plugin; nothing happens if the plugin is not installed."""
    try:
        installed = version(PLUGIN)
    except PackageNotFoundError:
        return
    if installed != PATCHED:
        log.warning("%s %s: job arrays were tested with %s only; the plugin's own are used", PLUGIN, installed, PATCHED)
        return
    plugin = import_module("snakemake_executor_plugin_slurm")
    plugin.Executor.run_jobs = run_jobs
    plugin.query_job_status_sacct = sacct


def sacct(run: str) -> str:
    """How `sacct` is asked where `squeue` forgets jobs too soon: for the numbers that the plugin keeps of tasks (`7_2`)
    and not for raw ones, by which a whole array would be as its last task is."""
    asked = import_module("snakemake_executor_plugin_slurm.job_status_query").query_job_status_sacct(run)
    return asked.replace("JobIdRaw", "JobId")


def run_jobs(executor: Any, jobs: list[Any]) -> None:
    """Submit `jobs`, those of `--slurm-array-jobs` together where their sbatch lines agree. None is left behind."""
    if executor._main_event_loop is None:
        try:
            executor._main_event_loop = asyncio.get_running_loop()
        except RuntimeError:  # called outside of an event loop: reports are made directly
            executor._main_event_loop = None
    together: dict[Any, list[Any]] = {}
    for job in jobs:
        if job.is_group():
            executor._job_submission_executor.submit(executor.run_job, job)
            continue
        in_array = executor.array_jobs & {"all", job.rule.name}
        together.setdefault(_alike(executor, job) if in_array else id(job), []).append(job)
    size = executor.max_array_size
    for alike in together.values():
        for start in range(0, len(alike), size):
            executor._job_submission_executor.submit(_submit, executor, alike[start : start + size])


def _alike(executor: Any, job: Any) -> tuple[Any, ...]:
    """Equal for jobs that may share an array; no Slurm command is called for it."""
    who = [job.resources.get(name) for name in ("slurm_account", "slurm_partition")]
    return job.rule.name, *map(str, who), _sbatch(executor, job, account="", partition="")


def _sbatch(executor: Any, job: Any, account: str, partition: str) -> str:
    """The sbatch line of a job without what it runs."""
    plugin = import_module("snakemake_executor_plugin_slurm")
    params = {
        "run_uuid": executor.run_uuid,
        "slurm_logfile": executor.slurm_logdir / f"rule_{job.rule.name}" / "%A_%a.log",
        "comment_str": f"rule_{job.rule.name}",
        "account": account,
        "partition": partition,
        "workdir": executor.workflow.workdir_init,
    }
    settings = executor.workflow.executor_settings
    line = plugin.get_submit_command(job, params, settings=settings, failed_nodes=executor._failed_nodes)
    return line + plugin.set_gres_string(job)


def script(commands: list[str]) -> str:
    """Task n of the array runs the n-th command, counted from 1."""
    branches = [f"{number}) {command} ;;" for number, command in enumerate(commands, 1)]
    return "\n".join(["#!/bin/sh", 'case "$SLURM_ARRAY_TASK_ID" in', *branches, "esac", ""])


def _submit(executor: Any, jobs: list[Any]) -> None:
    """One sbatch call for all `jobs`; where it fails, each of them is reported as failed, and so tried again."""
    plugin = import_module("snakemake_executor_plugin_slurm")
    first, number = jobs[0], len(jobs)
    try:
        plugin.validate_slurm_extra(first)
        folder = executor.slurm_logdir / f"rule_{first.rule.name}"
        folder.mkdir(parents=True, exist_ok=True)
        account, partition = next(executor.get_account_arg(first)), executor.get_partition_arg(first)
        call = f"{_sbatch(executor, first, account, partition)} --array=1-{number} /dev/stdin"
        text = script([executor.format_job_exec(job) for job in jobs])
        done = subprocess.run(shlex.split(call), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"sbatch: {done.stderr.strip()} (the call: {call})")
        array = plugin.validate_or_get_slurm_job_id(done.stdout.strip().split(";")[0], done.stdout)
    except Exception as error:  # in a thread of its own: what is not reported here would be waited for without end
        for job in jobs:
            executor._report_job_error_threadsafe(plugin.SubmittedJobInfo(job), f"not submitted to Slurm: {error}")
        return
    if cluster := first.resources.get("cluster") or first.resources.get("clusters"):
        executor._submitted_job_clusters.add(cluster)
    executor.logger.info(f"Submitted {number} jobs of rule {first.rule.name} as Slurm job array {array}.")
    for index, job in enumerate(jobs, 1):
        aux = {"slurm_logfile": folder / f"{array}_{index}.log"}
        executor._report_job_submission_threadsafe(
            plugin.SubmittedJobInfo(job, external_jobid=f"{array}_{index}", aux=aux)
        )
