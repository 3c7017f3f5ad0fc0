"""BT-LSTM: the input-to-hidden matrix as a sum of Tucker blocks."""

from pydantic import PositiveInt

from squeezebench.method import setting
from squeezebench.method.tensor import TensorMethod


class BTLSTM(TensorMethod):
    """W = sum_n G_n x_1 A_n^(1) ... x_d A_n^(d); N (sum_k I_k J_k R_k + prod_k R_k) parameters.

    UCF11 end to end (8x20x20x18 -> 4x4x4x4, 2 blocks, rank 4): 3,392, the abstract's 17,388x. The 3,387 that later
    papers quote is not reachable with any N and R of this form.
    """

    title = "BT-LSTM"
    paper = "Ye et al., Learning Compact Recurrent Neural Networks with Block-Term Tensor Decomposition, CVPR 2018"
    kind = "bt"

    class Settings(TensorMethod.Settings):
        blocks: PositiveInt = setting(2, "N, Tucker blocks that are summed", search=[1, 2, 4])
