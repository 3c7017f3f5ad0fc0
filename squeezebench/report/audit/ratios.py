"""Compression ratios and speed-ups: each claimed quotient from the figures it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from squeezebench.report.audit.figure import MISMATCH, OK, Check, Figure, decimal, judge, whole
from squeezebench.report.audit.papers import FURTHER, Papers
from squeezebench.report.audit.sizes import BIASES, head, lstm, tensor_cores

GROUP = "Ratios"
COMPARABLE = 1  # points of accuracy; the report, too, calls a model "within 1 point of dense"
TENSOR = ("TT", "BT", "TR", "HT")


def checks(papers: Papers) -> Iterator[Check]:
    yield from end_to_end(papers)
    yield from tensor_layers(papers)
    yield from claims(papers)
    yield from claims_ucf101(papers)
    yield from competitor(papers)
    yield from ring(papers)
    yield from times(papers)


def quotient(papers: Papers, id: str, item: str, claim: Figure, parts: tuple[Figure, Figure], *,
             exact: tuple[int, int] | None = None, problem: str = "", qualifier: str = "") -> Check:  # fmt: skip
    """A claimed ratio against the quotient of the printed figures; `exact` are the sizes before rounding."""
    value = parts[0].value / parts[1].value
    others = {"with sizes that are not rounded before dividing": Fraction(*exact)} if exact else {}
    verdict, remark = judge(claim, value, others)
    shown = f"{claim.text}×"
    if qualifier == "over":
        shown, remark = f"> {claim.text}×", ""
        verdict = OK if value > claim.value else MISMATCH
    elif qualifier == "up to":  # one figure to speak of: trailing zeros of the claim carry no digits
        coarse = Fraction(10 ** (len(claim.text) - len(claim.text.rstrip("0"))))
        rough = Figure(claim.text, claim.value, coarse)
        shown, (verdict, remark) = f"up to {claim.text}×", judge(rough, value)
    said = f"{parts[0].text} / {parts[1].text}"
    if exact:
        said += f"; {exact[0]:,} / {exact[1]:,} = {decimal(Fraction(*exact))}"
    return Check(id, GROUP, papers.name(claim.cell[0], claim.cell), item, shown, f"{decimal(value)}×", verdict,
                 "; ".join(note for note in (said, remark) if note), problem, (claim.cell,))  # fmt: skip


def end_to_end(papers: Papers) -> Iterator[Check]:
    """Table 1: every ratio is the first row's size over the row's own."""
    block = "viblstm_t1"
    dense = papers.figure(block, "lstm_params_M", method="Naive-LSTM")
    exact = {"VIB-LSTM": (lstm(57600, 256), lstm(papers.size("claim:e2e inputs kept"),
                                                 papers.size("further:e2e hidden kept")))}  # fmt: skip
    for method in papers.block(block)["method"]:
        claim = papers.figure(block, "lstm_compression", method=method)
        size = papers.figure(block, "lstm_params_M", method=method)
        yield quotient(papers, f"B-t1-{method}", f"{method}: compression of the LSTM", claim, (dense, size),
                       exact=exact.get(method), problem="P7" * (method == "VIB-LSTM"))  # fmt: skip


def tensor_layer(papers: Papers, layer: str) -> tuple[int, int, int]:
    """Core parameters, inputs and hidden units of a line of `tensor_layers.csv`."""
    line = papers.table("tensor_layers").loc[papers.row("tensor_layers", layer=layer)]
    modes = ([int(n) for n in line[key].split()] for key in ("input_modes", "output_modes", "ranks"))
    return tensor_cores(line["kind"], *modes, int(line["blocks"])), int(line["inputs"]), int(line["hidden"])


def tensor_layers(papers: Papers) -> Iterator[Check]:
    """The tensor papers count the input-to-hidden map alone; VIB-LSTM's Table 1 the whole LSTM."""
    for name in TENSOR:
        cores, d, h = tensor_layer(papers, name)
        line = papers.table("tensor_layers").loc[papers.row("tensor_layers", layer=name)]
        figure = papers.further(f"{name} input-to-hidden compression")
        yield Check(f"B-cores-{name}", GROUP, papers.name(FURTHER, figure.cell),
                    f"{name}-LSTM, UCF11 end to end: compression of the input-to-hidden map", f"{figure.text}×",
                    f"{decimal(Fraction(4 * d * h, cores), 1)}×", *_with(judge(figure, Fraction(4 * d * h, cores)),
                    f"4·{d}·{h} over {cores:,} core parameters; modes and ranks {line['held']}"),
                    cells=(figure.cell,))  # fmt: skip
        method = f"{name}-LSTM"
        printed = papers.figure("viblstm_t1", "lstm_params_M", method=method)
        sizes = {biases: cores + 4 * h * (h + biases) for biases in BIASES}
        others = {BIASES[biases]: size for biases, size in sizes.items() if biases != 2}
        verdict, remark = judge(printed, sizes[2], others)
        said = f"{cores:,} core parameters + 4h(h+2); with one bias {sizes[1]:,}, with none {sizes[0]:,}"
        yield Check(f"A-{method}", "LSTM sizes", papers.name("viblstm_t1"), f"{method}, end to end: parameters",
                    printed.text, whole(sizes[2]), verdict, f"{said}; {remark}".strip("; "),
                    "P8" if name in ("TR", "HT") else "", (printed.cell,))  # fmt: skip


