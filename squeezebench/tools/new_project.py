"""`squeezebench init FOLDER`: a folder in which `snakemake --cores N` makes an experiment, without a clone."""

from __future__ import annotations

from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.places import PROJECT
from squeezebench.base.suggestions import near_matches

SNAKEFILE = """# `snakemake --cores N [--configfile config/OTHER.yaml]`; the workflow is squeezebench's own.
from squeezebench.base.places import PROJECT

EXPERIMENT = "config/{name}.yaml"


include: f"{{PROJECT}}/workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
"""
FIRST = """\
# What an experiment can say: config/README.md of squeezebench. `squeezebench methods` and `tasks` list names.
tasks:
  japanese_vowels: {training: {steps: 600}}
  # mine: {source: file, options: {path: features.npz}}   # x (N, T, D), y (N,)
seeds: [0, 1, 2]
model: {cell: lstm, hidden: 64}
training: {batch_size: 32, learning_rate: 0.003}
ratios: [10, 30]                 # times fewer parameters: the sizes at which all are compared
methods:                         # the files in methods/ join at these sizes
  dense: {}
  small_dense: {ratio: "${ratios}"}
  vib_lstm: {ratio: "${ratios}"}
"""
PLUGINS = "plugins: [methods]\n"


def write_project(folder: Path, experiment: str = "first") -> list[Path]:
    """Write a Snakefile, `config/NAME.yaml`, an empty `methods` and the profiles of Snakemake into `folder`.

    experiment: `first`, a small one to begin with, or the name of one of squeezebench's own: smoke, paper/table2, ...
    Returns what was written. Raises InputError, before anything is written, if there is no such experiment or a file
    of these names exists.
    """
    name = Path(experiment).name
    config = folder / "config" / f"{name}.yaml"
    texts = {folder / "Snakefile": SNAKEFILE.format(name=name), config: _experiment(experiment)}
    for source in ("profiles/default", "workflow/profiles/slurm"):
        place = folder / "profiles" / Path(source).name / "config.yaml"
        texts[place] = (PROJECT / source / "config.yaml").read_text("utf-8")
    for path in (*texts, folder / "methods"):
        if path.exists():
            raise InputError(f"init: {path} exists; give a new folder")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        (folder / "methods").mkdir()
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"init: {error.filename} is not a folder") from None
    return [*texts, folder / "methods"]


def _experiment(name: str) -> str:
    """The text of an experiment file, with the folder of methods as plugins."""
    if name == "first":
        return FIRST + PLUGINS
    configs = PROJECT / "config"
    known = {path.relative_to(configs).with_suffix("").as_posix(): path for path in sorted(configs.rglob("*.yaml"))}
    if name not in known:
        raise InputError(f"init: unknown experiment {name!r}; {near_matches(name, known)}")
    text = known[name].read_text("utf-8")
    return text if "\nplugins:" in text else f"{text.rstrip()}\n{PLUGINS}"
