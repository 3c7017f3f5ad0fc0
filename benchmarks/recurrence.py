"""The recurrences against torch.nn.LSTM and torch.nn.GRU: training and inference, in one process.

    python -m benchmarks.recurrence [--threads 1] [--repeats 15] [--only 32x32x64x128] [--json FILE]

A training step is input linear + recurrence, forward + backward, float32, with gradients for all weights and
masks; x needs none, as with features from disk, except in the rows with a feature mask. Ratios are of medians
in one run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import Step, compare, machine, parser_of, print_table, repeated, within, write_json
from squeezebench.nn.kernels import native
from squeezebench.nn.kernels.gemm import linear, plain
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.recurrence import recurrence

# B, T, D, H: cached features of UCF11; its raw frames, end to end; two small models, where overhead shows
SHAPES = [(16, 8, 2048, 2048), (16, 6, 57600, 256), (32, 32, 64, 128), (32, 16, 320, 64)]
COMPACT = (46, 9, 8)  # D, H, T of the compact VIB-LSTM of UCF11
without_onednn = partial(within, partial(torch.backends.mkldnn.flags, enabled=False))
without_native = partial(within, partial(native.switched, False))
in_plain = partial(within, plain)


def training_step(forward: Callable[[], Tensor], parameters: list[Tensor], upstream: Tensor) -> Step:
    def step() -> None:
        forward().backward(upstream)
        for p in parameters:  # here, so that each variant pays for freeing its own gradients
            p.grad = None

    return step


def lstm_variants(B: int, T: int, D: int, H: int, device: str, graphs: bool = True) -> dict[str, Step]:
    x, upstream = torch.randn(T, B, D, device=device), torch.randn(T, B, H, device=device)
    lstm = torch.nn.LSTM(D, H).to(device)
    weights = list(lstm.parameters())
    w_ih, w_hh, b_ih, b_hh = weights
    masks = tuple(torch.rand(B, H, device=device).requires_grad_() for _ in range(4))
    feature_mask = torch.rand(B, D, device=device).requires_grad_()

    def ours(masks=None, feature_mask=None) -> Tensor:
        v = x if feature_mask is None else x * feature_mask
        return recurrence(cell_of("lstm"), linear(v, w_ih, b_ih + b_hh), w_hh, masks=masks)[0]

    masked = training_step(lambda: ours(masks), [*weights, *masks], upstream)
    reference = training_step(lambda: lstm(x)[0], weights, upstream)
    reference_dx = training_step(lambda: lstm(x * feature_mask)[0], [*weights, feature_mask], upstream)
    variants = {
        "nn.LSTM": reference,
        "masked, ours": masked,
        "unmasked, ours": training_step(lambda: ours(), weights, upstream),
        "masked, plain autograd": in_plain(masked),
        "feature mask + masked, ours": training_step(
            lambda: ours(masks, feature_mask), [*weights, *masks, feature_mask], upstream
        ),
        "feature mask + nn.LSTM": reference_dx,
    }
    if device == "cpu":
        variants["masked, without the compiled kernel"] = without_native(masked)
        variants["nn.LSTM, oneDNN off"] = without_onednn(reference)
        return variants
    if graphs:
        variants["masked, ours, CUDA graph"] = graphed(masked)
        variants["masked, plain autograd, CUDA graph"] = graphed(in_plain(masked))
    return {name: synchronised(step) for name, step in variants.items()}


def gru_variants(B: int, T: int, D: int, H: int, device: str) -> dict[str, Step]:
    x, upstream = torch.randn(T, B, D, device=device), torch.randn(T, B, H, device=device)
    gru = torch.nn.GRU(D, H).to(device)
    weights = list(gru.parameters())
    w_ih, w_hh, b_ih, b_hh = weights
    masks = tuple(torch.rand(B, H, device=device).requires_grad_() for _ in range(3))

    def ours(masks=None) -> Tensor:
        bias = b_ih + F.pad(b_hh[: 2 * H], (0, H))
        return recurrence(cell_of("gru"), linear(x, w_ih, bias), w_hh, b_hh[2 * H :], masks)[0]

    masked = training_step(lambda: ours(masks), [*weights, *masks], upstream)
    reference = training_step(lambda: gru(x)[0], weights, upstream)
    variants = {
        "nn.GRU": reference,
        "masked, ours": masked,
        "unmasked, ours": training_step(lambda: ours(), weights, upstream),
        "masked, plain autograd": in_plain(masked),
    }
    return variants if device == "cpu" else {name: synchronised(step) for name, step in variants.items()}


def inference_variants(B: int, D: int, H: int, T: int) -> dict[str, Step]:
    x, lstm = torch.randn(T, B, D), torch.nn.LSTM(D, H).requires_grad_(False)
    w_ih, w_hh, b_ih, b_hh = lstm.parameters()
    bias, masks = b_ih + b_hh, tuple(torch.rand(H) for _ in range(4))
    cell, reference = cell_of("lstm"), torch.no_grad()(lambda: lstm(x))
    return {
        "nn.LSTM": reference,
        "nn.LSTM, oneDNN off": without_onednn(reference),
        "unmasked, ours": torch.no_grad()(lambda: recurrence(cell, linear(x, w_ih, bias), w_hh)),
        "masked, ours": (masked := torch.no_grad()(lambda: recurrence(cell, linear(x, w_ih, bias), w_hh, masks=masks))),
        "masked, without the compiled kernel": without_native(masked),
    }


def graphed(step: Step) -> Step:
    """The step, captured once as a CUDA graph and replayed."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def synchronised(step: Step) -> Step:
    def run() -> None:
        step()
        torch.cuda.synchronize()

    return run


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15, help="rounds; small shapes take ten times as many")
    parser.add_argument("--only", metavar="BxTxDxH", help="one shape instead of all")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shapes = [tuple(map(int, args.only.split("x")))] if args.only else SHAPES
    results = []

    def report(title: str, variants: dict[str, Step], repeats: int, reference: str, scale: int = 1) -> None:
        variants = {name: repeated(step, scale) for name, step in variants.items()}
        timings = compare(variants, repeats=repeats)
        print_table(title, timings, reference)
        results.append({"title": title, "reference": reference, "calls": scale, "timings": timings})

    print(f"threads {args.threads}")
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for B, T, D, H in shapes:
            repeats = args.repeats * (10 if D * H < 1 << 16 else 1)
            where = f"{device}, B {B}, T {T}, D {D}, H {H}, forward + backward"
            report(f"LSTM, {where}", lstm_variants(B, T, D, H, device), repeats, "nn.LSTM")
            if D <= 4096:
                report(f"GRU, {where}", gru_variants(B, T, D, H, device), repeats, "nn.GRU")
    if not args.only:
        D, H, T = COMPACT
        for B in (1, 10):
            title = f"LSTM, cpu, inference, B {B}, T {T}, D {D}, H {H}, ms for 20 calls"
            report(title, inference_variants(B, D, H, T), 10 * args.repeats, "nn.LSTM", scale=20)
    write_json(args.json, {"machine": machine(), "results": results})


if __name__ == "__main__":
    main()
