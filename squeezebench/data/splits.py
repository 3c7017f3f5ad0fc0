"""Splits: official, stratified random, group-aware, and leave one group out; validation is carved by the same rule.

The test part never depends on a run's seed: it is the data set's own (official), drawn from `split_seed`, or
the group that `fold` names (leave one group out).
The validation part is drawn from `split_seed` and the run's seed, so it rotates over the runs; models are
selected on it only. A data set that brings its own validation part (`subset` "validation") keeps it for
every seed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.schema.record import GroupsAcross

if TYPE_CHECKING:
    from squeezebench.data.dataset import Dataset

MOST_BYTES = 1 << 28  # of the features in which equal sequences are looked for: half a second
NAMED = 5  # classes in a sentence
DRAWS = 16  # group draws at most; the first that is balanced enough is taken, so that seeds really rotate
SIZE_TOLERANCE = 0.2  # relative error of a part's size that is balanced enough
PARTS = ("train", "validation", "test")
NUMBERED = re.compile(r"^.*?(\d+)$", re.DOTALL)  # a group's name that ends in its number: v_Archery_g08, biking/8
GROUP_IN_NAME = re.compile(r"^(.*?_g\d+)(?:_|$)")  # of a clip whose name tells its group, as UCF's do
SUBSETS = {"train": "train", "val": "validation", "validation": "validation", "test": "test", "": "", "unused": ""}


@dataclass(frozen=True)
class Split:
    """Sorted, disjoint int64 indices into the data set; unused sequences are in none."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def part(self, name: str) -> np.ndarray:
        return getattr(self, name)

    @property
    def digest(self) -> str:
        """SHA-256 over the three index lists (name, size, little-endian int64)."""
        sha = hashlib.sha256()
        for name in PARTS:
            rows = self.part(name)
            sha.update(f"{name}:{len(rows)}:".encode())
            sha.update(rows.astype("<i8").tobytes())
        return sha.hexdigest()


def make_split(
    data: Dataset,
    rule: str | None,
    *,
    test_share: float = 0.3,
    validation_share: float = 0.2,
    split_seed: int = 0,
    seed: int = 0,
    fold: int | None = None,
    folds: int | None = None,
) -> Split:
    """Split `data` by `rule`: "official", "random", "group", "leave_one_group_out", or None (the strictest of the
    first three that its arrays allow).

    `test_share` is of all sequences (not used by official and leave_one_group_out), `validation_share` of those
    outside test; `fold` counts the groups that are left out, from 0, or with `folds` so many sets of groups.
    Raises InputError if the rule does not fit the data: no test part, no groups, no such fold, too few
    examples or groups.
    """
    rule = rule or _default_rule(data)
    if fold is not None and rule != "leave_one_group_out":
        raise InputError(f"{data.name}: fold is {fold}, but split is {rule}; only leave_one_group_out has folds")
    rows = np.flatnonzero(data.used)
    if rule == "official":
        return _official(data, rows, validation_share, split_seed, seed)
    if rule == "leave_one_group_out":
        return _leave_one_out(data, rows, fold, folds, validation_share, (split_seed, 1, seed))
    groups = _group_codes(data) if rule == "group" else None
    if groups is None:
        _need_examples(data, rows, 3, "a random split needs at least 3 (train, validation, test)")
    rest, test = _cut(data, rows, groups, test_share, (split_seed, 0), "test")
    return _carve(data, rest, test, groups, validation_share, (split_seed, 1, seed))


def groups_across(data: Dataset, split: Split) -> GroupsAcross | None:
    """The groups on both sides of a split; None without groups. A rule that divides groups leaves none."""
    if data.group is None:
        return None
    code = np.unique(data.group, return_inverse=True)[1]
    there = {name: np.bincount(code[split.part(name)], minlength=code.max() + 1) > 0 for name in PARTS}
    both = there["test"] & (there["train"] | there["validation"])
    return GroupsAcross(
        groups=int((there["test"] | there["train"] | there["validation"]).sum()),
        test=int(both.sum()),
        test_sequences=int(both[code[split.test]].sum()),
        validation=int((there["train"] & there["validation"]).sum()),
    )


def known_sequences(data: Dataset, split: Split) -> int:
    """Test sequences that are in training or validation too, number for number. 0 as well for data that are not in
    memory: nothing is read for it."""
    if isinstance(data.x, np.memmap) or data.x.nbytes > MOST_BYTES:
        return 0

    def digest(row: int) -> bytes:
        valid = data.x[row] if data.length is None else data.x[row, : data.length[row]]
        return hashlib.blake2b(valid.tobytes(), digest_size=16).digest()

    known = {digest(row) for row in (*split.train, *split.validation)}
    return sum(digest(row) in known for row in split.test)


