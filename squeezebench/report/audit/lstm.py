"""LSTM sizes: every printed (inputs, hidden units, parameters) against 4h(d+h+2), and sizes solved backwards."""

from __future__ import annotations

from collections.abc import Iterator

from squeezebench.base.errors import InputError
from squeezebench.report.audit.figure import MISMATCH, NOT_CHECKABLE, OK, Cell, Check, Figure, judge, whole
from squeezebench.report.audit.papers import Papers
from squeezebench.report.audit.sizes import (
    BIASES,
    exact_pairs,
    hidden_that_print,
    inputs_that_print,
    lstm,
    nearest_hidden,
    nearest_inputs,
)

GROUP = "LSTM sizes"
APPENDIX = (("viblstm_appT1", "lstm_params_printed"), ("viblstm_appT2", "lstm_params_printed"),
            ("viblstm_appT3", "lstm_params_M_printed"))  # fmt: skip
PROBLEMS = {"A4": "P1", "A14": "P5", "A16": "P6", "A27": "P3", "A30": "P4"}  # which line shows which problem


def checks(papers: Papers) -> Iterator[Check]:
    yield from sizes(papers)
    yield misprint(papers)
    yield same_checkpoint(papers)
    yield unnamed_pair(papers)
    yield shorter_form(papers)


def sizes(papers: Papers) -> Iterator[Check]:
    """One check for each pair: those of the main text (`pairs.csv`), then the rows of the appendix tables."""
    for line in papers.table("pairs").to_dict("records"):
        row = papers.row(line["block"], method=line["method"])
        figure = papers.at(line["block"], line["column"], row)
        d, h = _pair(papers, line, figure) if figure else (0, 0)
        named = [papers.cell(line[key]) for key in ("inputs", "hidden")]
        cells = [cell for cell in (figure and figure.cell, *named) if cell]
        yield _size(papers, int(line["number"]), line["block"], line["method"], figure, d, h, line["origin"], cells)
    number = len(papers.table("pairs"))
    for block, column in APPENDIX:
        table = papers.block(block)
        for row in table.index:
            number += 1
            d, h = papers.at(block, "input", row), papers.at(block, "hidden", row)
            if d is None or h is None:
                raise InputError(f"{papers.folder / block}.csv, line {row + 2}: input and hidden must be numbers")
            figure = papers.at(block, column, row)
            yield _size(papers, number, block, table.at[row, "method"], figure, int(d.value), int(h.value), "",
                        [figure.cell] if figure else [])  # fmt: skip


def _pair(papers: Papers, line: dict[str, str], figure: Figure) -> tuple[int, int]:
    """Inputs and hidden units of a line of `pairs.csv`; what the sources do not name is solved for."""
    d = papers.size(line["inputs"]) if line["inputs"] else None
    h = papers.size(line["hidden"]) if line["hidden"] else None
    solve, _, biases = line["solve"].partition(" ")
    if solve == "inputs":
        return nearest_inputs(figure.value, h, int(biases)), h
    if solve in ("hidden", "nearest"):
        return d, nearest_hidden(figure.value, d, int(biases))
    if solve == "pair":
        found = exact_pairs(int(figure.value), int(biases))
        return min(found, key=lambda pair: abs(pair[0] - d), default=(d, nearest_hidden(figure.value, d)))
    return d, h


def _size(papers: Papers, number: int, block: str, method: str, figure: Figure | None, d: int, h: int, origin: str,
          cells: list[Cell]) -> Check:  # fmt: skip
    by_rule = {biases: lstm(d, h, biases) for biases in BIASES}
    others = {BIASES[biases]: size for biases, size in by_rule.items() if biases != 2}
    verdict, remark = judge(figure, by_rule[2], others)
    notes = [origin, remark]
    if verdict == MISMATCH:
        notes.append(_explained(papers, block, figure, d, h))
    return Check(f"A{number}", GROUP, papers.name(block), f"{method}, {d} inputs, {h} hidden units: parameters",
                 figure.text if figure else "-", whole(by_rule[2]), verdict,
                 "; ".join(note for note in notes if note), PROBLEMS.get(f"A{number}", ""),
                 tuple(cells))  # fmt: skip


def _explained(papers: Papers, block: str, figure: Figure, d: int, h: int) -> str:
    """What would print this figure: other sizes, or the row above in the same table."""
    pairs = exact_pairs(int(figure.value)) if figure.step == 1 else []
    if 0 < len(pairs) <= 6:
        said = "exact with two biases for " + ", ".join(f"({a}, {b})" for a, b in pairs)
    else:
        hs, ds = _span(hidden_that_print(figure, d)), _span(inputs_that_print(figure, h))
        said = f"would need {hs} hidden units at {d} inputs, or {ds} inputs at {h} hidden units"
    name, column, row = figure.cell
    above = papers.at(name, column, row - 1) if row and (name, column) in APPENDIX else None
    if above and above.value == figure.value:
        before = [papers.at(name, key, row - 1).value for key in ("input", "hidden")]
        if above.fit(lstm(*map(int, before))):
            said += f"; it is the figure of the row above, {before[0]} inputs and {before[1]} hidden units"
    return said


