"""Checks of the contract that concern what a method shares with others: global generators, and how torch computes."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import torch

from squeezebench.engine.training.loop import seed_everything
from squeezebench.method.base import Method

NEAR = 0.74  # of two names that differ by a slip (difflib): penalties and penalty have 0.75, rest and restore 0.73
DRAW = "the engine seeds the generators of torch, NumPy and Python with the run's seed: draw from them, and seed none"


def names_its_hooks(case: Any) -> None:
    """No function of the class has nearly the name of a hook: nobody would call it."""
    hooks = [name for name in dir(Method) if not name.startswith("_")]
    own = [vars(kind) for kind in case.method_class.__mro__ if kind not in Method.__mro__]
    for name in sorted({name for names in own for name, value in names.items() if callable(value)} - {*hooks}):
        alike = [hook for hook in hooks if hook[:3] == name[:3]]
        near = [] if name.startswith("_") else get_close_matches(name, alike, n=1, cutoff=NEAR)
        assert not near, f"{name}() is no hook, did you mean {near[0]}()? A function of your own begins with _"


def draws_weights_from_the_seed(case: Any) -> None:
    """`build` draws other weights for another seed."""
    states = []
    for seed in (1, 2):
        seed_everything(seed)
        states.append(case.new().build(case.info).state_dict())
    drawn = [name for name, value in states[0].items() if value.is_floating_point() and len(value.unique()) > 2]
    same = [name for name in drawn if torch.equal(states[0][name], states[1].get(name, torch.empty(0)))]
    seeds = "".join(f"; {sentence}" for sentence in case.hooks.changed if " seeds " in sentence)
    assert not drawn or len(same) < len(drawn), f"build() gives the same {same[0]} for every seed{seeds}; {DRAW}"


def leaves_global_state(case: Any) -> None:
    """No hook seeds a global generator, or changes how torch, NumPy or the process work."""
    first, second = case.undisturbed[2], case.of_another_seed[2]
    changed = list(dict.fromkeys([*case.hooks.changed, *_set_generators(first, second)]))
    words = DRAW if any(" seeds " in sentence for sentence in changed) else "other methods and the engine share it"
    assert not changed, f"{'; '.join(changed)}: {words}"


def _set_generators(first: list[tuple], second: list[tuple]) -> Iterator[str]:
    """Hooks that leave a generator in one state whatever its state was before: drawing never does."""
    for (who, before, after), (name, was, now) in zip(first, second, strict=False):
        if who != name:
            return
        for generator in after:
            if before[generator] != was[generator] and after[generator] == now[generator]:
                yield f"{who} seeds {generator}"
