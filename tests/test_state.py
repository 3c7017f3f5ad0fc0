"""State in a checkpoint: what comes back is what was there, and what cannot come back is refused by name."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from squeezebench.engine.training.checkpoint import load, save
from squeezebench.engine.training.state import DEPTH, CannotBeSaved, Decoder, Encoder, Part


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def through_a_file(value, folder: Path, present=None, one=None, other=None):
    """`value` saved beside one module, and read beside another of the same structure."""
    save(folder / "x.pt", {"value": Encoder(one or model()).encode(value, "self.x")})
    return Decoder(other or model()).decode(load(folder / "x.pt")["value"], present)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray | np.generic):
        return type(one) is type(other) and one.dtype == other.dtype and str(one) == str(other)
    if isinstance(one, dict):
        return type(one) is type(other) and same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple | deque):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


VALUES = {
    "plain": [None, True, 0, -1, 0.1, -0.0, 1e-320, "ü\n\x00", ""],
    "numbers that JSON has not": [float("nan"), float("inf"), float("-inf"), 2**127, -(2**64)],
    "containers": ((), [], {}, {(1, "a"): {2: [3]}, None: 0, 1.5: 1}, {1, 2}, frozenset("a")),
    "queues": [deque([1, 2], maxlen=2), deque(), OrderedDict(b=1, a=2)],
    "arrays": [np.arange(3), np.zeros((0, 2), "f2"), np.array(2.5), np.float32(0.1), np.array(["a", "bc"]), np.True_],
    "tensors": [torch.tensor(1.5), torch.zeros(0, 3), torch.arange(6).view(2, 3).t(), torch.tensor([True, False])],
    "small floats": [torch.randn(3, dtype=torch.bfloat16), torch.tensor(3, dtype=torch.int8)],
    "a stretched one": torch.ones(1, 3).expand(4, 3),
    "a random state": [random.getstate(), np.random.get_state(), torch.get_rng_state()],
}  # fmt: skip


@pytest.mark.parametrize("what", VALUES)
def test_data_come_back_as_they_were(tmp_path, what):
    assert same(through_a_file(VALUES[what], tmp_path), VALUES[what])


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.random.default_rng(3),
        lambda: np.random.RandomState(3),
        lambda: random.Random(3),
        lambda: torch.Generator().manual_seed(3),
    ],
)
def test_generators_go_on_where_they_stood(tmp_path, make):
    def draw(one):
        if isinstance(one, torch.Generator):
            return torch.rand(5, generator=one).tolist()
        return [one.random() for _ in range(5)]

    one = make()
    draw(one)
    other = make()
    assert through_a_file({"rng": one}, tmp_path, present={"rng": other})["rng"] is other
    assert draw(one) == draw(other)


def test_parts_of_a_module_come_back_as_the_other_modules_parts(tmp_path):
    one, other = model(), model()
    value = [one, one[1], one[0].weight, one[0].weight.detach()[1:, :2], one[0].weight.data]
    found = through_a_file(value, tmp_path, one=one, other=other)
    assert found[0] is other and found[1] is other[1] and found[2] is other[0].weight
    found[3].fill_(7.0)
    found[4][0, 0] = 9.0
    assert (other[0].weight[1:, :2] == 7).all() and other[0].weight[0, 0] == 9 and other[0].weight[0, 1] != 7


def test_one_object_in_two_places_stays_one(tmp_path):
    shared = torch.zeros(2)
    found = through_a_file([shared, {"again": shared}], tmp_path)
    assert found[0] is found[1]["again"]


def test_what_learns_is_restored_in_place_for_the_sake_of_its_optimiser(tmp_path):
    present = [nn.Parameter(torch.zeros(2)), torch.zeros(2, requires_grad=True), None]
    value = [nn.Parameter(torch.ones(2)), torch.ones(2, requires_grad=True), nn.Parameter(torch.ones(1))]
    found = through_a_file(value, tmp_path, present=present)
    assert found[0] is present[0] and found[1] is present[1] and isinstance(found[2], nn.Parameter)
    assert all((one == 1).all() and one.requires_grad for one in found)


def test_a_copy_does_not_change_with_what_it_is_of():
    one = model()
    for copy, expected in ((True, 0.0), (False, 5.0)):
        nn.init.zeros_(one[0].bias)
        encoder = Encoder(one, copy=copy)
        content = encoder.content(one[0].bias)
        nn.init.constant_(one[0].bias, 5.0)
        assert (content == expected).all()


class Odd:
    """Neither data nor anything that knows its state."""


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


REFUSED = {
    "an object": ({"a": [Odd()]}, r"self\.x\['a'\]\[0\] holds a Odd: keep plain values and tensors"),
    "a graph": (torch.ones(2, requires_grad=True) * 2, "the graph behind it: detach it"),
    "a sparse tensor": (torch.eye(2).to_sparse(), "a special kind: keep a dense one"),
    "objects in an array": (np.array([Odd()]), "array of object"),
    "a file": (Path(__file__).open(), "holds a TextIOWrapper"),  # noqa: SIM115
    "a loop": (nested(DEPTH + 1), "nested too deeply"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_come_back_is_refused_by_name(what):
    value, words = REFUSED[what]
    with pytest.raises(CannotBeSaved, match=words):
        Encoder(model()).encode(value, "self.x")


def test_the_deepest_state_can_be_read_again(tmp_path):
    assert through_a_file(nested(DEPTH), tmp_path) == nested(DEPTH)


@pytest.mark.parametrize(
    "content",
    [("exec", "x"), ("module", "9"), ("parameter", "x"), ("leaf", 9), ("state", 1), ("fixed", "function"),
     ("view", ("0.weight", (99, 99), (1, 1), 0)), ("array", (torch.zeros(8, dtype=torch.uint8), "O", (1,))),
     ("constant", "x"), ("deque", (1,)), ("set", 3), ("set", ([],)), ([], 1)],
    ids=str,
)  # fmt: skip
def test_content_that_was_made_up_raises_what_a_reader_catches(content):
    from squeezebench.engine.training.resuming import MISFITS

    with pytest.raises(MISFITS):
        Decoder(model()).decode(Part(*content))
