"""Figures of one thing in two places: the paper against its appendix, other papers, other text and its code."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from squeezebench.report.audit.figure import MISMATCH, NOT_CHECKABLE, OK, ROUNDING, Check, Figure, decimal
from squeezebench.report.audit.papers import FURTHER, TEXT, Papers
from squeezebench.report.audit.sizes import lstm

GROUP = "Across sources"
T1, T2, T4 = "viblstm_t1", "viblstm_t2", "viblstm_t4"
HMDB, UCF = "viblstm_t3_hmdb51", "viblstm_t3_ucf101"
APP1, APP2, APP3 = "viblstm_appT1", "viblstm_appT2", "viblstm_appT3"
CODE = "VIB-LSTM, released code"


def same(papers: Papers, id: str, item: str, one: Figure, other: Figure, problem: str = "", note: str = "") -> Check:
    """Two printed figures of one thing: equal, equal to the digits of the coarser one, or not."""
    coarse, fine = sorted((one, other), key=lambda figure: -figure.step)
    verdict = OK if one.value == other.value else ROUNDING if coarse.fit(fine.value) else MISMATCH
    recalled = [f for f in (one, other) if f.cell[0] == FURTHER
                and papers.table(FURTHER).at[f.cell[2], "held"] == "recalled"]  # fmt: skip
    remark = "" if verdict == OK else "equal to the printed digits" if verdict == ROUNDING else "the two differ"
    if verdict == MISMATCH and recalled:
        verdict = NOT_CHECKABLE
        remark = "the two differ, but the second is quoted from memory and may be at fault itself"
    where = papers.name(other.cell[0], other.cell)
    return Check(id, GROUP, papers.name(one.cell[0], one.cell), item, one.text, other.text, verdict,
                 "; ".join(part for part in (f"there: {where}", note, remark) if part), problem,
                 (one.cell, other.cell))  # fmt: skip


def checks(papers: Papers) -> Iterator[Check]:
    yield from main_against_appendix(papers)
    yield from table2_against_table4(papers)
    yield from segments_keep_the_size(papers)
    yield trend(papers)
    yield from ucf101_sizes(papers)
    yield from other_papers(papers)
    yield from implementation(papers)


def main_against_appendix(papers: Papers) -> Iterator[Check]:
    """The appendix lists the checkpoints; the main text's rows should be among them."""

    def accuracy(block: str, **where: str) -> Figure:
        return papers.figure(block, "accuracy_pct", **where)

    yield same(papers, "D-ucf11-mask-only", "UCF11, feature mask alone (33 inputs, 2048 hidden units): accuracy",
               accuracy(T4, method="w/o VIB on LSTM"), accuracy(APP1, input="33", hidden="2048"), "P11",
               f"(33, 2048) has {lstm(33, 2048):,} parameters")  # fmt: skip
    for block in (T2, T4):
        yield same(papers, f"D-ucf11-dense-{block}", "UCF11, uncompressed: accuracy",
                   accuracy(block, method="Naive-LSTM"), accuracy(APP1, input="2048", hidden="2048"),
                   "P12")  # fmt: skip
    yield same(papers, "D-ucf11-gates", "UCF11, without the feature mask (2048 inputs, 8 hidden units): accuracy",
               accuracy(T4, method="w/o feature mask layer"), accuracy(APP1, input="2048", hidden="8"))  # fmt: skip
    yield same(papers, "D-hmdb51-dense", "HMDB51, uncompressed with TS batch norm: accuracy",
               accuracy(HMDB, method="Naive-TS-LSTM"), accuracy(APP3, input="2048", hidden="2048"), "P16")  # fmt: skip
    yield same(papers, "D-hmdb51-small", "HMDB51, TS-VIB-LSTM (96 inputs, 277 hidden units): accuracy",
               accuracy(HMDB, method="TS-VIB-LSTM"), accuracy(APP3, input="96", hidden="277"))  # fmt: skip
    yield same(papers, "D-ucf101-small", "UCF101, TS-VIB-LSTM (96 inputs, 297 hidden units): accuracy",
               accuracy(UCF, method="TS-VIB-LSTM"), accuracy(APP2, input="96", hidden="297"))  # fmt: skip


