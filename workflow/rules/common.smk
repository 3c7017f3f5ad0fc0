# Functions that name the inputs and parameters of the rules.


def receipts(wildcards):
    """The receipts of all jobs. A function, so that the Snakemake inside each job of a cluster, which makes neither
    `report` nor `all`, does not list 20,000 files."""
    return [f"{RESULTS}/jobs/{job}.json" for job in PLAN["jobs"]]


def data_of(wildcards):
    return DATA.get(wildcards.task, [])


def method_file(wildcards):
    """If a method's file is edited, that method's runs are made again, and no others."""
    return PLAN["methods"][wildcards.method]["path"] or []


def start_of(wildcards):
    return (
        STARTS[wildcards.task]
        if PLAN["methods"][wildcards.method]["needs_start"]
        else []
    )


def tuning_of(wildcards):
    """The trials that pick the settings of a method's runs on a task."""
    return TUNINGS.get(f"{wildcards.task}/{wildcards.method}", [])


def results_of(wildcards, output):
    return Path(output[0]).parent
