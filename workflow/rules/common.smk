# Functions that name the inputs and parameters of the rules.


def receipts(wildcards):
    """The receipts of all jobs. A function, so that the Snakemake inside each job of a cluster, which makes neither
    `report` nor `all`, does not list 20,000 files."""
    return [f"{RESULTS}/jobs/{job}.json" for job in PLAN["jobs"]]


def data_of(wildcards):
    return DATA.get(wildcards.task, [])


def methods_of(wildcards):
    """The methods of a job of runs, or the one that a job of trials tunes."""
    job = "/".join(wildcards)
    return sorted(METHODS[job]) if job in METHODS else [wildcards.method]


def method_files(wildcards):
    """If a method's file is edited, that method's runs are made again, and no others."""
    paths = [PLAN["methods"][method]["path"] for method in methods_of(wildcards)]
    return [path for path in paths if path]


def start_of(wildcards):
    needed = any(
        PLAN["methods"][method]["needs_start"] for method in methods_of(wildcards)
    )
    return STARTS[wildcards.task] if needed else []


def tunings_of(wildcards):
    """The trials that pick the settings of a job's runs."""
    names = [f"{wildcards.task}/{method}" for method in methods_of(wildcards)]
    return [TUNINGS[name] for name in names if name in TUNINGS]


def results_of(wildcards, output):
    return Path(output[0]).parent
