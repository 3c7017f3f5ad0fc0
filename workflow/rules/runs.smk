# Data, dense starts, tuning and runs. A job is the runs of one method on one task (or a chunk of them, `runs_per_job`).
import sys

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
        python=sys.executable,
    threads: workflow.cores or 1  # one data set after the other, each on all cores
    shell:
        "{params.python:q} -m squeezebench data prepare {params.plan:q} {wildcards.task:q} --receipt {output:q} --workers {threads}"


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


rule tune:
    input:
        method=method_file,
        start=start_of,
        data=data_of,
    output:
        f"{RESULTS}/jobs/tuning/{{task}}/{{method}}/{{study}}.json",
    params:
        plan=PLAN_FILE,
        python=sys.executable,
        job="{task}/{method}/{study}",
    threads: 1
    retries: 2  # a killed tuner goes on from its finished trials; one that is killed twice becomes a failed trial
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
