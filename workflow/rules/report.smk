# The report reads whatever records there are: failed, skipped and missing runs are shown, they do not stop it.
from squeezebench.base.plugins import files_of
from squeezebench.report import outputs

FILES = [f"{RESULTS}/{name}" for name in outputs(PLAN)]


def receipts(wildcards):
    """Of all jobs. A function, so that the Snakemake inside each job of a cluster, which makes neither `report` nor
    `all`, does not list 20,000 files."""
    return [f"{RESULTS}/jobs/{job}.json" for job in PLAN["jobs"]]


rule report:
    input:
        receipts,
        [f"{path}" for kind in ("figures", "tables") for path in files_of(kind, PLAN["plugins"])],
    output:
        report(f"{RESULTS}/report.html", category="report"),
        report([name for name in FILES if name.endswith(".svg")], category="figures"),
        [name for name in FILES if not name.endswith((".svg", "report.html"))],
    params:
        python=PYTHON,
        folder=RESULTS,
        plugins=[f"--plugins={place}" for place in PLAN["plugins"]],
    resources:
        mem_mb=4000,
        runtime=120,
    conda:
        "../envs/squeezebench.yaml"
    shell:
        "{params.python:q} -m squeezebench report {params.folder:q} {params.plugins:q}"
