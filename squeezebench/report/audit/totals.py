"""Total parameters: backbone + LSTM + fully connected head, in every reading that the text allows.

The main reading is one backbone and a head that reads the kept hidden units (section 5.1 says that the head's
parameters behind removed units go too). Other readings: a head that keeps the uncompressed width, no head, two
backbones where RGB and flow have one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squeezebench.report.audit.figure import MISMATCH, OK, Check, Figure, judge, millions, whole
from squeezebench.report.audit.papers import Papers
from squeezebench.report.audit.sizes import head, lstm, nearest_hidden

GROUP = "Totals"
CLASSES = {"UCF11": 11, "HMDB51": 51, "UCF101": 101}
INCEPTION = ("inception_v3", "without auxiliary head and classifier")


@dataclass(frozen=True)
class Row:
    """A printed total and what it should be made of: recurrent parameters, hidden units kept and to begin with."""

    block: str
    method: str
    recurrent: int
    kept: int
    full: int
    problem: str = ""
    two_streams: bool = False


def checks(papers: Papers) -> Iterator[Check]:
    for row in rows(papers):
        yield total(papers, row)
    yield from efficientnet(papers)
    yield from segments(papers)
    yield larger_than_dense(papers)


def rows(papers: Papers) -> list[Row]:
    """What each total is made of. Sizes that have a known pair are exact, the others as printed."""

    def printed_size(block: str, method: str) -> int:
        column = "lstm_params" if block in ("viblstm_t2", "viblstm_t4") else "lstm_params_M"
        return int(papers.figure(block, column, method=method).value)

    dense, dense_ucf101 = lstm(2048, 2048), lstm(4096, 512)
    inputs = papers.size("claim:UCF101 input features kept % of 4096")
    kept = papers.size("claim:UCF101 hidden units kept")
    small, small_ucf101 = lstm(96, 277), lstm(inputs, kept)
    t2, t4, hmdb, ucf = "viblstm_t2", "viblstm_t4", "viblstm_t3_hmdb51", "viblstm_t3_ucf101"
    vib_kept = papers.size("claim:UCF11 CNN hidden after VIB")
    fewer = nearest_hidden(printed_size(t2, "VIB-LSTM+ISS"), papers.size("further:ISS start inputs"), 1)
    iss, iss_ucf101 = printed_size(t2, "ISS"), printed_size(ucf, "ISS")
    return [
        Row(t2, "Naive-LSTM", dense, 2048, 2048),
        Row(t2, "TR-LSTM", printed_size(t2, "TR-LSTM"), 2048, 2048),
        Row(t2, "ISS", iss, nearest_hidden(iss, 2048), 2048),
        Row(t2, "VIB-LSTM", printed_size(t2, "VIB-LSTM"), vib_kept, 2048, "P19"),
        Row(t2, "VIB-LSTM+ISS", printed_size(t2, "VIB-LSTM+ISS"), fewer, 2048, "P19"),
        Row(t4, "Naive-LSTM", dense, 2048, 2048),
        Row(t4, "w/o VIB on LSTM", lstm(33, 2048), 2048, 2048, "P10"),
        Row(t4, "w/o feature mask layer", lstm(2048, 8), 8, 2048, "P19"),
        Row(t4, "VIB-LSTM with feature mask layer", printed_size(t4, "VIB-LSTM with feature mask layer"), vib_kept,
            2048, "P19"),
        *(Row(hmdb, name, dense, 2048, 2048, "P13", True) for name in ("Naive-LSTM", "Naive-TS-LSTM")),
        Row(hmdb, "TR-LSTM", printed_size(hmdb, "TR-LSTM"), 2048, 2048, "P13", True),
        *(Row(hmdb, name, small, 277, 2048, "P14", True) for name in ("VIB-LSTM", "TS-VIB-LSTM")),
        *(Row(ucf, name, dense_ucf101, 512, 512, "P15", True) for name in ("Naive-LSTM", "Naive-TS-LSTM")),
        Row(ucf, "ISS", iss_ucf101, nearest_hidden(iss_ucf101, 4096), 512, "P15", True),
        *(Row(ucf, name, small_ucf101, kept, 512, "P14", True) for name in ("VIB-LSTM", "TS-VIB-LSTM")),
    ]  # fmt: skip


def total(papers: Papers, row: Row) -> Check:
    backbone = papers.backbone(*INCEPTION)
    dataset = papers.table(row.block).at[papers.row(row.block, method=row.method), "dataset"]
    classes = CLASSES[dataset]
    heads = {"": head(row.kept, classes), f"head on {row.full} units": head(row.full, classes), "no head": 0}
    if row.kept == row.full:
        del heads[f"head on {row.full} units"]
    readings = {name: backbone + row.recurrent + size for name, size in heads.items()}
    if row.two_streams:
        readings |= {f"two backbones{', ' * bool(name)}{name}": value + backbone for name, value in readings.items()}
    main = readings.pop("")
    printed = papers.figure(row.block, "total_params_M", method=row.method)
    verdict, remark = judge(printed, main, readings)
    notes = [remark]
    if verdict == MISMATCH:
        notes.append("other readings: " + ", ".join(f"{name} {millions(value)}" for name, value in readings.items()))
        notes += _where_else(papers, row, printed, backbone)
    return Check(f"C-{row.block.removeprefix('viblstm_')}-{row.method}", GROUP, papers.name(row.block),
                 f"{row.method}, {dataset}: Inception-v3 + {row.recurrent:,} + head of {row.kept} units and "
                 f"{classes} classes", printed.text, whole(main), verdict, "; ".join(n for n in notes if n),
                 row.problem, (printed.cell,))  # fmt: skip


def _where_else(papers: Papers, row: Row, printed: Figure, backbone: int) -> Iterator[str]:
    """What gives the printed total after all: UCF11's table, an appendix row, or extra parameters."""
    if row.block.startswith("viblstm_t3"):
        same = papers.block("viblstm_t2")
        for index in same.index:
            other = papers.at("viblstm_t2", "total_params_M", index)
            if other and other.value == printed.value:
                yield f"the same figure stands in Table 2 (UCF11) for {same.at[index, 'method']}"
                return
    if row.problem == "P10":
        table = papers.block("viblstm_appT1")
        for d, h in zip(table["input"], table["hidden"], strict=True):
            if int(h) == row.kept and printed.fit(backbone + lstm(int(d), int(h))) == "round":
                yield f"({d}, {h}) of Appendix Table 1 without a head gives {millions(backbone + lstm(int(d), int(h)))}"
    if row.problem == "P19":
        released = head(row.kept, row.full) + 2 * row.full + head(row.full, 11)  # linear, batch norm, linear
        fitted = backbone + row.recurrent + released + 12 * row.full
        if printed.fit(fitted) == "round":
            yield (f"{millions(fitted)} comes out only with the released code's two-layer head of {row.full} units and "
                   f"12·{row.full} mask parameters, which the text says are not needed")  # fmt: skip


