# The whole pipeline: experiment -> runs -> records -> report.   snakemake --cores N [--configfile config/X.yaml]
from snakemake.exceptions import WorkflowError

from squeezebench.base.errors import InputError
from squeezebench.pipeline.workflow import load_plan

DEFAULT = f"{workflow.basedir}/config/quick.yaml"

if not workflow.overwrite_configfiles:  # a default that a given file replaces as a whole instead of merging into it
    configfile: DEFAULT

WHERE = str(workflow.overwrite_configfiles[-1]) if workflow.overwrite_configfiles else DEFAULT
try:
    PLAN = load_plan(config, WHERE)
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{PLAN['experiment']}"
PLAN_FILE = f"{RESULTS}/plan.json"


include: "workflow/rules/runs.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        receipts,
        list(TUNINGS.values()),
