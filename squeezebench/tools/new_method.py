"""`squeezebench new-method NAME`: a method file that already passes the contract."""

from __future__ import annotations

import re
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.method.discovery import find_methods

TEMPLATE = '''"""{title}: say in one line what it does."""

from squeezebench import nn
from squeezebench.method import Method, RecurrentSettings, Stage, dense_classifier, setting
from squeezebench.method.target import TargetSettings, one_unit_too_large, units_that_fit


class {cls}(Method):
    """What it does, with its equations. As it stands: a group lasso on hidden units, to a `ratio` if there is one."""

    title = "{title}"
    paper = "authors, title, venue and year"

    class Settings(TargetSettings, RecurrentSettings):
        strength: float = setting(0.01, "weight of the penalty", search=(1e-4, 1.0), ge=0)
        threshold: float = setting(0.01, "units whose squared group norm is at most this are removed", gt=0)

    def skip(self, task):
        return super().skip(task) or one_unit_too_large(task, self.settings)  # why it cannot be done, in one line

    def start_share(self):
        return 0.4  # of the epochs, on the dense pretraining that all methods share; 0: from scratch

    def stages(self):
        return [Stage("compress", 0.6), Stage("fine-tune", 0.4, penalised=False)]

    def build(self, task):
        return dense_classifier(task, self.settings)  # (B, T, D) -> logits (B, classes)

    def penalty(self, model):
        return self.settings.strength * nn.unit_group_lasso(model)

    def end_stage(self, model, stage):
        if stage.name != "compress":
            return model
        s, norms = self.settings, nn.unit_square_norms(model)
        units = units_that_fit(model, norms, s) if s.ratio else [nn.above(norm, s.threshold) for norm in norms]
        return nn.select_units(model, None, units)  # None: every input stays
'''


def write_method(name: str, folder: Path) -> Path:
    """Write `folder/name.py`. Raises InputError for a name that cannot be one or is taken, or a file that exists."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"new-method: {name!r} is not a method name; use lower case letters, digits and _")
    path = folder / f"{name}.py"
    if path.exists():
        raise InputError(f"new-method: {path} exists; choose another name or remove it")
    if name in find_methods():
        raise InputError(f"new-method: {name} is a method of squeezebench; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"new-method: {folder} cannot be a folder ({error.strerror})") from None
    words = name.split("_")
    path.write_text(TEMPLATE.format(title=" ".join(words), cls="".join(word.capitalize() for word in words)))
    return path
