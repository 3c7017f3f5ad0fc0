"""The checks of `report/audit/*.yaml`, one file for each part of the audit, and what each of them finds.

A check says which printed figure is compared with which value; nothing in these files is an answer. The models below
explain the keys.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from squeezebench.base.errors import InputError
from squeezebench.base.places import ASSETS
from squeezebench.base.problems import first_problem
from squeezebench.base.yaml_file import load_yaml
from squeezebench.report.audit import sizes
from squeezebench.report.audit.arithmetic import Arithmetic, Reference, Term
from squeezebench.report.audit.verdicts import (
    MISMATCH,
    NOT_CHECKABLE,
    OK,
    OTHER_RULE,
    ROUNDING,
    UNEXPLAINED,
    Cell,
    Check,
    Verdict,
    by_bounds,
    by_figure,
    number,
    of_two_figures,
)
from squeezebench.schema.stored import Part

FOLDER = ASSETS / "audit"


class Comparison(Part):
    """A printed figure against a value. In every text `{name}` stands for a cell of the row (`each`)."""

    id: str
    item: str  # what is compared, in words
    value: str
    each: str | list[dict[str, str | int]] = [{}]  # one check for each row of a file, or for each of these
    printed: str = ""  # the figure that is checked
    says: str = ""  # a statement of the paper in words, which gives bounds
    at_least: str | None = None
    at_most: str | None = None
    more_than: str | None = None
    other: dict[str, str] = {}  # other ways of counting that the sources allow
    beside: dict[str, str] = {}  # values that the remark shows if the verdict is not ok
    biases: bool = False  # other ways of counting are one bias vector a gate and none
    about: bool = False  # zeros at the end of the printed figure carry no digits ("up to 100")
    unit: str = ""
    note: str = ""
    assumes: str = ""  # what has to hold for the value to be the printed figure's
    problem: str = ""
    problems: dict[str, str] = {}  # problem by the name of the row, or by its first value


class Shares(Part):
    """Accuracies in per cent that have to be k of so many clips, for a whole number k."""

    id: str
    item: str
    column: str  # of a file: `viblstm_appT3 accuracy`
    of: str  # number of clips
    assumes: str


class Bold(Part):
    """Figures in bold, which have to be the smallest of their column (of their group, if the table has groups)."""

    id: str
    item: str
    tables: list[str]
    assumes: str


class Checks(Part):
    """One file: a part of the audit."""

    group: str
    checks: list[Comparison] = []
    shares: list[Shares] = []
    bold: list[Bold] = []


def declared_checks(reference: Reference, folder: Path = FOLDER) -> list[Check]:
    """What every check of the folder finds, file by file.

    Raises InputError, in a line that names the check, for one that cannot be evaluated.
    """
    checks = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            content = Checks.model_validate(load_yaml(path))
        except ValidationError as error:
            raise InputError(f"{folder.name}/{path.name}: {first_problem(error)}") from None
        for declared in [*content.checks, *content.shares, *content.bold]:
            try:
                checks += _FORMS[type(declared)](declared, content.group, reference)
            except InputError as error:
                raise InputError(f"{folder.name}/{path.name}: {declared.id}: {error}") from None
    return [replace(check, id=re.sub(r"[^\w+-]+", "-", check.id).strip("-")) for check in checks]


def _rows(check: Comparison, reference: Reference) -> Iterator[Comparison]:
    """One check for each row of `each`, with its texts filled in."""
    rows = check.each
    if isinstance(rows, str):
        block = reference(rows)
        rows = [{**line, "row": key} for key, line in zip(block.keys, block.lines, strict=True)]
    content = check.model_dump(exclude={"each", "problems"})
    for row in rows:
        filled = _filled(content, row)
        key = str(row.get("row", next(iter(row.values()), "")))
        yield Comparison(**{**filled, "problem": check.problems.get(key, filled["problem"])})


def _filled(content, row: dict[str, str | int]):
    """`content` with the cells of a row in the places of their names, at every depth."""
    if isinstance(content, dict):
        return {_filled(key, row): _filled(value, row) for key, value in content.items()}
    return content.format_map(row) if isinstance(content, str) and row else content


def _comparisons(declared: Comparison, group: str, reference: Reference) -> Iterator[Check]:
    for check in _rows(declared, reference):
        arithmetic = Arithmetic(reference)
        printed = arithmetic(check.printed) if check.printed else None
        value = arithmetic(check.value)
        verdict, remark, others = _verdict(check, printed, value, reference)
        beside = {name: arithmetic.value(text) for name, text in check.beside.items()}
        verdict, doubt = _doubted(verdict, arithmetic.recalled, check.assumes)
        notes = [check.note, value.text if _composed(check.value, verdict == OK) else "", remark]
        if verdict not in (OK, ROUNDING, OTHER_RULE):
            notes += [_backwards(check, printed, arithmetic), _listed(others)]
        notes += [_listed(beside) if verdict != OK else "", doubt]
        digits = len(str(printed.figure.step.denominator)) if printed and printed.figure else 2
        alone = value.figure or value.value is None
        shown = value.text if alone else number(value.value, max(2, digits))
        yield Check(
            check.id, group, reference.source(arithmetic.cells[0]), check.item,
            check.says or printed.text + check.unit, shown + check.unit, verdict,
            "; ".join(note for note in notes if note), check.problem, None if check.says else value.value,
            tuple(dict.fromkeys(arithmetic.cells)),
        )  # fmt: skip


def _verdict(
    check: Comparison, printed: Term | None, value: Term, reference: Reference
) -> tuple[Verdict, str, dict[str, Fraction]]:
    """Verdict, remark, and the values by other ways of counting."""
    if check.says:
        bounds = [Arithmetic(reference).value(bound) if bound else None
                  for bound in (check.at_least, check.at_most, check.more_than)]  # fmt: skip
        return *by_bounds(value.value, *bounds), {}
    if value.value is None:
        return (OK, "", {}) if printed.text == value.text else (MISMATCH, "the two differ", {})
    if printed.figure is None:
        return NOT_CHECKABLE, "no value is printed", {}
    if value.figure:
        return *of_two_figures(printed.figure, value.figure), {}
    others = {name: Arithmetic(reference).value(text) for name, text in check.other.items()}
    if check.biases:
        others |= {name: Arithmetic(reference, biases).value(check.value)
                   for biases, name in sizes.BIASES.items() if biases != 2}  # fmt: skip
    figure = printed.figure
    if check.about:
        zeros = len(figure.text) - len(figure.text.rstrip("0"))
        figure = replace(figure, step=Fraction(10**zeros))
    return *by_figure(figure, value.value, others), {name: n for name, n in others.items() if n != value.value}


def _backwards(check: Comparison, printed: Term | None, arithmetic: Arithmetic) -> str:
    """Which inputs and hidden units would give the printed size; whether it is the figure of the row above."""
    dimensions = arithmetic.arguments(check.value, "lstm") if check.biases else None
    if not dimensions or not printed or not printed.figure or printed.figure.stray:
        return ""
    said = sizes.solved_backwards(printed.figure, *dimensions)
    name, column, row = arithmetic.cells[0]
    above = arithmetic.reference(name).lines[row - 1] if row else {}
    if above and above[column] == printed.figure.text:
        said += f"; it is the figure of the row above, {above['input']} inputs and {above['hidden']} hidden units"
    return said


def _doubted(verdict: Verdict, recalled: bool, assumes: str) -> tuple[Verdict, str]:
    """A mismatch convicts nobody if it rests on memory or on an assumption."""
    if verdict == MISMATCH and recalled:
        return NOT_CHECKABLE, "but a figure that this rests on is quoted from memory and may be at fault itself"
    if verdict == MISMATCH and assumes:
        return UNEXPLAINED, f"this assumes that {assumes}"
    return verdict, ""


def _composed(expression: str, of_figures: bool) -> bool:
    """Whether an expression is more than one figure or one call; of_figures: and has no call in it."""
    tree = ast.parse(expression.strip(), mode="eval")
    calls = any(isinstance(node, ast.Call) for node in ast.walk(tree))
    return isinstance(tree.body, ast.BinOp) and not (of_figures and calls)


def _listed(values: dict[str, Fraction]) -> str:
    return "; ".join(f"{name}: {number(value)}" for name, value in values.items())


def _shares(check: Shares, group: str, reference: Reference) -> Iterator[Check]:
    arithmetic = Arithmetic(reference)
    clips = int(arithmetic.value(check.of))
    block = reference(check.column.split()[0])
    column = block.column(check.column.split()[1])
    misfits: dict[str, str] = {}  # with the nearest shares below and above
    cells: list[Cell] = []
    for row in range(len(block.lines)):
        if (figure := block.figure(row, column)) is None:
            continue
        correct = int(figure.value * clips / 100)
        near = [Fraction(100 * k, clips) for k in (correct, correct + 1)]
        if not any(map(figure.fit, near)):
            misfits[figure.text] = " or ".join(map(number, near))
            cells.append((block.name, column, row))
    verdict, doubt = _doubted(MISMATCH if misfits else OK, False, check.assumes)
    yield Check(
        check.id, group, reference.source((block.name, column, 0)), f"{check.item} ({clips:,})",
        ", ".join(misfits) or "all", ", ".join(misfits.values()) or "all", verdict,
        f"no whole number of clips gives these; {doubt}" * bool(misfits), "", None, tuple(cells),
    )  # fmt: skip


def _bold(check: Bold, group: str, reference: Reference) -> Iterator[Check]:
    for name in check.tables:
        block = reference(name)
        larger: dict[Cell, str] = {}
        for row, line in enumerate(block.lines):
            for column in line["bold"].split():
                figures = [block.figure(other, column) for other, same in enumerate(block.lines)
                           if same.get("group") == line.get("group")]  # fmt: skip
                own, least = block.figure(row, column), min((f for f in figures if f), key=lambda f: f.value)
                if own and own.value > least.value and not own.stray:
                    larger[name, column, row] = f"{own.text} beside {least.text}"
        verdict, doubt = _doubted(MISMATCH if larger else OK, False, check.assumes)
        said = [f"{column.removesuffix('_pct')} {pair}" for (_, column, _), pair in larger.items()]
        yield Check(
            f"{check.id}-{name}", group, reference.source((name, "bold", 0)), check.item, f"{len(said)} are not",
            "; ".join(said) or "0", verdict, doubt, "", None, tuple(larger),
        )  # fmt: skip


_FORMS = {Comparison: _comparisons, Shares: _shares, Bold: _bold}
