"""Tensor maps at the published end-to-end shape: UCF11, 57,600 -> 4 x 256, B 16, T 6, forward and backward.

    python -m benchmarks.tensor_maps [--threads 1] [--rows 96 8 1024] [--repeats 9] [--no-peers] [--json FILE]

First each map alone, for N rows, against `torch.nn.Linear`; then as the input-to-hidden part of an LSTM,
against `torch.nn.LSTM` as it comes and with oneDNN off. No gradient of x is asked for: x is data. The layers
of `tednet` and `tltorch` of the same shape and ranks take part where they are installed.

A last table says how far each map is from its arithmetic: the multiply-accumulates of both passes, the milliseconds
that they take at the speed of a large matrix product on the same machine, and their share of the measured time.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.recurrence import without_onednn
from benchmarks.timing import Timing, compare, machine, parser_of, print_table, write_json
from squeezebench.nn.factorized.base import LinearMap, TensorMap
from squeezebench.nn.factorized.block_term import BlockTermMap
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.factorized.modes import gate_modes
from squeezebench.nn.factorized.tensor_ring import TensorRingMap
from squeezebench.nn.factorized.tensor_train import TensorTrainMap
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.recurrence import recurrence
from squeezebench.tools.latency.hardware import macs_per_second

D, H, B, T = 57_600, 256, 16, 6
FOUR, TT_HIDDEN = (8, 20, 20, 18), (4, 4, 4, 4)  # of TT and BT
EIGHT, TR_HIDDEN, TR_RANKS = (4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2), (10,) + (5,) * 12
FIVE, HT_HIDDEN = (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)


def our_maps() -> dict[str, LinearMap]:
    """With the ranks of the papers: 3,360, 1,725, 3,392 and 1,245 parameters; and a low rank next to them."""
    return {
        "TT": TensorTrainMap(FOUR, gate_modes(TT_HIDDEN, 4), 4),
        "TR": TensorRingMap(EIGHT, gate_modes(TR_HIDDEN, 4), TR_RANKS),
        "BT": BlockTermMap(FOUR, gate_modes(TT_HIDDEN, 4), 4, blocks=2),
        "HT": HierarchicalTuckerMap(FIVE, gate_modes(HT_HIDDEN, 4), 4, 5),
        "low rank 4": LowRankMap(D, 4 * H, 4),
    }


def peer_maps() -> dict[str, nn.Module]:
    """The layers of tednet and tltorch with the same modes and ranks, without a bias."""
    peers: dict[str, nn.Module] = {}
    if importlib.util.find_spec("tednet"):
        from tednet.tnn.bt_tucker.base import BTTLinear
        from tednet.tnn.tensor_ring.base import TRLinear
        from tednet.tnn.tensor_train.base import TTLinear

        outputs = list(gate_modes(TT_HIDDEN, 4))
        peers["tednet TT"] = TTLinear(list(FOUR), outputs, [4, 4, 4], bias=False)
        peers["tednet TR"] = TRLinear(list(EIGHT), list(gate_modes(TR_HIDDEN, 4)), list(TR_RANKS), bias=False)
        peers["tednet BT"] = BTTLinear(list(FOUR), outputs, [4, 4, 4, 4], 2, bias=False)
    if importlib.util.find_spec("tltorch"):
        from tltorch import FactorizedLinear

        ranks, outputs = (1, 4, 4, 4, 1), gate_modes(TT_HIDDEN, 4)
        layer = FactorizedLinear(FOUR, outputs, bias=False, factorization="BlockTT", rank=ranks)
        for core in layer.parameters():
            nn.init.normal_(core, std=0.1)
        peers["tltorch TT"] = layer
    return peers


def step(module: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor) -> Callable[[], None]:
    """One forward and backward pass with fresh gradients."""

    def run() -> None:
        for parameter in parameters:
            parameter.grad = None
        module(x).sum().backward()

    return run


def lstm_over(weight_ih: nn.Module) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    """An LSTM around an input-to-hidden map, as the package runs it: x (T, B, D) -> (T, B, H)."""
    weight_hh = nn.Parameter(nn.init.orthogonal_(torch.empty(4 * H, H)))
    bias = nn.Parameter(torch.zeros(4 * H))

    def forward(x: Tensor) -> Tensor:
        return recurrence(cell_of("lstm"), weight_ih(x) + bias, weight_hh)[0]

    return forward, [*weight_ih.parameters(), weight_hh, bias]


def tednet_lstm(weight_ih: nn.Module) -> tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]:
    """tednet's own LSTM around its own layer, without dropout."""
    from tednet.tnn.tn_rnn import _TNLSTM, LSTMState

    module = _TNLSTM(H, weight_ih, 0.0, 0.0)

    def forward(x: Tensor) -> Tensor:
        return module(x, LSTMState(x.new_zeros(B, H), x.new_zeros(B, H)))[0]

    return forward, list(module.parameters())