def _with(judged: tuple[str, str], said: str) -> tuple[str, str]:
    return judged[0], "; ".join(note for note in (said, judged[1]) if note)


def claims(papers: Papers) -> Iterator[Check]:
    """Ratios of the body text, from the tables' printed sizes."""

    def size(block: str, method: str) -> Figure:
        column = "lstm_params" if block in ("viblstm_t2", "viblstm_t4") else "lstm_params_M"
        return papers.figure(block, column, method=method)

    t2, t4, hmdb = "viblstm_t2", "viblstm_t4", "viblstm_t3_hmdb51"
    dense = lstm(2048, 2048)
    vib = size(t2, "VIB-LSTM")
    for id, item, name, parts, exact in [
        ("ucf11", "UCF11, VIB-LSTM: compression", "UCF11 compression", (size(t2, "Naive-LSTM"), vib),
         (dense, int(vib.value))),
        ("gates-only", "UCF11, without the feature mask: compression", "ablation VIB-LSTM only",
         (size(t4, "Naive-LSTM"), size(t4, "w/o feature mask layer")), (dense, lstm(2048, 8))),
        ("mask-only", "UCF11, feature mask alone: compression", "ablation feature mask only",
         (size(t4, "Naive-LSTM"), size(t4, "w/o VIB on LSTM")), (dense, lstm(33, 2048))),
        ("hmdb51", "HMDB51, VIB-LSTM: compression", "HMDB51 compression",
         (size(hmdb, "Naive-LSTM"), size(hmdb, "VIB-LSTM")), (dense, lstm(96, 277))),
        ("tr", "HMDB51, TR-LSTM: compression", "TR-LSTM compression (HMDB51)",
         (size(hmdb, "Naive-LSTM"), size(hmdb, "TR-LSTM")), None),
        ("attention", "HMDB51, TS-VIB-LSTM against Attention-ConvLSTM: LSTM parameters",
         "vs Attention-ConvLSTM fewer LSTM params",
         (size(hmdb, "Attention-ConvLSTM [11]"), size(hmdb, "TS-VIB-LSTM")), None),
    ]:  # fmt: skip
        yield quotient(papers, f"B-{id}", item, papers.claim(name), parts, exact=exact)


def claims_ucf101(papers: Papers) -> Iterator[Check]:
    """UCF101: 20 times holds for the main text's uncompressed size, not for the appendix's."""
    claim, block, appendix = papers.claim("UCF101 compression"), "viblstm_t3_ucf101", "viblstm_appT2"
    dense, vib = (papers.figure(block, "lstm_params_M", method=name) for name in ("Naive-LSTM", "VIB-LSTM"))
    yield quotient(papers, "B-ucf101", "UCF101, VIB-LSTM: compression", claim, (dense, vib))
    first = papers.figure(appendix, "lstm_params_printed", input="2048", hidden="512")
    small = papers.figure(appendix, "lstm_params_printed", input="96", hidden="297")
    yield quotient(papers, "B-ucf101-appendix", "UCF101: compression, both sizes from Appendix Table 2", claim,
                   (first, small), exact=(lstm(2048, 512), lstm(96, 297)), problem="P5")  # fmt: skip


def competitor(papers: Papers) -> Iterator[Check]:
    """More than 70 times smaller than the nearest competitor of comparable accuracy: the quotient, the accuracy."""
    claim = papers.claim("more than nearest competitor")
    vib, iss, ring = (
        (papers.figure("viblstm_t2", "lstm_params", method=name), papers.figure("viblstm_t2", "accuracy_pct",
                                                                                method=name))
        for name in ("VIB-LSTM", "ISS", "TR-LSTM")
    )  # fmt: skip
    yield quotient(papers, "B-competitor", "UCF11, VIB-LSTM against the nearest competitor (ISS): LSTM parameters",
                   claim, (iss[0], vib[0]), qualifier="over", problem="P21")  # fmt: skip
    gap = vib[1].value - iss[1].value
    remark = (
        f"ISS {iss[1].text} % and TR-LSTM {ring[1].text} % against {vib[1].text} %: further apart than "
        f"{COMPARABLE} point; TR-LSTM, by its printed size, would be {decimal(ring[0].value / vib[0].value, 0)}×"
    )
    yield Check("B-comparable", GROUP, papers.name("viblstm_text"), "UCF11: the nearest competitor has comparable "
                "accuracy", f"within {COMPARABLE} point", f"{decimal(gap)} points",
                OK if abs(gap) <= COMPARABLE else MISMATCH, remark if abs(gap) > COMPARABLE else "", "P21",
                (claim.cell,))  # fmt: skip


