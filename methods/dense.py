"""The uncompressed network: what every ratio is taken against."""

from squeezebench.method import DenseMethod


class Dense(DenseMethod):
    """Dense LSTM or GRU classifier, trained for the whole budget (the papers' "naive" model)."""

    title = "dense"
    paper = "Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 1997"
    control = True
