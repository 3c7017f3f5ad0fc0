# Data, dense pretrainings, tuning and runs. A job is a part of the runs on one task (`runs_per_job`), in one process.
import sys

from squeezebench.pipeline.slurm import arrays
from squeezebench.pipeline.slurm.allocation import LONGEST_MINUTES, Allocation

arrays.patch()
ASKED = Allocation(PLAN)
# The Python that runs Snakemake; with `--sdm conda` or `--sdm apptainer` the environment's own, on this source.
DEPLOYED = ["env", f"PYTHONPATH={ROOT}", "python"]
PYTHON = DEPLOYED if workflow.deployment_settings.deployment_method else sys.executable
if PYTHON is DEPLOYED and not (ROOT / "squeezebench").is_dir():
    raise WorkflowError(
        "--sdm: an environment of its own runs the source of a clone of the repository, and this is an installed package"
    )


container: f"{ROOT}/workflow/envs/squeezebench.sif"  # with `--sdm apptainer` only; built from squeezebench.def


# A task may be called `data`, `starts` or `tuning`: the number of folders tells the receipts apart.
wildcard_constraints:
    task="[^/]+",
    method="[^/]+",  # of a job of several methods: `several`
    study="[^/]+",
    chunk="[^/]+",


rule data:
    output:
        f"{RESULTS}/jobs/data/{{task}}.json",
    log:
        f"{RESULTS}/logs/data/{{task}}.log",
    conda:
        "../envs/squeezebench.yaml"
    threads: workflow.resource_settings.cores or 8  # one data set after the other, on all cores; on 8 of a cluster
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=LONGEST_MINUTES,
    params:
        plan=PLAN_FILE,
        python=PYTHON,
    shell:
        "{params.python:q} -m squeezebench data prepare {params.plan:q} {wildcards.task:q}"
        " --receipt {output:q} --log {log:q} --workers {threads}"


rule starts:
    input:
        data=data_of,
    output:
        f"{RESULTS}/jobs/starts/{{task}}.json",
    log:
        f"{RESULTS}/logs/starts/{{task}}.log",
    conda:
        "../envs/squeezebench.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.start_minutes(wildcards.task),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    params:
        plan=PLAN_FILE,
        python=PYTHON,
    shell:
        "{params.python:q} -m squeezebench starts {params.plan:q} {wildcards.task:q}"
        " --receipt {output:q} --log {log:q} --threads {threads}"


rule tune:
    input:
        method=method_files,
        start=start_of,
        data=data_of,
    output:
        f"{RESULTS}/jobs/tuning/{{task}}/{{method}}/{{study}}.json",
    log:
        f"{RESULTS}/logs/tuning/{{task}}/{{method}}/{{study}}.log",
    conda:
        "../envs/squeezebench.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.tune_minutes(wildcards.task),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    params:
        plan=PLAN_FILE,
        python=PYTHON,
        job="{task}/{method}/{study}",
    shell:
        "{params.python:q} -m squeezebench tune {params.plan:q} {params.job:q}"
        " --receipt {output:q} --log {log:q} --threads {threads}"


rule runs:
    input:
        method=method_files,
        start=start_of,
        data=data_of,
        tuning=tunings_of,
    output:
        f"{RESULTS}/jobs/{{task}}/{{method}}/{{chunk}}.json",
    log:
        f"{RESULTS}/logs/{{task}}/{{method}}/{{chunk}}.log",
    conda:
        "../envs/squeezebench.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards: ASKED.memory(wildcards.task),
        runtime=lambda wildcards: ASKED.run_minutes(wildcards.task, "/".join(wildcards)),
        gpu=lambda wildcards: ASKED.gpus(wildcards.task),
    params:
        plan=PLAN_FILE,
        python=PYTHON,
        job="{task}/{method}/{chunk}",
    shell:
        "{params.python:q} -m squeezebench job {params.plan:q} {params.job:q}"
        " --receipt {output:q} --log {log:q} --threads {threads}"
