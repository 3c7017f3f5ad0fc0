"""VIBNet's poster and the supplements of ITPCC and Skip-Sideways: what their tables let one recompute."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from squeezebench.base.errors import InputError
from squeezebench.report.audit.figure import MISMATCH, NOT_CHECKABLE, OK, Check, Figure, decimal, judge
from squeezebench.report.audit.papers import FURTHER, Papers

GROUP = "VIBNet and others"
LENET_300_100 = (784, 300, 100)  # inputs and hidden layers; 10 classes
LENET_5 = (20, 50, 800, 500)  # two convolutions, what fc1 reads, fc1
CLASSES = 10


def checks(papers: Papers) -> Iterator[Check]:
    yield from lenet_300_100(papers)
    yield from lenet_5(papers)
    yield from others(papers)


def weights_300_100(a: int, b: int, c: int) -> int:
    """Weights without biases of a fully connected a-b-c-10."""
    return a * b + b * c + CLASSES * c


def lenet_300_100(papers: Papers) -> Iterator[Check]:
    """r_W and r_N of the pruned structures that the table prints beside them."""
    block = "vibnet_t1"
    for row, line in papers.block(block).iterrows():
        a, b, c = _units(papers, block, row, line["pruned_model"], 3)
        values = {
            "r_W_pct": Fraction(100 * weights_300_100(a, b, c), weights_300_100(*LENET_300_100)),
            "r_N_pct": Fraction(100 * (a + b + c), sum(LENET_300_100)),
        }
        yield from _shares(papers, block, row, f"LeNet-300-100, {line['method']} {line['pruned_model']}", values)


def lenet_5(papers: Papers) -> Iterator[Check]:
    """The structures are quoted from memory: agreement confirms both, disagreement convicts neither."""
    block = "vibnet_t2"
    known = papers.table("structures").set_index("method")
    dense = _lenet_5_sizes(*LENET_5)
    for row, line in papers.block(block).iterrows():
        if line["method"] not in known.index:
            continue
        kept = known.at[line["method"], "kept"]
        weights, neurons, macs = _lenet_5_sizes(*_units(papers, "structures", 0, kept, 4))
        values = {
            "r_W_pct": Fraction(100 * weights, dense[0]),
            "r_N_pct": Fraction(100 * neurons, dense[1]),
            "flop_M": Fraction(macs),
        }
        recalled = f"structure {known.at[line['method'], 'held']}"
        yield from _shares(papers, block, row, f"LeNet-5-Caffe, {line['method']} {kept}", values, recalled)


def _lenet_5_sizes(a: int, b: int, c: int, d: int) -> tuple[int, int, int]:
    """Weights, neurons and multiply-accumulates: 5x5 convolutions at 24x24 and 8x8, pooled to 12x12 and 4x4."""
    dense = c * d + CLASSES * d
    return 25 * a + 25 * a * b + dense, (24**2 + 12**2) * a + (8**2 + 4**2) * b + c + d, (
        25 * a * 24**2 + 25 * a * b * 8**2 + dense
    )  # fmt: skip


def _units(papers: Papers, name: str, row: int, text: str, number: int) -> list[int]:
    parts = text.split("-")
    if len(parts) != number or not all(part.isdigit() for part in parts):
        raise InputError(f"{papers.folder / name}.csv, line {row + 2}: {text!r} is not a structure of {number} layers")
    return [int(part) for part in parts]


def _shares(papers: Papers, block: str, row: int, item: str, values: dict[str, Fraction], recalled: str = ""):
    for column, value in values.items():
        figure = papers.at(block, column, row)
        verdict, remark = judge(figure, value)
        if verdict == MISMATCH and recalled:
            verdict = NOT_CHECKABLE
            remark = f"{remark}, but the structure may be remembered wrongly"
        unit, size = ("%", value) if column.endswith("pct") else ("M", value / 10**6)
        method = papers.block(block).at[row, "method"]
        yield Check(f"E-{block}-{method}-{column}", GROUP, papers.name(block), f"{item}: {column.rsplit('_', 1)[0]}",
                    f"{figure.text.removesuffix('M')} {unit}" if figure else "-",
                    f"{decimal(size, 2 if unit == '%' else 4)} {unit}", verdict,
                    "; ".join(note for note in (recalled, remark) if note), "",
                    (figure.cell,) if figure else ())  # fmt: skip


def others(papers: Papers) -> Iterator[Check]:
    claim = papers.further("higher mAP than HALP")
    ours, halp = (papers.figure("itpcc_t1", "mAP_pct", model=name) for name in ("SSD512-ITPCC-C", "SSD512-RN50-HALP"))
    verdict, remark = judge(claim, ours.value - halp.value)
    yield Check("E-itpcc", GROUP, papers.name(FURTHER, claim.cell), "SSD512-ITPCC-C against HALP: points of mAP",
                claim.text, decimal(ours.value - halp.value), verdict,
                f"{ours.text} − {halp.text}" + f"; {remark}" * bool(remark),
                cells=(claim.cell, ours.cell, halp.cell))  # fmt: skip
    # "8 or 16" hosts of 8 TPUs, 16 clips each: the line holds both factors and both results as text
    table = papers.block("sideways_text").set_index("claim")
    rows = {name: papers.row("sideways_text", claim=name) for name in ("hosts", "batch per host")}
    hosts = [int(word) for word in table.at["hosts", "value"].split() if word.isdigit()]
    for name, each, column in (("hosts", 8, "TPUs"), ("batch per host", None, "batch")):
        each = each or int(table.at[name, "value"])
        said = [int(word) for word in table.at[name, "unit"].split() if word.isdigit()][-len(hosts) :]
        made = [host * each for host in hosts]
        shown = Figure.parse(str(said[0])) if said else None
        yield Check(f"E-sideways-{column}", GROUP, papers.name("sideways_text"),
                    f"{column} of {' and '.join(map(str, hosts))} hosts, {each} each", " and ".join(map(str, said)),
                    " and ".join(map(str, made)), (OK if said == made else MISMATCH) if shown else NOT_CHECKABLE,
                    cells=(("sideways_text", "value", rows[name]),))  # fmt: skip
