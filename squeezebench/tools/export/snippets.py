"""Lines of Python that use an exported file without squeezebench. `squeezebench export` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.tools.export.c.arrays import prefix_of
from squeezebench.tools.export.standard import Standard
from squeezebench.tools.export.symbol import Symbol

SIGNS = {"Add": "+", "Sub": "-", "Mul": "*"}


def shape(form: Standard) -> str:
    """The input in words."""
    return f"(batch, time, {form.inputs}), {'raw' if form.affine else 'normalised'}"


def onnx_lines(path: Path, form: Standard, has_lengths: bool, int8: bool) -> list[str]:
    """Classify the sequences in x.npy; those of a file in int8, which rounds by the range of its input, one by one."""
    arrays = {"x": 'numpy.load("x.npy").astype("float32")'}
    if has_lengths:
        arrays["length"] = 'numpy.load("length.npy")'
    given = ", ".join(f'"{name}": {value}' for name, value in arrays.items())
    lines = [f'logits = model.run(["logits"], {{{given}}})[0]']
    if int8:
        given, each = ('"x": one[None]', "one in x")
        if has_lengths:
            given, each = ('"x": one[None, :n], "length": n[None]', "one, n in zip(x, length)")
        run = f'model.run(["logits"], {{{given}}})[0] for {each}'
        lines = [f"{', '.join(arrays)} = {', '.join(arrays.values())}", f"logits = numpy.concatenate([{run}])"]
    return _in_onnxruntime(path, [f"{lines[0]}  # x: {shape(form)}", *lines[1:]])


def stateful_lines(path: Path, form: Standard) -> list[str]:
    """Feed the sequences in x.npy step by step, as frames arrive; `logits` are those of all steps so far."""
    lines = [
        f'x = numpy.load("x.npy").astype("float32")  # {shape(form)}',
        'states = {i.name: numpy.zeros((len(x), i.shape[1]), "float32") for i in model.get_inputs()[1:]}',
        "for t in range(x.shape[1]):  # or several steps at once: x[:, t : t + n]",
        '    logits, *after = model.run(None, {"x": x[:, t : t + 1], **states})',
        "    states = dict(zip(states, after))",
    ]
    return _in_onnxruntime(path, lines)


def _in_onnxruntime(path: Path, lines: list[str]) -> list[str]:
    """The session before and the names of the classes after the lines that compute `logits`."""
    return [
        "import json, numpy, onnxruntime",
        f"model = onnxruntime.InferenceSession({str(path)!r})",
        'classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])',
        *lines,
        "print([classes[number] for number in logits.argmax(1)])",
    ]


def torch_lines(path: Path, form: Standard) -> list[str]:
    """Define the module that the torch file describes, and fill it: `model(x)` gives logits."""
    buffers = [*form.affine, *(["input_index"] if form.input_index is not None else [])]
    rnn = f'torch.nn.{form.cell.torch_module}(**file["arguments"])'
    if form.cell.torch_module is None:
        rnn = 'torch.nn.ParameterDict({k[4:]: v for k, v in file["state"].items() if k[:4] == "rnn."})'
    lines = [
        "import torch",
        f"file = torch.load({str(path)!r}, weights_only=True)",
        "class Model(torch.nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        f"        self.rnn, self.head = {rnn}, {_head(form)}",
    ]
    if buffers:
        lines.append(f'        for name in {buffers}: self.register_buffer(name, file["state"][name])')
    if form.front is not None:
        norms = f"torch.nn.BatchNorm1d({form.front.inputs}) for _ in range({form.front.segments})"
        lines.append(f"        self.norms = torch.nn.ModuleList({norms})")
    lines.append(f"    def forward(self, x):  # {shape(form)}, no padding")
    lines += [f"        {line}" for line in _forward(form)]
    return [*lines, 'model = Model().eval(); model.load_state_dict(file["state"])']


def safetensors_lines(path: Path, form: Standard) -> list[str]:
    """Compute the logits of x in PyTorch. No lines for what torch.nn has no single module for."""
    if form.cell.torch_module is None or form.front is not None or form.top is not None:
        return []
    return [
        "import json, torch, safetensors.torch",
        f"path = {str(path)!r}",
        'file, about = safetensors.torch.load_file(path), safetensors.safe_open(path, "pt").metadata()',
        f'rnn = torch.nn.{form.cell.torch_module}(**json.loads(about["arguments"]))',
        "rnn.load_state_dict({name: file[name] for name in rnn.state_dict()})",
        f"hidden = rnn({_input(form, 'file[%r]')})[0][:, -1]  # x: {shape(form)}, no padding",
        'logits = torch.nn.functional.linear(hidden, file["head.weight"], file["head.bias"])',
    ]


def c_lines(path: Path, form: Standard) -> list[str]:
    """Classify one sequence of `steps` steps, fed as they arrive."""
    prefix = prefix_of(path)
    upper, steps = prefix.upper(), "" if form.front is None else ", steps"
    return [
        f"/* cc -std=c99 -O3 program.c {path.name} -lm */",
        f"#define {upper}_DECLARATIONS_ONLY",
        f'#include "{path.name}"',
        f"{prefix}_state state; float logits[{upper}_CLASSES];",
        f"{prefix}_start(&state{steps});",
        f"for (t = 0; t < steps; ++t) {prefix}_step(&state, x + t * {upper}_INPUTS); /* x[steps][{upper}_INPUTS] */",
        f"{prefix}_logits(&state, logits);",
    ]


def _input(form: Standard, place: str) -> str:
    """What the layers read. place: of a tensor by its name."""
    read = "x" if form.input_index is None else f"x[..., {place % 'input_index'}]"
    return f"{read} * {place % 'factor'} - {place % 'shift'}" if form.affine else read


def _head(form: Standard) -> str:
    if form.top is None:
        return _layer(form.head)
    return f"torch.nn.Sequential({', '.join(map(_layer, (form.head, *form.top)))})"


def _layer(module: nn.Module) -> str:
    if isinstance(module, nn.Linear):
        return f"torch.nn.Linear({module.in_features}, {module.out_features})"
    return f"torch.nn.BatchNorm1d({module.num_features})" if isinstance(module, nn.BatchNorm1d) else "torch.nn.ReLU()"


def _forward(form: Standard) -> Iterator[str]:
    read = _input(form, "self.%s")
    if form.front is None and form.cell.torch_module:
        yield f"return self.head(self.rnn({read})[0][:, -1])"
        return
    yield f"x = {read}"
    if form.front is not None:
        yield from _front(form.front)
    if form.cell.torch_module:
        yield "return self.head(self.rnn(x)[0][:, -1])"
    else:
        yield from _written_out(form)
        yield "return self.head(h)"


def _front(front: TemporalSegments) -> Iterator[str]:
    """Batch norm of each segment, and the maximum over its steps if they are pooled (nn/rnn/heads/segments.py)."""
    yield f"ends = [k * x.shape[1] // {front.segments} for k in range({front.segments + 1})]"
    each = "for norm, a, b in zip(self.norms, ends, ends[1:])"
    if front.pool:
        yield f"x = torch.stack([norm(x[:, a : max(b, a + 1)].mT).amax(2) {each}], 1)"
    else:
        yield f"x = torch.cat([norm(x[:, a:b].mT).mT {each}], 1)"


def _written_out(form: Standard) -> Iterator[str]:
    """The equations of a cell that torch.nn does not have; afterwards `h` is the last state."""
    cell, hidden = form.cell, form.layers[0].hidden
    x = tuple(_Term(f"x_{letter}") for letter in cell.gates)
    u = tuple(_Term(f"u_{letter}") for letter in cell.recurrent)
    after = cell.step(x, u, lambda letter, value: value, *map(_Term, cell.states))
    zeros = [f"x.new_zeros(len(x), {hidden})"] * len(cell.states)
    yield f"for k in range({len(form.layers)}):"
    yield f"    out, {', '.join(cell.states)} = [], {', '.join(zeros)}"
    yield '    for step in (x @ self.rnn[f"weight_ih_l{k}"].T + self.rnn[f"bias_l{k}"]).unbind(1):'
    yield f"        {_names(x)} = step.chunk({len(x)}, 1)"
    if u:
        yield '        product = h @ self.rnn[f"weight_hh_l{k}"].T + self.rnn[f"bias_hh_l{k}"]'
        yield f"        {_names(u)} = product.chunk({len(u)}, 1)"
    yield f"        {', '.join(cell.states)} = {', '.join(value.text for value in after)}"
    yield "        out.append(h)"
    yield "    x = torch.stack(out, 1)"


def _names(terms: tuple[_Term, ...]) -> str:
    return ", ".join(term.text for term in terms) + "," * (len(terms) == 1)


@dataclass(frozen=True)
class _Term(Symbol):
    """A value of `Cell.step` as the text that computes it."""

    text: str

    def operation(self, kind: str, *operands: _Term | float) -> _Term:
        texts = [value.text if isinstance(value, _Term) else str(value) for value in operands]
        return _Term(f"({texts[0]} {SIGNS[kind]} {texts[1]})" if kind in SIGNS else f"{texts[0]}.{kind.lower()}()")
