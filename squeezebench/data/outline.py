"""What is wrong with a task and shows without its features: told before anything runs.

A source that defines `outline(options)` gives everything else of its data set, so that the task is split as its runs
will be. Of other sources, and if there is no outline yet, `expected(options)` says how many steps there are, and
whether there are groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from squeezebench.data.checks import check_classes_in_train, check_outline
from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.normalise import check_rule
from squeezebench.data.sources import source_module
from squeezebench.data.splits import count_folds, groups_across, no_groups, untested
from squeezebench.data.task import check_frames, parse_options, split_of
from squeezebench.schema.task import TaskSpec


def check_task(spec: TaskSpec, seeds: Iterable[int], plugins: Iterable[str | Path] = ()) -> list[str]:
    """What a reader of the results has to know of the split: groups on both sides of it, classes that it does not test.

    Raises InputError in one line: more frames than steps, no groups for a rule that needs them, labels, groups or
    lengths that do not fit, a class without training examples, `channel` for what are no images. Asks no network.
    """
    module = source_module(spec.source, plugins)
    options = parse_options(spec, plugins)
    if hasattr(module, "outline") and (data := module.outline(options)) is not None:
        return _checked(spec, data, module.DEFAULT_SPLIT, seeds)
    if hasattr(module, "expected") and not getattr(module, "REMOTE", False):
        _check_expected(spec, module.expected(options), module.DEFAULT_SPLIT)
    return []


def folds_of(spec: TaskSpec, plugins: Iterable[str | Path] = ()) -> int:
    """How many folds a task with `split: leave_one_group_out` has. Raises InputError if it has no groups."""
    if spec.folds is not None:
        return spec.folds
    module = source_module(spec.source, plugins)
    options = parse_options(spec, plugins)
    data = module.outline(options) if hasattr(module, "outline") else None
    return count_folds(module.load(options) if data is None else data)


def _checked(spec: TaskSpec, data: Dataset, default: str | None, seeds: Iterable[int]) -> list[str]:
    check_outline(data)
    check_frames(spec, data.name, data.x.shape[1])
    check_rule(spec.normalise, data.name, data.frame)
    words = missing = ""
    for seed in seeds:
        split = split_of(spec, data, default, seed)
        check_classes_in_train(data, split)
        across = groups_across(data, split)
        words = words or (across.words if across else "")
        missing = missing or ("" if spec.fold is not None else untested(data, split))
    return [told for told in (words, missing) if told]


def _check_expected(spec: TaskSpec, sizes: Expected, default: str | None) -> None:
    if sizes.steps is not None:
        check_frames(spec, spec.source, sizes.steps)
    rule = spec.split or default
    if sizes.groups is False and rule in ("group", "leave_one_group_out"):
        raise no_groups(spec.source, rule)
    if sizes.inputs is not None:
        check_rule(spec.normalise, spec.source, sizes.frame)
