"""A standard classifier as the content of a file in each format, and as something that this machine can run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from squeezebench.tools.export.scored import Answer
from squeezebench.tools.export.snippets import c_lines, onnx_lines, safetensors_lines, stateful_lines, torch_lines
from squeezebench.tools.export.standard import Standard
from squeezebench.tools.export.weights import StandardModule, safetensors_file, torch_file

Format = Literal["onnx", "torch", "safetensors", "c"]


@dataclass(frozen=True)
class Wanted:
    """What is to be written."""

    kind: Format
    form: Standard
    about: dict[str, str]
    out: Path
    lengths: bool  # onnx: a second input `length`
    int8: bool  # onnx and c
    stateful: bool  # onnx
    scratch: Path  # an empty folder that outlives the use of `Written.answer`


@dataclass(frozen=True)
class Written:
    """A file's content; answer: what it computes, by running it."""

    content: bytes
    lines: list[str]  # that use it without squeezebench
    answer: Answer | None
    notes: list[str] = field(default_factory=list)
    not_run: str | None = None  # why `answer` is None


def write(wanted: Wanted) -> Written:
    """The content and its answers. Raises InputError if the classifier has no such form."""
    if wanted.kind == "onnx":
        return _onnx(wanted)
    if wanted.kind == "c":
        return _c(wanted)
    make, lines = (torch_file, torch_lines) if wanted.kind == "torch" else (safetensors_file, safetensors_lines)
    return Written(make(wanted.form, wanted.about), lines(wanted.out, wanted.form), _in_torch(wanted.form))


def _onnx(wanted: Wanted) -> Written:
    from squeezebench.tools.export.onnx_graph import onnx_model
    from squeezebench.tools.export.quantised import int8_model
    from squeezebench.tools.export.runtime import answers_of, session

    form, lengths, notes = wanted.form, wanted.lengths, []
    if wanted.int8:
        content, notes = int8_model(form, lengths, wanted.about, wanted.stateful)
    else:
        content = onnx_model(form, lengths, wanted.about, stateful=wanted.stateful).SerializeToString()
    lines = onnx_lines(wanted.out, form, lengths, wanted.int8)
    if wanted.stateful:
        lines = stateful_lines(wanted.out, form)
    if wanted.int8:
        return Written(content, lines, answers_of(content), notes)
    running = session(content)

    def answer(x: np.ndarray, length: np.ndarray | None) -> np.ndarray:
        return running.run(["logits"], {"x": x} | ({} if length is None else {"length": length}))[0]

    return Written(content, lines, in_chunks(running) if wanted.stateful else answer, notes)


def in_chunks(running, sizes: tuple[int, ...] = (1, 3)) -> Answer:
    """A stateful model that is fed `sizes` steps, then all others."""
    from squeezebench.tools.export.runtime import zero_states

    def answer(x: np.ndarray, length: None) -> np.ndarray:
        states = zero_states(running, len(x))
        for chunk in np.split(x, np.cumsum(sizes), axis=1):
            logits, *after = running.run(None, {"x": chunk} | states)
            states = dict(zip(states, after, strict=True))
        return logits

    return answer


def _c(wanted: Wanted) -> Written:
    from squeezebench.tools.export.c.compiled import compiled, compiler
    from squeezebench.tools.export.c.source import c_source

    source = c_source(wanted.form, wanted.about, wanted.out, wanted.int8)
    content, lines = source.encode(), c_lines(wanted.out, wanted.form)
    if (cc := compiler()) is None:
        reason = "not compiled, and not compared with the module: this machine has neither $CC nor cc"
        return Written(content, lines, None, [] if wanted.int8 else [reason], reason)
    return Written(content, lines, compiled(wanted.form, wanted.out, source, wanted.scratch, cc))


def _in_torch(form: Standard) -> Answer:
    """The same numbers in torch.nn.LSTM or GRU, as a reader of the file would put them together."""
    module = StandardModule(form)

    @torch.no_grad()
    def answer(x: np.ndarray, length: None) -> np.ndarray:
        return module(torch.from_numpy(x)).numpy()

    return answer
