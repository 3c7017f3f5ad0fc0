"""A standard classifier as an ONNX model in int8, by ONNX Runtime's dynamic quantisation.

Every matrix is stored as 8-bit integers with one scale per unit, and every product with one is of integers: what is
multiplied is rounded to 8 bits as it comes, over its own range at that moment (operators DynamicQuantizeLSTM and
MatMulInteger). That is other than int8 of a record (measurement/files.py), which is a format of storage for weights.

The range is taken over the whole batch, so a logit depends on the sequences beside it: a model of this kind is scored
one sequence at a time. Integers use 7 of the 8 bits (`reduce_range`): CPUs without 8-bit dot products add pairs in 16
bits, where full ones overflow, and the accuracy would be the machine's.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from squeezebench.tools.export.onnx_graph import onnx_model
from squeezebench.tools.export.standard import Standard


def int8_model(
    model: Standard, has_lengths: bool, about: dict[str, str], stateful: bool = False
) -> tuple[bytes, list[str]]:
    """(the file's content, what to know about it)."""
    written_out = model.cell.onnx is None or not model.cell.onnx.int8
    source = onnx_model(model, has_lengths, about, written_out, stateful)
    with tempfile.TemporaryDirectory() as place:
        prepared, result = Path(place, "prepared.onnx"), Path(place, "int8.onnx")
        quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_dynamic(
            prepared, result, per_channel=True, reduce_range=True,
            extra_options={"EnableSubgraph": True},  # the body of a Scan
        )  # fmt: skip
        quantised = onnx.load(result)
    del quantised.graph.value_info[:]  # shapes of what is in between: of no use to who runs it, yet they take room
    del quantised.metadata_props[:]
    onnx.helper.set_model_props(quantised, about)
    note = f"int8: ONNX Runtime has no {model.cell.title} in int8, so its equations are written out, which is slower"
    return quantised.SerializeToString(), [note] * written_out
