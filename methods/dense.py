"""The uncompressed network: what every ratio is taken against."""

from squeezebench.method import Method, dense_classifier


class Dense(Method):
    """Dense LSTM or GRU classifier, trained for the whole budget (the papers' "naive" model)."""

    title = "dense"
    paper = "Hochreiter & Schmidhuber, Long Short-Term Memory, Neural Computation 1997"
    control = True

    def build(self, task):
        return dense_classifier(task, self.settings)
