"""A method's own module answers the module protocol as the modules of squeezebench.nn do, and a formula is optional."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.engine.measurement.counts import count
from squeezebench.nn.protocol import Structure, counts_of, macs_of, steps_of, structure_of
from squeezebench.nn.registry import module_from_spec
from squeezebench.nn.rnn.classifier import recurrent_classifier

OWN = '''
from torch import nn

from squeezebench.method import Method, RecurrentSettings


class MeanOfFeatures(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.head = nn.Linear(inputs, classes)

    def forward(self, x, length=None):
        return self.head(x.mean(1))

    def spec(self):
        return {"class": "MeanOfFeatures", "inputs": self.head.in_features, "classes": self.head.out_features}

    @classmethod
    def from_spec(cls, spec):
        return cls(spec["inputs"], spec["classes"])


class Own(Method):
    """No formula."""

    class Settings(RecurrentSettings):
        pass

    def build(self, task):
        return MeanOfFeatures(task.inputs, task.classes)
'''


class Stated(nn.Module):
    """A module that states everything."""

    def structure(self):
        return Structure(widths=[3, 2])

    def counts(self):
        return {"weights": 6}

    def macs(self, steps):
        return 6 * steps


def test_a_module_is_taken_at_its_word_and_a_silent_one_has_nothing_to_say():
    assert (structure_of(Stated()).widths, count(Stated()).weights, macs_of(Stated(), 4)) == ([3, 2], 6, 24)
    silent = nn.Linear(2, 2)
    assert (structure_of(silent), counts_of(silent), macs_of(silent, 4), steps_of(silent, 4)) == (
        Structure(), {}, None, 4,
    )  # fmt: skip


def test_the_registry_rebuilds_a_module_and_names_what_it_knows():
    model = recurrent_classifier(3, 4, 2)
    again = module_from_spec(model.spec())
    assert type(again) is type(model) and structure_of(again) == Structure(inputs=3, hidden=[4])
    for name in ("dense", ["dense"], None):  # a factorized layer is no module, and a spec may hold anything
        with pytest.raises(InputError, match="no class"):
            module_from_spec({"class": name} | ({"in_features": 1} if name == "dense" else {}))


def test_a_method_without_a_formula_is_counted_by_construction_alone(tmp_path: Path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    asked = ["count", "--plugins", str(tmp_path), "--method", "own", "--input", "7", "--hidden", "4", "--classes", "2"]
    assert main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-3:] for line in lines[2:]] == [["no", "formula", "0"]] * 4