def _span(found: list[int]) -> str:
    if not found:
        return "no whole number of"
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def misprint(papers: Papers) -> Check:
    """A figure with something after it that is no unit: the digits may be right, the printing is not."""
    stray = [figure for block, column in APPENDIX for row in papers.block(block).index
             if (figure := papers.at(block, column, row)) and figure.stray]  # fmt: skip
    if not stray:
        return Check("A-print", GROUP, papers.name(APPENDIX[0][0]), "figures of the appendix tables that cannot be "
                     "read as printed", "0", "0", OK, problem="P18")  # fmt: skip
    first = stray[0]
    d, h = (int(papers.at(first.cell[0], key, first.cell[2]).value) for key in ("input", "hidden"))
    remark = f"{first.stray!r} follows the figure" + (f"; {len(stray)} such figures in all" if len(stray) > 1 else "")
    return Check("A-print", GROUP, papers.name(first.cell[0]), f"{d} inputs, {h} hidden units: the figure as printed",
                 first.text, whole(lstm(d, h)), MISMATCH, remark, "P18", tuple(f.cell for f in stray))  # fmt: skip


def same_checkpoint(papers: Papers) -> Check:
    """ISS prunes hidden units only, so one checkpoint and one rule must give both printed sizes."""
    before = papers.figure("viblstm_t2", "lstm_params", method="VIB-LSTM")
    after = papers.figure("viblstm_t2", "lstm_params", method="VIB-LSTM+ISS")
    shared = []
    for biases in BIASES:
        starts = dict(exact_pairs(int(before.value), biases))
        shared += [(d, starts[d], h, biases) for d, h in exact_pairs(int(after.value), biases)
                   if h <= starts.get(d, 0)]  # fmt: skip
    start = papers.further("ISS start inputs"), papers.further("ISS start hidden")
    d, h = (int(figure.value) for figure in start)
    kept = nearest_hidden(after.value, d, 1)
    exact = " or ".join(str(pair) for pair in exact_pairs(int(after.value)) if abs(pair[0] - d) <= 1)
    remark = (
        f"no number of inputs gives both {before.text} and {after.text} under one rule; the released ISS script starts "
        f"from {d} inputs and {h} hidden units and counts one bias: ({d}, {kept}) = {lstm(d, kept, 1):,}, "
        f"with two biases {lstm(d, kept):,}" + f", where {exact} would be exact" * bool(exact)
    )
    if shared:
        remark = "; ".join(f"{d} inputs, {a} then {b} hidden units, {BIASES[n]}" for d, a, b, n in shared)
    return Check("A-iss", GROUP, papers.name("viblstm_t2"),
                 "VIB-LSTM and VIB-LSTM+ISS are one checkpoint, less some hidden units",
                 f"{before.text} and {after.text}", f"{len(shared)} common checkpoints",
                 OK if shared else MISMATCH, remark, "P2", (before.cell, after.cell))  # fmt: skip


def unnamed_pair(papers: Papers) -> Check:
    """EfficientNet + VIB-LSTM prints a size without dimensions: many pairs give it."""
    figure = papers.figure("viblstm_t2", "lstm_params", method="EfficientNet+VIB-LSTM")
    pairs = exact_pairs(int(figure.value))
    other = papers.figure("viblstm_t2", "lstm_params", method="VIB-LSTM+ISS")
    remark = "neither dimension is named; exact with two biases for " + ", ".join(f"({d}, {h})" for d, h in pairs)
    remark += "; the same figure stands in the row above, of another backbone" * (other.value == figure.value)
    return Check("A-efficientnet", GROUP, papers.name("viblstm_t2"), "EfficientNet+VIB-LSTM: parameters", figure.text,
                 f"{len(pairs)} exact pairs", NOT_CHECKABLE if len(pairs) != 1 else OK, remark, "P2",
                 (figure.cell,))  # fmt: skip


def shorter_form(papers: Papers) -> Check:
    """Section 5.5 repeats the uncompressed size with fewer digits."""
    figure = papers.further("uncompressed LSTM of the inference test")
    verdict, remark = judge(figure, lstm(2048, 2048), {BIASES[1]: lstm(2048, 2048, 1)})
    return Check("A-inference", GROUP, papers.name("further", figure.cell), "Naive-LSTM, 2048 inputs, 2048 hidden "
                 "units: parameters in the inference test", figure.text, whole(lstm(2048, 2048)), verdict, remark,
                 cells=(figure.cell,))  # fmt: skip