def ring(papers: Papers) -> Iterator[Check]:
    """TR-LSTM on CNN features: 25 times is the input-to-hidden map; the whole LSTM shrinks to about one half."""
    cores, d, h = tensor_layer(papers, "TR-CNN")
    figure = papers.further("TR-CNN input-to-hidden compression")
    yield Check("B-cores-TR-CNN", GROUP, papers.name(FURTHER, figure.cell),
                "TR-LSTM, CNN features: compression of the input-to-hidden map", f"{figure.text}×",
                f"{decimal(Fraction(4 * d * h, cores))}×",
                *_with(judge(figure, Fraction(4 * d * h, cores)), f"{cores:,} core parameters"),
                cells=(figure.cell,))  # fmt: skip
    size = cores + 4 * h * (h + 2)
    true = Fraction(lstm(d, h), size)
    for block in ("viblstm_t2", "viblstm_t3_hmdb51"):
        column = "lstm_params" if block == "viblstm_t2" else "lstm_params_M"
        printed, dense = (papers.figure(block, column, method=name) for name in ("TR-LSTM", "Naive-LSTM"))
        divided = dense.value / printed.value
        verdict, remark = judge(printed, size, {"input-to-hidden cores alone": cores})
        said = (f"{cores:,} core parameters + 4h(h+2), a compression of {decimal(true)}×; printed is the "
                f"uncompressed size over {decimal(divided)}: the input-to-hidden ratio taken for all")  # fmt: skip
        yield Check(f"A-TR-{block}", "LSTM sizes", papers.name(block), "TR-LSTM, CNN features: parameters",
                    printed.text, whole(size), verdict, f"{said}; {remark}".strip("; "), "P9",
                    (printed.cell,))  # fmt: skip
    printed = papers.figure("viblstm_t2", "total_params_M", method="TR-LSTM")
    total = papers.backbone("inception_v3", "without auxiliary head and classifier") + size + head(h, 11)
    verdict, remark = judge(printed, total)
    yield Check("C-TR-true", "Totals", papers.name("viblstm_t2"), "TR-LSTM, with the whole LSTM: total parameters",
                printed.text, whole(total), verdict, remark, "P9", (printed.cell,))  # fmt: skip


def times(papers: Papers) -> Iterator[Check]:
    """Seconds: a second has 30 frames; the speed-up is the authors' own two times."""
    frames, seconds = papers.claim("frames per clip UCF11 (CNN)"), papers.further("seconds of 32 frames")
    verdict, remark = judge(seconds, frames.value / 30)
    yield Check("B-seconds", GROUP, papers.name(FURTHER, seconds.cell), f"{frames.text} frames at 30 a second",
                f"{seconds.text} s", f"{decimal(frames.value / 30, 4)} s", verdict, remark,
                cells=(seconds.cell,))  # fmt: skip
    slow, fast = papers.further("Raspberry Pi uncompressed"), papers.further("Raspberry Pi compressed")
    in_ms = Figure(f"{slow.text} s", slow.value * 1000, slow.step * 1000)
    yield quotient(papers, "B-speed", "Raspberry Pi 3, one core: speed-up", papers.claim("RPi3 speed-up"),
                   (in_ms, Figure(f"{fast.text} ms", fast.value, fast.step)), qualifier="up to")  # fmt: skip
    claim = papers.claim("vs I3D fewer total params")
    large, small = (papers.figure("viblstm_t3_hmdb51", "total_params_M", method=name)
                    for name in ("Two-Stream I3D (ImageNet only) [3]", "TS-VIB-LSTM"))  # fmt: skip
    fewer = (large.value - small.value) / 10**6
    verdict, remark = judge(claim, fewer)
    yield Check("B-i3d", GROUP, papers.name("viblstm_text"), "HMDB51, TS-VIB-LSTM against Two-Stream I3D: fewer "
                "parameters in all", f"{claim.text}M", f"{decimal(fewer)}M", verdict,
                f"{large.text} − {small.text}" + f"; {remark}" * bool(remark), cells=(claim.cell,))  # fmt: skip
