"""TR-LSTM: the input-to-hidden matrix as a tensor ring."""

from pydantic import PositiveInt

from squeezebench.method import setting
from squeezebench.method.tensor import TensorMethod


class TRLSTM(TensorMethod):
    """W = Trace(U_1[i_1] ... U_n[i_n] V_1[j_1] ... V_m[j_m]), one core for each input and each output mode.

    UCF11 end to end (4x2x5x8x6x5x3x2 -> 4x4x2x4x2, rank 5, ring rank 10): 1,725.
    """

    title = "TR-LSTM"
    paper = "Pan et al., Compressing Recurrent Neural Networks with Tensor Ring for Action Recognition, AAAI 2019"
    kind = "tr"

    class Settings(TensorMethod.Settings):
        ring_rank: PositiveInt | None = setting(None, "rank of the bond that closes the ring; none: rank")
