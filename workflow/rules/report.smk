# The report reads whatever records there are: failed, skipped and missing runs are shown, they do not stop it.
from squeezebench.report import outputs

FILES = [f"{RESULTS}/{name}" for name in outputs(PLAN)]


rule report:
    input:
        [f"{RESULTS}/jobs/{job}.json" for job in PLAN["jobs"]],
    output:
        report(f"{RESULTS}/report.html", category="report"),
        report([name for name in FILES if name.endswith(".svg")], category="figures"),
        [name for name in FILES if not name.endswith((".svg", "report.html"))],
    params:
        python=sys.executable,
        folder=RESULTS,
    shell:
        "{params.python:q} -m squeezebench report {params.folder:q}"
