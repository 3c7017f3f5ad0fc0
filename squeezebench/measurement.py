"""What the engine measures on the compact module: parameters, bytes, multiply-accumulates, latency.

Methods never report figures of their own; everything here reads the module that is scored.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .nn import RecurrentLayer, plain
from .record import Cost, Counts, write_atomically


def lstm_count(inputs: int, hidden: int, gates: int = 4) -> int:
    """Parameters of one LSTM layer, 4h(d + h + 2): PyTorch's two bias vectors, the papers' rule (GRU: 3h(...))."""
    return gates * hidden * (inputs + hidden + 2)


def stored_numbers(module: nn.Module) -> int:
    """Numbers a module has to store: its parameters, and what it declares as data of a sparse format."""
    return sum(p.numel() for p in module.parameters()) + sum(
        b.numel() for m in module.modules() for name, b in m.named_buffers(recurse=False) if name in _counted(m)
    )


def _counted(module: nn.Module) -> tuple[str, ...]:
    return getattr(module, "counted_buffers", ())  # e.g. the indices of a sparse matrix


def count(model: nn.Module) -> Counts:
    """Counts by rule: recurrent layers of ours and torch.nn.LSTM/GRU are taken apart, all else is the head."""
    w = u = b = z = 0
    for module in model.modules():
        if isinstance(module, RecurrentLayer):
            w += stored_numbers(module.input_map)
            u += stored_numbers(module.hidden_map)
            b += module.bias_ih.numel() + module.bias_hh.numel()
            z += stored_numbers(module.factors) + stored_numbers(module.gate_masks)
        elif isinstance(module, nn.RNNBase):
            for name, parameter in module.named_parameters(recurse=False):
                w += parameter.numel() * name.startswith("weight_ih")
                u += parameter.numel() * name.startswith("weight_hh")
                b += parameter.numel() * name.startswith("bias")
    total, recurrent = stored_numbers(model), w + u + b + z
    return Counts(
        input_to_hidden=w,
        hidden_to_hidden=u,
        bias=b,
        mask_vectors=z,
        lstm_total=recurrent,
        head=total - recurrent,
        model_total=total,
    )


def save_model(path: Path, model: nn.Module) -> int:
    """Write the compact module (weights and the spec that rebuilds it) as safetensors. Returns bytes on disk."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_atomically(path, save(state, metadata={"spec": json.dumps(model.spec())}))
    return path.stat().st_size


def load_model(path: Path, restore: Callable[[dict], nn.Module]) -> nn.Module:
    """The module saved at `path`; `restore` is the method's. No code is read from the file."""
    with safe_open(path, framework="pt") as file:
        spec = json.loads(file.metadata()["spec"])
    model = restore(spec)
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.no_grad()
def macs(model: nn.Module, inputs: int, steps: int) -> int:
    """Multiply-accumulates of the matrix products for one sequence of `steps` steps (torch's flop counter / 2)."""
    counter = FlopCounterMode(display=False)
    with plain(), counter:
        model.eval()(torch.zeros(1, steps, inputs))
    return counter.get_total_flops() // 2


class DenseReference(nn.Module):
    """torch.nn.LSTM or GRU with a linear head: the dense side of a latency comparison, in PyTorch's own kernels."""

    def __init__(self, inputs: int, hidden: int, layers: int, classes: int, cell: str = "lstm"):
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrence = kind(inputs, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrence(x)[0][:, -1])


@torch.no_grad()
def latency(
    models: dict[str, nn.Module], inputs: int, steps: int, batches: tuple[int, ...] = (1, 10), seconds: float = 0.05
) -> dict[str, dict[str, float]]:
    """Median milliseconds of a forward pass, one thread, the models interleaved: {model: {batch size: ms}}."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result: dict[str, dict[str, float]] = {name: {} for name in models}
    try:
        for batch in batches:
            x = torch.randn(batch, steps, inputs, generator=torch.Generator().manual_seed(0))
            times: dict[str, list[float]] = {name: [] for name in models}
            until, rounds = time.perf_counter() + seconds, 0
            while rounds < 5 or (time.perf_counter() < until and rounds < 200):
                for name, model in models.items():
                    started = time.perf_counter()
                    model(x)
                    times[name].append(time.perf_counter() - started)
                rounds += 1
            for name, values in times.items():
                result[name][str(batch)] = round(1e3 * statistics.median(values[2:]), 4)  # first two: warm-up
    finally:
        torch.set_num_threads(threads)
    return result


def cost(model: nn.Module, reference: nn.Module, path: Path, inputs: int, steps: int) -> Cost:
    """Save the compact module at `path` and measure what is scored."""
    size = save_model(path, model)
    times = latency({"compact": model.eval(), "dense": reference.eval()}, inputs, steps)
    return Cost(
        bytes=size, macs=macs(model, inputs, steps), latency_ms=times["compact"], dense_latency_ms=times["dense"]
    )
