"""Parameters of a recurrent network by formula, without building it."""

from __future__ import annotations

from squeezebench.nn.rnn.cells import DEFAULT, cell_of


def closed_form(
    inputs: int, hidden: list[int], cell: str = DEFAULT, input_to_hidden: int | None = None
) -> dict[str, int]:
    """Counts of stacked layers of `hidden` units by kind, and their sum: 4h(d + h + 2) for each LSTM layer.

    input_to_hidden: numbers that the input map of the first layer stores, if it is not a dense matrix.
    """
    layers = [cell_of(cell).counts(d, h) for d, h in zip([inputs, *hidden[:-1]], hidden, strict=True)]
    if input_to_hidden is not None:
        layers[0]["input_to_hidden"] = input_to_hidden
    counts = {kind: sum(layer[kind] for layer in layers) for kind in layers[0]}
    return counts | {"lstm_total": sum(counts.values())}
