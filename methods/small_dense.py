"""The control that compression has to beat: the same cell, narrower, from scratch, for the same budget."""

from squeezebench.method.narrow import NarrowDense


class SmallDense(NarrowDense):
    """A dense classifier of fewer units: a given width, or the widest that meets a parameter budget."""

    title = "small dense"
    paper = "direct design, as in Wen et al. (ICLR 2018), Table 1"
    control = True
