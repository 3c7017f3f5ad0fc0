"""HT-LSTM: the input-to-hidden matrix in hierarchical Tucker form."""

from pydantic import PositiveInt

from squeezebench.method import setting
from squeezebench.method.tensor import TensorMethod


class HTLSTM(TensorMethod):
    """Leaf frames (m_k n_k, r_leaf) joined by transfer tensors along a binary tree over the modes.

    UCF11 end to end (8x10x10x9x8 -> 4x4x2x4x2, leaf rank 4, inner rank 5): 1,245.
    """

    title = "HT-LSTM"
    paper = "Yin et al., Compressing Recurrent Neural Networks Using Hierarchical Tucker Decomposition, 2020"
    kind = "ht"

    class Settings(TensorMethod.Settings):
        inner_rank: PositiveInt | None = setting(None, "rank of the tree's inner nodes; none: rank")