def untested(data: Dataset, split: Split) -> str:
    """The classes without a test sequence, in words; empty if there are none.

    A random split refuses a class that is too small to be tested. Where groups or a list of one's own decide, it stays
    in training. What leaves single groups out tests each class in some fold, and is not asked.
    """
    left_out = np.bincount(data.y[split.test], minlength=len(data.classes)) == 0
    inside = np.bincount(data.y[data.used], minlength=len(data.classes))
    names = [f"{data.classes[label]!r} ({inside[label]:,} in all)" for label in np.flatnonzero(left_out & (inside > 0))]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    says = f"classes without a test sequence: {', '.join(names[:NAMED])}{more}; the accuracy says nothing about them"
    return says if names and len(split.test) else ""


def _default_rule(data: Dataset) -> str:
    if data.subset is not None:
        return "official"
    return "random" if data.group is None else "group"


def _official(data: Dataset, rows: np.ndarray, share: float, split_seed: int, seed: int) -> Split:
    if data.subset is None:
        raise InputError(f"{data.name}: there is no official split (no `subset`); use split: random or group")
    subset = data.subset[rows]
    parts = {name: rows[subset == name] for name in PARTS}
    for name in ("train", "test"):
        if len(parts[name]) == 0:
            raise InputError(
                f"{data.name}: subset has no {name} part; mark its sequences with "
                f"{'1 or train' if name == 'train' else '2 or test'}, or use split: random or group"
            )
    if len(parts["validation"]):
        return Split(**parts)
    groups = None if data.group is None else _group_codes(data)
    if groups is not None and np.isin(groups[parts["train"]], groups[parts["test"]]).all():
        groups = None  # the test part asks about groups that are in train, and so does validation
    return _carve(data, parts["train"], parts["test"], groups, share, (split_seed, 1, seed))


def count_folds(data: Dataset, folds: int | None = None) -> int:
    """How many parts leave_one_group_out tests: the groups, or `folds` sets of them. Raises InputError."""
    rows = np.flatnonzero(data.used)
    _group_codes(data, "leave_one_group_out")
    return int(_folds(data, rows, folds).max()) + 1


def _leave_one_out(data: Dataset, rows: np.ndarray, fold: int | None, folds: int | None, share: float, seeds) -> Split:
    """Test is the `fold`-th group, or set of groups, in sorted order; validation is cut off the others, whole groups
    again."""
    groups = _group_codes(data, "leave_one_group_out")
    of_row = _folds(data, rows, folds)
    number, what = int(of_row.max()) + 1, "groups" if folds is None else "sets of groups"
    if fold is None:
        raise InputError(f"{data.name}: split: leave_one_group_out needs fold, the group to leave out: 0..{number - 1}")
    if not 0 <= fold < number:
        raise InputError(f"{data.name}: fold is {fold}; there are {number} {what} to leave out: 0..{number - 1}")
    return _carve(data, rows[of_row != fold], rows[of_row == fold], groups, share, seeds)


