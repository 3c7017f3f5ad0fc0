"""From a masked or pruned classifier to its compact form: masks folded, removed units physically gone.

Each cell says which masks remove a unit (`Cell.removing`) and which mask is a factor on the state (`Cell.state_gate`).
The latter folds exactly into the columns that read h, and an input mask into the columns of the input map. All other
masks sit inside the recursion of the cell and cannot be absorbed by a standard one: they become 1, and fine-tuning
repairs the difference, or they stay as counted vectors (for an LSTM z_f, and z_i * z_g as one).
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.selected import SelectedMap
from squeezebench.nn.pruning.groups import largest
from squeezebench.nn.rnn.cells import Cell
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.layer import RecurrentLayer, gate_rows

MapForm = Literal["cores", "dense", "smaller"]


def removable(layer: RecurrentLayer) -> Tensor:
    """Units of a masked layer that cannot influence anything at evaluation, bool (H,)."""
    dead = torch.zeros(layer.hidden, dtype=torch.bool)
    for letter in layer.cell.removing:
        if letter in layer.gate_masks:
            dead |= ~layer.gate_masks[letter].keep().cpu()
    return dead


def surviving_units(model: RecurrentClassifier) -> list[Tensor]:
    """Indices of the hidden units that stay, for each layer. A layer never loses its last unit."""
    return [_with_a_unit(~removable(layer), layer) for layer in model.layers]


def _with_a_unit(keep: Tensor, layer: RecurrentLayer) -> Tensor:
    if not keep.any():  # a layer without units classifies nothing; the unit with the most information stays
        scores = [layer.gate_masks[k].alpha().detach().cpu() for k in layer.gate_masks]
        keep = torch.zeros_like(keep)
        keep[torch.stack(scores).amin(0).argmax() if scores else 0] = True
    return keep.nonzero().flatten()


def surviving_inputs(model: RecurrentClassifier) -> Tensor:
    """Indices of the inputs that stay. At least one does."""
    if model.input_mask is None:
        return torch.arange(model.inputs)
    keep = model.input_mask.keep().cpu()
    if not keep.any():
        keep[model.input_mask.alpha().detach().argmax()] = True
    return keep.nonzero().flatten()


def keep_largest(model: RecurrentClassifier, inputs: int | None, hidden: int | None) -> None:
    """Keep exactly `inputs` inputs and `hidden` units of each layer: those of the largest alpha.

    The target dimensions of the VIB-LSTM appendix (its Tables 1-3). A unit's alpha is the smallest of the gates that
    can remove it. None: the threshold decides. A number larger than the layer keeps all of it.
    """
    if inputs is not None and model.input_mask is not None:
        model.input_mask.chosen = _among_largest(model.input_mask.alpha(), inputs)
    for layer in model.layers if hidden is not None else []:
        deciding = [layer.gate_masks[k].alpha() for k in layer.cell.removing if k in layer.gate_masks]
        if deciding:
            chosen = _among_largest(torch.stack(deciding).amin(0), hidden)
            for mask in layer.gate_masks.values():
                mask.chosen = chosen


def _among_largest(scores: Tensor, count: int) -> Tensor:
    keep = torch.zeros(scores.numel(), dtype=torch.bool)
    keep[largest(scores, min(count, scores.numel()))] = True
    return keep


def _selected(whole: nn.Module, columns: Tensor, rows: Tensor, scale: Tensor | None, form: MapForm) -> nn.Module:
    """Columns and rows of an input map, its columns scaled. A matrix is cut; cores can only be kept whole.

    form: `cores`, `dense` (materialised and cut), or `smaller`: whichever stores fewer numbers.
    """
    all_columns, all_rows = len(columns) == whole.in_features, len(rows) == whole.out_features
    if isinstance(whole, SelectedMap):
        raise ValueError("an input map that was cut once cannot be cut again; use map_form dense")
    stored = sum(p.numel() for p in whole.parameters())
    stored += (0 if all_columns else len(columns)) + (0 if all_rows else len(rows)) + (scale is not None) * len(columns)
    smaller = form == "smaller" and len(rows) * len(columns) <= stored
    if isinstance(whole, DenseMap) or form == "dense" or smaller:
        weight = whole.dense().detach()
        return _dense((weight if scale is None else weight * scale)[rows][:, columns])
    if scale is None and all_columns and all_rows:
        return whole
    return SelectedMap(
        whole,
        None if all_columns else columns,
        None if all_rows else rows,
        None if scale is None else scale[columns],
    )


def _dense(weight: Tensor) -> DenseMap:
    rows, columns = weight.shape
    new = DenseMap(columns, rows).to(weight.dtype)
    with torch.no_grad():
        new.weight.copy_(weight)
    return new


def select_units(
    model: RecurrentClassifier,
    inputs: Tensor | None,
    hidden: list[Tensor],
    keep_factors: bool = False,
    map_form: MapForm = "dense",
) -> RecurrentClassifier:
    """A copy of `model` that has only the inputs `inputs` (d,) and the units `hidden[l]` (h_l,) of each layer.

    `inputs` None: all of them. map_form: what becomes of an input map in tensor form, see `_selected`.
    Masks that fold exactly are folded; the others are dropped, or with `keep_factors` kept as fixed vectors.
    """
    inputs = torch.arange(model.inputs) if inputs is None else inputs
    before = model.input_mask.deterministic().detach() if model.input_mask is not None else None
    reads, scale = inputs, before  # what the current layer reads, and the factor on it
    layers: list[RecurrentLayer] = []
    for layer, keep in zip(model.layers, hidden, strict=True):
        masks = {k: m.deterministic().detach() for k, m in layer.gate_masks.items()}
        fixed = {k: v.detach() for k, v in layer.factors.items()}
        out = masks.pop(layer.cell.state_gate, None)  # folds into whatever reads h
        rows = gate_rows(keep, len(layer.cell.gates), layer.hidden)
        products = gate_rows(keep, len(layer.cell.recurrent), layer.hidden)
        with torch.no_grad():
            u = layer.hidden_map.dense()
            u = (u if out is None else u * out)[products][:, keep]
            small = RecurrentLayer(
                _selected(layer.input_map, reads, rows, scale, map_form),
                _dense(u),
                layer.cell,
                factors=_merged(layer.cell, masks, fixed, keep) if keep_factors or fixed else None,
            ).to(u.dtype)
            small.bias_ih.copy_(layer.bias_ih[rows])
            small.bias_hh.copy_(layer.bias_hh[products])
        layers.append(small)
        reads, scale = keep, out
    with torch.no_grad():
        weight = (model.head.weight if scale is None else model.head.weight * scale)[:, reads]
        head = nn.Linear(len(reads), model.head.out_features, dtype=weight.dtype)
        head.weight.copy_(weight)
        head.bias.copy_(model.head.bias)
    every = len(inputs) == model.inputs
    index = model.input_index
    small_model = type(model)(
        layers,
        head,
        input_index=index if every else (inputs if index is None else index.long()[inputs]),
        front=None if model.front is None else model.front.select(inputs),
        input_dropout=model.input_dropout,
        dropout=model.dropout,
        top=copy.deepcopy(model.top),
    )
    return small_model.to(model.head.weight.device).train(model.training)


def _merged(cell: Cell, masks: dict[str, Tensor], fixed: dict[str, Tensor], keep: Tensor) -> dict[str, Tensor]:
    """Factors of a compact layer: z_i * z_g as one vector on `i`, the others as they are; all ones are left out."""
    product: dict[str, Tensor] = {}
    for letter, value in [*masks.items(), *fixed.items()]:
        target = cell.merged.get(letter, letter)
        product[target] = value if target not in product else product[target] * value
    return {k: v[keep] for k, v in product.items() if not bool((v[keep] == 1).all())}


def compact_masked(
    model: RecurrentClassifier, keep_factors: bool = False, map_form: MapForm = "dense"
) -> RecurrentClassifier:
    """The compact form that a model's own masks define."""
    return select_units(model, surviving_inputs(model), surviving_units(model), keep_factors, map_form)


def keep_smaller(model: RecurrentClassifier, map_form: MapForm) -> RecurrentClassifier:
    """`model` with the first layer's map as cores, as a dense matrix, or as whichever stores fewer numbers."""
    model = copy.deepcopy(model)
    layer = model.layers[0]
    everything = torch.arange(layer.inputs), torch.arange(layer.input_map.out_features)
    layer.input_map = _selected(layer.input_map, *everything, None, map_form)
    return model
