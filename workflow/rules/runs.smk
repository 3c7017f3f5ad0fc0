# Data, dense pretrainings, tuning and runs. A job is the runs of one method on one task (or a chunk of them, `runs_per_job`).
import sys

from squeezebench.pipeline.slurm import arrays
from squeezebench.pipeline.slurm.allocation import LONGEST_MINUTES, Allocation

arrays.patch()
ASKED = Allocation(PLAN)
# The Python that runs Snakemake; with `--sdm conda` or `--sdm apptainer` the environment's own, on this source.
DEPLOYED = ["env", f"PYTHONPATH={ROOT}", "python"]
PYTHON = DEPLOYED if workflow.deployment_settings.deployment_method else sys.executable


container: f"{ROOT}/workflow/envs/squeezebench.sif"  # with `--sdm apptainer` only; built from squeezebench.def


STARTS = {task: f"{RESULTS}/jobs/starts/{task}.json" for task in PLAN["start_jobs"]}
TUNINGS = {f"{one['task']}/{one['method']}": f"{RESULTS}/jobs/tuning/{one['job']}.json" for one in PLAN["tunings"]}
DATA = {task: f"{RESULTS}/jobs/data/{task}.json" for task in PLAN["data_jobs"]}


def data_of(wildcards):
    return DATA.get(wildcards.task, [])


def method_file(wildcards):
    """Editing a method's file reruns that method's runs, and those alone."""
    return PLAN["methods"][wildcards.method]["path"] or []


def start_of(wildcards):
    return STARTS[wildcards.task] if PLAN["methods"][wildcards.method]["needs_start"] else []


def tuning_of(wildcards):
    """The trials that pick the settings of a method's runs on a task."""
    return TUNINGS.get(f"{wildcards.task}/{wildcards.method}", [])


rule data:
    output:
        f"{RESULTS}/jobs/data/{{task}}.json",
    params:
        plan=PLAN_FILE,
        python=PYTHON,
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=LONGEST_MINUTES,
    threads: workflow.resource_settings.cores or 8  # one data set after the other, on all cores; on 8 of a cluster
    conda:
        "../envs/squeezebench.yaml"
    shell:
        "{params.python:q} -m squeezebench data prepare {params.plan:q} {wildcards.task:q} --receipt {output:q} --workers {threads}"


rule starts:
    input:
        data=data_of,
    output:
        f"{RESULTS}/jobs/starts/{{task}}.json",
    params:
        plan=PLAN_FILE,
        python=PYTHON,
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.start_minutes(wildcards.task),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    threads: 1
    conda:
        "../envs/squeezebench.yaml"
    shell:
        "{params.python:q} -m squeezebench starts {params.plan:q} {wildcards.task:q} --receipt {output:q} --threads {threads}"


rule tune:
    input:
        method=method_file,
        start=start_of,
        data=data_of,
    output:
        f"{RESULTS}/jobs/tuning/{{task}}/{{method}}/{{study}}.json",
    params:
        plan=PLAN_FILE,
        python=PYTHON,
        job="{task}/{method}/{study}",
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.tune_minutes(wildcards.task),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    threads: 1
    conda:
        "../envs/squeezebench.yaml"
    shell:
        "{params.python:q} -m squeezebench tune {params.plan:q} {params.job:q} --receipt {output:q} --threads {threads}"


rule runs:
    input:
        method=method_file,
        start=start_of,
        data=data_of,
        tuning=tuning_of,
    output:
        f"{RESULTS}/jobs/{{task}}/{{method}}/{{chunk}}.json",
    params:
        plan=PLAN_FILE,
        python=PYTHON,
        job="{task}/{method}/{chunk}",
    wildcard_constraints:
        task="(?!(starts|data)/)[^/]+",
        method="[^/]+",
        chunk="[^/]+",
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.run_minutes(wildcards.task, "/".join(wildcards)),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    threads: 1
    conda:
        "../envs/squeezebench.yaml"
    shell:
        "{params.python:q} -m squeezebench job {params.plan:q} {params.job:q} --receipt {output:q} --threads {threads}"
