# Data, dense starts and runs. A job is the runs of one method on one task (or a chunk of them, `runs_per_job`).
import sys

STARTS = {task: f"{RESULTS}/jobs/starts/{task}.json" for task in PLAN["start_jobs"]}
DATA = {task: f"{RESULTS}/jobs/data/{task}.json" for task in PLAN["data_jobs"]}


def data_of(wildcards):
    return DATA.get(wildcards.task, [])


def method_file(wildcards):
    """Editing a method's file reruns that method's runs, and those alone."""
    return PLAN["methods"][wildcards.method]["path"] or []


def start_of(wildcards):
    return STARTS[wildcards.task] if PLAN["methods"][wildcards.method]["needs_start"] else []


rule data:
    output:
        f"{RESULTS}/jobs/data/{{task}}.json",
    params:
        plan=PLAN_FILE,
        python=sys.executable,
    threads: 1
    shell:
        "{params.python:q} -m squeezebench data prepare {params.plan:q} {wildcards.task:q} --receipt {output:q}"


rule starts:
    input:
        data=data_of,
    output:
        f"{RESULTS}/jobs/starts/{{task}}.json",
    params:
        plan=PLAN_FILE,
        python=sys.executable,
    threads: 1
    shell:
        "{params.python:q} -m squeezebench starts {params.plan:q} {wildcards.task:q} --receipt {output:q} --threads {threads}"


rule runs:
    input:
        method=method_file,
        start=start_of,
        data=data_of,
    output:
        f"{RESULTS}/jobs/{{task}}/{{method}}/{{chunk}}.json",
    params:
        plan=PLAN_FILE,
        python=sys.executable,
        job="{task}/{method}/{chunk}",
    wildcard_constraints:
        task="(?!(starts|data)/)[^/]+",
        method="[^/]+",
        chunk="[^/]+",
    threads: 1
    retries: 2  # a run whose process was killed twice becomes a failed record, and the others go on
    shell:
        "{params.python:q} -m squeezebench job {params.plan:q} {params.job:q} --receipt {output:q} --threads {threads}"