def efficientnet(papers: Papers) -> Iterator[Check]:
    """The Inception rows leave the ImageNet classifier out; is it so here?"""
    block, method = "viblstm_t2", "EfficientNet+VIB-LSTM"
    printed = papers.figure(block, "total_params_M", method=method)
    size = int(papers.figure(block, "lstm_params", method=method).value)
    for id, problem, part in (("bare", "P20", "without classifier"), ("full", "", "with ImageNet classifier")):
        value = papers.backbone("efficientnet_b1", part) + size
        verdict, remark = judge(printed, value)
        yield Check(f"C-efficientnet-{id}", GROUP, papers.name(block),
                    f"{method}: EfficientNet-b1 {part} + {size:,}", printed.text, whole(value), verdict,
                    remark + "; the Inception-v3 rows are counted without theirs" * (verdict == MISMATCH), problem,
                    (printed.cell,))  # fmt: skip


def segments(papers: Papers) -> Iterator[Check]:
    """TS-LSTM: one ResNet-101, although the method has two streams."""
    backbone = papers.backbone("resnet101", "with ImageNet classifier")
    coarse = papers.figure("viblstm_t3_hmdb51", "lstm_params_M", method="TS-LSTM [15]")
    for block in ("viblstm_t3_hmdb51", "viblstm_t3_ucf101"):
        printed = papers.figure(block, "total_params_M", method="TS-LSTM [15]")
        size = papers.figure(block, "lstm_params_M", method="TS-LSTM [15]")
        exact = lstm(4096, 512)
        verdict, remark = judge(size, exact, {"one bias": lstm(4096, 512, 1)})
        yield Check(f"A-TS-{block}", "LSTM sizes", papers.name(block), "TS-LSTM, 4096 inputs, 512 hidden units: "
                    "parameters", size.text, whole(exact), verdict, remark, cells=(size.cell,))  # fmt: skip
        value = backbone + exact
        verdict, remark = judge(printed, value, {
            f"with the LSTM as {coarse.text}": backbone + coarse.value, "two backbones": value + backbone,
        })  # fmt: skip
        yield Check(f"C-TS-{block}", GROUP, papers.name(block), f"TS-LSTM: one ResNet-101 + {exact:,}",
                    printed.text, whole(value), verdict, remark, cells=(printed.cell,))  # fmt: skip


def larger_than_dense(papers: Papers) -> Check:
    """A pruned model cannot have more parameters than the model it was pruned from."""
    block = "viblstm_t3_ucf101"
    pruned, dense = (papers.figure(block, "total_params_M", method=name) for name in ("ISS", "Naive-LSTM"))
    smaller = pruned.value <= dense.value
    return Check("C-order-ucf101", GROUP, papers.name(block), "UCF101: ISS has no more parameters than Naive-LSTM",
                 f"{pruned.text} and {dense.text}", f"{millions(pruned.value - dense.value)} more",
                 OK if smaller else MISMATCH, "" if smaller else "the pruned model is printed as the larger one",
                 "P15", (pruned.cell, dense.cell))  # fmt: skip