def maps_alone(rows: int, repeats: int, peers: bool) -> dict[str, Timing]:
    x = torch.randn(rows, D)
    modules: dict[str, nn.Module] = {"nn.Linear": nn.Linear(D, 4 * H, bias=False), **our_maps()}
    if peers:
        modules |= peer_maps()
    variants = {name: step(m, list(m.parameters()), x) for name, m in modules.items()}
    return compare(variants, repeats=repeats, warmup=2)


def whole_lstm(repeats: int, peers: bool) -> dict[str, Timing]:
    x = torch.randn(T, B, D)
    reference = nn.LSTM(D, H)
    plain = step(lambda x: reference(x)[0], list(reference.parameters()), x)
    variants = {"nn.LSTM": plain, "nn.LSTM, oneDNN off": without_onednn(plain)}
    for name, module in our_maps().items():
        variants[f"{name} LSTM"] = step(*lstm_over(module), x)
    for name, module in peer_maps().items() if peers else ():
        around = tednet_lstm if name.startswith("tednet") else lstm_over
        variants[f"{name} LSTM"] = step(*around(module), x)
    return compare(variants, repeats=repeats, warmup=2)


def training_macs(module: LinearMap, rows: int) -> int:
    """Multiply-accumulates of both passes: three times the forward pass, without the gradient of x."""
    if isinstance(module, TensorMap):
        plan = module.plan(rows)
        first = len(module.terms()) * rows * module.in_features * plan.front_size // plan.window_size
    else:
        first = rows * module.in_features * module.V.shape[0]
    return 3 * module.macs(rows) - first


def arithmetic(rows: int, timings: dict[str, Timing], rate: float) -> dict[str, dict[str, float]]:
    """How far each of our maps is from its arithmetic at `rate` multiply-accumulates per second; prints a table."""
    print(f"\narithmetic of both passes, N {rows}, at {rate / 1e9:.1f} billion multiply-accumulates a second (float32)")
    print(f"{'':12}{'millions':>10}{'ms':>9}{'measured ms':>13}{'share':>8}")
    shares = {}
    for name, module in our_maps().items():
        macs, seconds = training_macs(module, rows), timings[name].median
        shares[name] = {"macs": macs, "seconds": macs / rate, "share_of_gemm_rate": macs / rate / seconds}
        share = shares[name]["share_of_gemm_rate"]
        print(f"{name:12}{macs / 1e6:10,.0f}{macs / rate * 1e3:9.2f}{seconds * 1e3:13.2f}{share:8.2f}")
    return shares


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, nargs="*", default=[B * T], help="N of the maps alone")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave tednet and tltorch out")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"D {D}, H {H}, four gates; forward and backward; {torch.get_num_threads()} thread(s)")
    rate = macs_per_second()
    shape = {"D": D, "H": H, "B": B, "T": T}
    payload = {"machine": machine(), "shape": shape, "macs_per_second": rate, "maps": {}, "arithmetic": {}}
    for rows in arguments.rows:
        timings = maps_alone(rows, arguments.repeats, arguments.peers)
        print_table(f"the map alone, N {rows}", timings, "nn.Linear")
        payload["maps"][rows], payload["arithmetic"][rows] = timings, arithmetic(rows, timings, rate)
    payload["lstm"] = whole_lstm(arguments.repeats, arguments.peers)
    print_table(f"the whole LSTM, B {B} T {T}", payload["lstm"], "nn.LSTM")
    payload["ratios"] = {"BT LSTM of TT LSTM": payload["lstm"]["BT LSTM"].median / payload["lstm"]["TT LSTM"].median}
    print(f"BT LSTM of TT LSTM: {payload['ratios']['BT LSTM of TT LSTM']:.2f}")
    write_json(arguments.json, payload)


if __name__ == "__main__":
    main()
