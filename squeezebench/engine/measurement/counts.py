"""Parameters by counting rule, read off the module that is scored."""

from __future__ import annotations

from torch import nn

from squeezebench.nn.cnn.parts import Select
from squeezebench.nn.protocol import counts_of, structure_of
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.schema.record import Counts, Kept


def stored_numbers(module: nn.Module) -> int:
    """Numbers a module has to store: its parameters, and what it declares as data of a sparse format."""
    return sum(p.numel() for p in module.parameters()) + sum(
        b.numel() for m in module.modules() for name, b in m.named_buffers(recurse=False) if name in _counted(m)
    )


def _counted(module: nn.Module) -> tuple[str, ...]:
    return getattr(module, "counted_buffers", ())  # e.g. the indices of a sparse matrix


def uncounted(model: nn.Module) -> list[str]:
    """Buffers that no count includes, a line for each. Running statistics and the indices of selected inputs need
    none."""
    lines = []
    for place, module in model.named_modules():
        if not isinstance(module, nn.modules.batchnorm._NormBase | Select):
            for name, buffer in module.named_buffers(recurse=False):
                if name not in (*_counted(module), "input_index"):
                    holds = f"{f'{place}.{name}'.strip('.')} holds {buffer.numel():,} numbers"
                    lines.append(f"buffer {holds} that nobody counts; see counted_buffers")
    return lines


def count(model: nn.Module) -> Counts:
    """Counts by rule: recurrent layers of ours, torch.nn.LSTM/GRU and their cells are taken apart, all else is the
    head. A cell in a loop of one's own is a layer of one step: as the head it would give its method every ratio.

    Weights and neurons are those that the module states (nn/protocol.py), plus the matrices of its recurrent layers.
    """
    w = u = b = z = 0
    for module in model.modules():
        if isinstance(module, RecurrentLayer):
            w += stored_numbers(module.input_map)
            u += stored_numbers(module.hidden_map)
            b += module.bias_ih.numel() + module.bias_hh.numel()
            z += stored_numbers(module.factors) + stored_numbers(module.gate_masks)
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            for name, parameter in module.named_parameters(recurse=False):
                w += parameter.numel() * name.startswith("weight_ih")
                u += parameter.numel() * name.startswith("weight_hh")
                b += parameter.numel() * name.startswith("bias")
    total, recurrent = stored_numbers(model), w + u + b + z
    stated = counts_of(model)
    return Counts(
        input_to_hidden=w,
        hidden_to_hidden=u,
        bias=b,
        mask_vectors=z,
        lstm_total=recurrent,
        head=total - recurrent,
        model_total=total,
        weights=stated["weights"] + w + u if "weights" in stated else None,
        neurons=stated.get("neurons"),
    )


def kept_of(compact: nn.Module, base: nn.Module) -> Kept:
    """How much of the dense module's inputs and units the compact one has."""
    now, dense = structure_of(compact), structure_of(base)
    return Kept(
        inputs=now.inputs,
        hidden=now.hidden,
        structure=now.widths,
        of_inputs=base.inputs,
        of_hidden=dense.hidden,
        of_structure=dense.widths,
    )
