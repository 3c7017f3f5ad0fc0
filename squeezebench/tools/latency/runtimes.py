"""One classifier in every runtime that it can run in, ready to be timed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.latency import Variant, forward_of, without_onednn
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.tools.export.onnx_graph import onnx_model
from squeezebench.tools.export.runtime import session
from squeezebench.tools.export.standard import standard
from squeezebench.tools.export.weights import StandardModule

ENGINE, PYTORCH, WITHOUT, ONNX = "squeezebench", "PyTorch", "PyTorch, oneDNN off", "ONNX Runtime"
RUNTIMES = (PYTORCH, WITHOUT, ENGINE, ONNX)
TOLERANCE = 1e-4  # between runtimes, of a logit; sums of thousands of terms differ in their last digits


def in_every_runtime(model: RecurrentClassifier, inputs: int, steps: int) -> tuple[dict[str, Variant], list[str]]:
    """(variants by runtime, notes). The engine runs the module as it is stored (cores as cores); PyTorch's own LSTM or
    GRU and ONNX Runtime run its standard form, where it has one. All give the same logits, which is checked."""
    form = standard(model.eval(), inputs)
    onnx = in_onnxruntime(onnx_model(form, False, {}).SerializeToString())
    variants, notes = {ENGINE: forward_of(model), ONNX: onnx}, [n for n in form.notes if "multiplied out" in n]
    try:
        if form.cell.torch_module is None:
            raise InputError(f"torch.nn has no {form.cell.title}")
        module = StandardModule(form)
    except InputError as error:
        notes.append(f"not in PyTorch's own cell: {error}")
    else:
        variants |= {PYTORCH: forward_of(module), WITHOUT: without_onednn(module)}
    _check(model, variants, inputs, steps)
    return {name: variants[name] for name in RUNTIMES if name in variants}, notes


def in_onnxruntime(content: bytes, lengths: bool = False) -> Variant:
    """An exported file in ONNX Runtime, on sequences of full length."""
    running = session(content)

    def make(x: Tensor) -> Callable[[], object]:
        given = {"x": x.numpy()}
        if lengths:
            given["length"] = torch.full((x.shape[0],), x.shape[1]).numpy()
        return lambda: running.run(None, given)[0]

    return Variant(make)


@torch.no_grad()
def _check(model: RecurrentClassifier, variants: dict[str, Variant], inputs: int, steps: int) -> None:
    x = torch.randn(2, steps, inputs, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    for name, variant in variants.items():
        gap = (torch.as_tensor(variant.make(x)()) - expected).abs().max() / expected.abs().max().clamp_min(1)
        if gap > TOLERANCE:
            raise InputError(f"{name} gives logits that differ by {gap:.2g}; nothing is timed")


def on_first_inputs(variant: Variant, inputs: int) -> Variant:
    """The variant fed with the first `inputs` features of the x that is handed to it."""
    return Variant(lambda x: variant.make(x[..., :inputs].contiguous()), variant.within)