def table2_against_table4(papers: Papers) -> Iterator[Check]:
    """The ablation repeats two rows of Table 2."""
    for method, name in (("Naive-LSTM", "Naive-LSTM"), ("VIB-LSTM", "VIB-LSTM with feature mask layer")):
        for column in ("total_params_M", "lstm_params", "accuracy_pct"):
            yield same(papers, f"D-t2-t4-{method}-{column}", f"UCF11, {method}: {column}",
                       papers.figure(T2, column, method=method), papers.figure(T4, column, method=name))  # fmt: skip


def segments_keep_the_size(papers: Papers) -> Iterator[Check]:
    """Batch norm of temporal segments lies before the LSTM: its size stays that of the row without it."""
    for block in (HMDB, UCF):
        for name in ("Naive", "VIB"):
            pair = [f"{name}-LSTM", f"{'TS-VIB' if name == 'VIB' else 'Naive-TS'}-LSTM"]
            plain, segments = (papers.figure(block, "lstm_params_M", method=method) for method in pair)
            yield same(papers, f"D-{block}-{pair[1]}", f"{pair[1]} and {pair[0]}: LSTM parameters", segments, plain)


def trend(papers: Papers) -> Check:
    """The accuracy of the smallest UCF11 model against its neighbours by size in Appendix Table 1."""
    size, accuracy = (papers.figure(T2, column, method="VIB-LSTM") for column in ("lstm_params", "accuracy_pct"))
    ladder = []
    for row in papers.block(APP1).index:
        d, h = (int(papers.at(APP1, key, row).value) for key in ("input", "hidden"))
        ladder.append((lstm(d, h), d, h, papers.at(APP1, "accuracy_pct", row)))
    ladder.sort(key=lambda entry: entry[0])
    below = [entry for entry in ladder if entry[0] <= size.value]
    above = [entry for entry in ladder if entry[0] >= size.value]
    near = [*below[-1:], *above[:1]]
    listed = [entry for entry in ladder if entry[0] == size.value]
    inside = min(e[3].value for e in near) <= accuracy.value <= max(e[3].value for e in near)
    said = " and ".join(f"{a:,} parameters ({d}, {h}) {figure.text} %" for a, d, h, figure in near)
    remark = f"neighbours: {said}" + "" if listed else f"no row of that size; neighbours: {said}"
    return Check("D-trend", GROUP, papers.name(T2), f"UCF11, {size.text} parameters: accuracy lies between its "
                 "neighbours of Appendix Table 1", accuracy.text, " to ".join(e[3].text for e in near),
                 OK if inside else MISMATCH, remark, "P1", (accuracy.cell,))  # fmt: skip


def ucf101_sizes(papers: Papers) -> Iterator[Check]:
    """Main text and appendix describe two different UCF101 models."""
    yield same(papers, "D-ucf101-dense-size", "UCF101, uncompressed: parameters",
               papers.figure(UCF, "lstm_params_M", method="Naive-LSTM"),
               papers.figure(APP2, "lstm_params_printed", input="2048", hidden="512"), "P5")  # fmt: skip
    yield same(papers, "D-ucf101-hidden", "UCF101, VIB-LSTM: hidden units kept",
               papers.claim("UCF101 hidden units kept"), papers.figure(APP2, "hidden", input="96", hidden="297"), "P6",
               "the smallest row of full accuracy")  # fmt: skip
    yield same(papers, "D-ucf101-baseline-hidden", "UCF101, uncompressed: hidden units",
               papers.claim("UCF101 baseline hidden"), papers.figure(APP2, "hidden", input="2048"))  # fmt: skip
    share, row = papers.claim("UCF101 input features kept"), papers.row(APP2, input="96", hidden="297")
    for of, problem in ((4096, ""), (2048, "P6")):
        kept = papers.size(f"claim:UCF101 input features kept % of {of}") if of == 4096 else 96
        value = Fraction(100 * kept, of)
        fits = share.fit(value) == "round"
        where = "nearest whole number" if of == 4096 else "the appendix's checkpoint"
        cells = (share.cell,) if of == 4096 else (share.cell, (APP2, "input", row))
        yield Check(f"D-ucf101-share-{of}", GROUP, papers.name(TEXT), f"UCF101: {kept} of {of} inputs kept",
                    f"{share.text} %", f"{decimal(value)} %", OK if fits else MISMATCH, where, problem,
                    cells)  # fmt: skip


