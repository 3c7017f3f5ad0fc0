"""Parameters of a recurrent network by formula, without building it."""

from __future__ import annotations


def closed_form(
    inputs: int, hidden: list[int], cell: str = "lstm", input_to_hidden: int | None = None
) -> dict[str, int]:
    """4h(d + h + 2) for each LSTM layer (GRU: 3h(...)), taken apart.

    input_to_hidden: of the first layer, where its map is not a dense matrix.
    """
    gates = {"lstm": 4, "gru": 3}[cell]
    reads = [inputs, *hidden[:-1]]
    w = [gates * h * d for d, h in zip(reads, hidden, strict=True)]
    if input_to_hidden is not None:
        w[0] = input_to_hidden
    u, b = sum(gates * h * h for h in hidden), sum(2 * gates * h for h in hidden)
    return {"input_to_hidden": sum(w), "hidden_to_hidden": u, "bias": b, "lstm_total": sum(w) + u + b}
