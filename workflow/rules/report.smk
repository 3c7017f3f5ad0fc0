# The report reads whatever records there are: failed, skipped and missing runs are shown, they do not stop it.
from squeezebench.report import outputs


rule report:
    input:
        [f"{RESULTS}/jobs/{job}.json" for job in PLAN["jobs"]],
    output:
        report(f"{RESULTS}/report.html", category="report"),
        report(
            [f"{RESULTS}/{name}" for name in outputs(PLAN) if name.endswith(".svg")], category="figures"
        ),
        [f"{RESULTS}/{name}" for name in outputs(PLAN) if not name.endswith(".svg")],
    params:
        python=sys.executable,
        folder=RESULTS,
    shell:
        "{params.python:q} -m squeezebench report {params.folder:q}"
