# The report reads whatever records there are: failed, skipped and missing runs are shown, they do not stop it.
from squeezebench.base.digests import digest_of
from squeezebench.base.plugins import files_of
from squeezebench.report import outputs

FILES = [f"{RESULTS}/{name}" for name in outputs(PLAN)]


rule report:
    input:
        receipts,
        [
            f"{path}"
            for kind in ("figures", "tables")
            for path in files_of(kind, PLAN["plugins"])
        ],
    output:
        report(f"{RESULTS}/report.html", category="report"),
        report([name for name in FILES if name.endswith(".svg")], category="figures"),
        [name for name in FILES if not name.endswith((".svg", "report.html"))],
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../envs/squeezebench.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        python=PYTHON,
        folder=results_of,
        plugins=[f"--plugins={place}" for place in PLAN["plugins"]],
        # Other tables or another description make no run stale, but the page.
        asked=digest_of(PLAN["config"]),
    shell:
        "{params.python:q} -m squeezebench report {params.folder:q}"
        " --log {log:q} {params.plugins:q}"
