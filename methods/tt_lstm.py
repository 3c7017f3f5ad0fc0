"""TT-LSTM: the input-to-hidden matrix as a tensor train."""

from squeezebench.method.tensor import TensorMethod


class TTLSTM(TensorMethod):
    """W(j, i) = G_1[j_1, i_1] ... G_d[j_d, i_d]; sum_k r_{k-1} m_k n_k r_k parameters for all gates at once.

    UCF11 end to end (8x20x20x18 -> 4x4x4x4, rank 4): 3,360 instead of 58,982,400.
    """

    title = "TT-LSTM"
    paper = "Yang, Krompass, Tresp, Tensor-Train Recurrent Neural Networks for Video Classification, ICML 2017"
    kind = "tt"
