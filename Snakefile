# `snakemake --cores N [--configfile config/X.yaml]` finds the workflow here; it is workflow/Snakefile.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