def _folds(data: Dataset, rows: np.ndarray, folds: int | None) -> np.ndarray:
    """(n,) the fold in which each row is test; folds: sets of groups instead of single ones.

    A fold is a group. Only if every group lies in one class and their names end in numbers that come back in
    other classes (UCF: g01..g25 of each class), a fold is a number: a test part needs all classes.
    """
    names, labels = data.group[rows], data.y[rows]
    unique, code = np.unique(names, return_inverse=True)
    pairs = len(np.unique(np.stack([code, labels]), axis=1).T)
    keys: list[tuple] = [(name,) for name in unique.tolist()]
    if unique.dtype.kind == "U":
        matches = [NUMBERED.match(name) for name in unique.tolist()]
        numbers = {int(match[1]) for match in matches if match}
        if all(matches) and pairs == len(unique) and len(numbers) < len(unique):
            keys = [(int(match[1]),) for match in matches]
        else:  # g2 before g10
            keys = [tuple((int(p), p) if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", n)) for n in unique]
    order = {key: place for place, key in enumerate(sorted(set(keys)))}
    of_row = np.array([order[key] for key in keys])[code]
    return of_row if folds is None else _sets_of_groups(data, labels, of_row, folds)[of_row]


def _sets_of_groups(data: Dataset, labels: np.ndarray, group: np.ndarray, folds: int) -> np.ndarray:
    """(G,) the set of each group: `folds` sets of similar class counts, each with every class.

    labels, group: (n,), of the sequences. Large groups come first, then in random order; each joins the set that has
    least of its classes.
    """
    table = np.zeros((group.max() + 1, len(data.classes)))  # (G, C) sequences
    np.add.at(table, (group, labels), 1)
    present = table.sum(0) > 0
    groups_with = (table > 0).sum(0)
    for label in np.flatnonzero(present & (groups_with < folds)):
        raise InputError(
            f"{data.name}: class {data.classes[label]!r} is in {groups_with[label]} group(s), too few for folds: "
            f"{folds} sets of groups that each have it; give fewer folds, or no folds to test each group alone"
        )
    weight = table / np.maximum(table.sum(0), 1)
    for draw in range(DRAWS):
        ranks = np.random.default_rng((draw, folds)).random(len(table))
        order = np.lexsort((ranks, -table.sum(1) if draw == 0 else ranks))
        chosen, sums = np.zeros(len(table), int), np.zeros((folds, table.shape[1]))
        for index in order:
            chosen[index] = np.lexsort((sums.sum(1), (sums * weight[index]).sum(1)))[0]
            sums[chosen[index]] += weight[index]
        if (sums[:, present] > 0).all():
            return chosen
    raise InputError(
        f"{data.name}: no {folds} sets of groups that each have every class were found; give fewer folds, or no folds "
        "to test each group alone"
    )


def _carve(data: Dataset, rest: np.ndarray, test: np.ndarray, groups, share: float, seeds) -> Split:
    train, validation = _cut(data, rest, groups, share, seeds, "validation")
    return Split(train, validation, test)


def _cut(data: Dataset, rows: np.ndarray, groups, share: float, seeds, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(what stays, what is cut off), both sorted; every class that `rows` has is left in what stays."""
    generator = np.random.default_rng(seeds)
    labels = data.y[rows]
    if groups is None:
        taken = _stratified(labels, share, generator)
        problem = "examples per class"
    else:
        taken = _grouped(labels, groups[rows], share, generator, leave=2 if what == "test" else 1)
        problem = "groups per class"
    if not taken.any():
        raise InputError(f"{data.name}: too few {problem} to cut a {what} part off; each class needs 2 or more")
    return rows[~taken], rows[taken]


def _stratified(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """(n,) bool, about `share` of each class; a class with a single example stays where it is."""
    counts = np.bincount(labels)
    taken = np.zeros(len(labels), bool)
    for label, take in enumerate(_apportion(counts, share)):
        members = np.flatnonzero(labels == label)
        taken[generator.permutation(members)[:take]] = True
    return taken


def _apportion(counts: np.ndarray, share: float) -> np.ndarray:
    """How many of each class: rounded so that the sum is right; where possible 1 at least on both sides."""
    exact = counts * share
    take = np.floor(exact).astype(int)
    missing = round(float(exact.sum())) - int(take.sum())
    for label in np.argsort(-(exact - take), kind="stable")[:missing]:  # largest remainders first
        take[label] += 1
    return np.clip(take, np.minimum(1, counts - 1).clip(0), (counts - 1).clip(0))


def _grouped(
    labels: np.ndarray, groups: np.ndarray, share: float, generator: np.random.Generator, leave: int
) -> np.ndarray:
    """(n,) bool: whole groups whose classes add up to about `share` of each class.

    Each draw goes through the groups in random order and takes one if that brings the class counts
    nearer to their targets and leaves `leave` groups of every class outside (2 where validation is still to
    be cut off). The first draw that is balanced enough is taken, otherwise the best.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    table = np.zeros((len(names), int(labels.max()) + 1))  # (G, C) sequences
    np.add.at(table, (group_of, labels), 1)
    totals = table.sum(0)
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for _ in range(DRAWS):
        chosen = _draw(table, totals, share, generator, leave)
        part = table[chosen].sum(0)
        score = (int(((part == 0) & (totals > 0)).sum()), _distance(part, totals, share))
        if best is None or score < best[0]:
            best = (score, chosen)
        size_error = abs(part.sum() / (share * totals.sum()) - 1)
        if score[0] == 0 and size_error <= SIZE_TOLERANCE:
            best = (score, chosen)
            break
    assert best is not None
    return best[1][group_of]


def _draw(
    table: np.ndarray, totals: np.ndarray, share: float, generator: np.random.Generator, leave: int
) -> np.ndarray:
    """(G,) bool: one greedy pass; at least one group if any may be taken at all."""
    chosen = np.zeros(len(table), bool)
    part = np.zeros_like(totals)
    has = table > 0
    outside = has.sum(0)  # (C,) groups of each class that are not taken
    least = np.clip(outside - 1, 1, leave)
    distance = np.inf  # the first group that may be taken is taken: a part is never empty for being small
    for group in generator.permutation(len(table)):
        new = part + table[group]
        if (outside - has[group] < least)[has[group]].any():
            continue
        new_distance = _distance(new, totals, share)
        if new_distance < distance:
            chosen[group], part, distance = True, new, new_distance
            outside = outside - has[group]
    return chosen


def _distance(part: np.ndarray, totals: np.ndarray, share: float) -> float:
    """Chi-square distance of class counts from their targets."""
    target = share * totals
    seen = totals > 0
    return float((((part - target) ** 2)[seen] / target[seen]).sum())


def _group_codes(data: Dataset, rule: str = "group") -> np.ndarray:
    if data.group is None:
        raise no_groups(data.name, rule)
    return np.unique(data.group, return_inverse=True)[1]


def no_groups(where: str, rule: str) -> InputError:
    return InputError(f"{where}: split: {rule} needs groups (a `group` array), and there are none")


def _need_examples(data: Dataset, rows: np.ndarray, least: int, why: str) -> None:
    counts = np.bincount(data.y[rows], minlength=len(data.classes))
    for label in np.flatnonzero((counts > 0) & (counts < least)):
        raise InputError(f"{data.name}: class {data.classes[label]!r} has {counts[label]} example(s); {why}")