def other_papers(papers: Papers) -> Iterator[Check]:
    """What other papers say about their own figures and about the data sets."""
    for dataset, block, problem in (("UCF101", UCF, "P17"), ("HMDB51", HMDB, "")):
        yield same(papers, f"D-ts-lstm-{dataset}", f"TS-LSTM, {dataset}: accuracy",
                   papers.figure(block, "accuracy_pct", method="TS-LSTM [15]"),
                   papers.further(f"TS-LSTM accuracy {dataset}"), problem)  # fmt: skip
    for dataset, problem in (("HMDB51", "P22"), ("UCF101", "")):
        yield same(papers, f"D-clips-{dataset}", f"{dataset}: clips", papers.further(f"{dataset} clips"),
                   papers.figure("sideways_text", "value", claim=f"{dataset} clips"), problem)  # fmt: skip
    yield same(papers, "D-ht-accuracy", "HT-LSTM, UCF11 end to end: accuracy",
               papers.figure(T1, "accuracy_pct", method="HT-LSTM"), papers.further("HT accuracy UCF11"))  # fmt: skip
    gain = papers.further("BT accuracy gain over LSTM")
    block, naive = (papers.figure(T1, "accuracy_pct", method=name) for name in ("BT-LSTM", "Naive-LSTM"))
    fits = gain.fit(block.value - naive.value) == "round"
    yield Check("D-bt-gain", GROUP, papers.name(FURTHER, gain.cell), "BT-LSTM, UCF11 end to end: points above LSTM",
                gain.text, decimal(block.value - naive.value, 1), OK if fits else MISMATCH,
                f"{block.text} − {naive.text} of {papers.name(T1)}",
                cells=(block.cell, naive.cell, gain.cell))  # fmt: skip


def implementation(papers: Papers) -> Iterator[Check]:
    """The paper's text against the code that was released with it."""
    yield same(papers, "D-code-frames-e2e", "UCF11 end to end: frames per clip", papers.claim("frames per clip e2e"),
               papers.further("frames per clip e2e", paper=CODE), "P23")  # fmt: skip
    yield same(papers, "D-code-frames-cnn", "UCF11, CNN features: frames per clip",
               papers.claim("frames per clip UCF11 (CNN)"),
               papers.further("frames per clip UCF11 (CNN)", paper=CODE))  # fmt: skip
    yield same(papers, "D-code-inputs", "UCF11 end to end: inputs kept", papers.claim("e2e inputs kept"),
               papers.further("e2e inputs kept"))  # fmt: skip
    claim, factor = papers.further("weight beta"), papers.further("kl_fac")
    layers = [papers.further(f"kml {track}") for track in ("CNN", "e2e")]
    # Eq. 15 weights the data term by 5 and has no 1/2; the code's loss is CE + kl_fac * kml/2 * sum of logarithms.
    betas = [5 * Fraction(1, 2) * layer.value * factor.value for layer in layers]
    holds = all(beta > claim.value for beta in betas)
    yield Check("D-code-beta", GROUP, papers.name(FURTHER, claim.cell), "weight β of the bottleneck terms",
                f"> {claim.text}", " and ".join(f"{float(beta):g}" for beta in betas), OK if holds else MISMATCH,
                "the released code's defaults (CNN and end-to-end track) on the scale of Eq. 15: 5/2 · kml · kl_fac",
                "P23", (claim.cell,))  # fmt: skip
