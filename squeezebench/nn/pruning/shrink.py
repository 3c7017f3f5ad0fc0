"""From a masked or pruned classifier to its compact form: masks folded, removed units physically gone.

Each cell says which masks remove a unit (`Cell.removing`) and which mask is a factor on the state (`Cell.state_gate`).
The latter folds exactly into the columns that read h, and an input mask into the columns of the input map. All other
masks sit inside the recursion of the cell: the closest standard cell absorbs them approximately (`Cell.absorb`), and
fine-tuning starts from there, or they stay as counted vectors (for an LSTM z_f, and z_i * z_g as one).
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.selected import SelectedMap
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.absorb import GateRows
from squeezebench.nn.pruning.groups import chosen, largest
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
            stays = _among_largest(torch.stack(deciding).amin(0), hidden)
            for mask in layer.gate_masks.values():
                mask.chosen = stays


def _among_largest(scores: Tensor, count: int) -> Tensor:
    return chosen(largest(scores, min(count, len(scores))), len(scores))


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
    Masks that fold exactly are folded; the cell absorbs the others as well as it can, or with `keep_factors` they are
    kept as fixed vectors.
    """
    inputs = torch.arange(model.inputs) if inputs is None else inputs
    reads = inputs  # what the current layer reads, and the factor on it
    scale = model.input_mask.deterministic().detach() if model.input_mask is not None else None
    layers: list[RecurrentLayer] = []
    for layer, keep in zip(model.layers, hidden, strict=True):
        masks = {gate: _values(mask, gate in layer.cell.removing) for gate, mask in layer.gate_masks.items()}
        state = masks.pop(layer.cell.state_gate, None)  # folds into whatever reads h
        layers.append(_small_layer(layer, keep, reads, scale, masks, state, keep_factors, map_form))
        reads, scale = keep, state
    every = len(inputs) == model.inputs
    index = model.input_index
    small_model = type(model)(
        layers,
        _small_head(model.head, reads, scale),
        input_index=index if every else (inputs if index is None else index.long()[inputs]),
        front=None if model.front is None else model.front.select(inputs),
        input_dropout=model.input_dropout,
        dropout=model.dropout,
        top=copy.deepcopy(model.top),
    )
    return small_model.to(model.head.weight.device).train(model.training)


def _values(mask: BottleneckMask, removes: bool) -> Tensor:
    """The mask of a gate at evaluation, (H,). A unit that stays although it is 0 there, because a layer never loses its
    last unit, gets the mean: with a gate that removes it at 0 no gradient would ever reach it.
    """
    values = mask.deterministic().detach()
    return torch.where(values == 0, mask.mu.detach(), values) if removes else values


@torch.no_grad()
def _small_layer(
    layer: RecurrentLayer,
    keep: Tensor,
    reads: Tensor,
    scale: Tensor | None,
    masks: dict[str, Tensor],
    state: Tensor | None,
    keep_factors: bool,
    map_form: MapForm,
) -> RecurrentLayer:
    """The units `keep` of a layer, on the inputs `reads`.

    scale (D,): factors on all inputs; state (H,): on h; masks: on the other gates, (H,) each. None: 1.
    """
    cell, fixed = layer.cell, {k: v.detach() for k, v in layer.factors.items()}
    rows = gate_rows(keep, len(cell.gates), layer.hidden)
    products = gate_rows(keep, len(cell.recurrent), layer.hidden)
    u = layer.hidden_map.dense()
    u = (u if state is None else u * state)[products][:, keep]
    vectors = keep_factors or bool(fixed)
    small = RecurrentLayer(
        _selected(layer.input_map, reads, rows, scale, map_form),
        _dense(u),
        cell,
        factors=_merged(cell, masks, fixed, keep) if vectors else None,
    ).to(u.dtype)
    small.bias_ih.copy_(layer.bias_ih[rows])
    small.bias_hh.copy_(layer.bias_hh[products])
    if masks and not vectors:
        cell.absorb(GateRows(small), {gate: z[keep].to(small.bias_ih.device) for gate, z in masks.items()})
    return small


@torch.no_grad()
def _small_head(head: nn.Linear, reads: Tensor, scale: Tensor | None) -> nn.Linear:
    weight = (head.weight if scale is None else head.weight * scale)[:, reads]
    small = nn.Linear(len(reads), head.out_features, dtype=weight.dtype)
    small.weight.copy_(weight)
    small.bias.copy_(head.bias)
    return small


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
