"""A standard classifier as C99 source: weights, one step, and the states of a stream in a struct.

Products are computed column by column, so that a compiler can use vector instructions without changing the order of
any sum. In int8 the weights are integers with one scale per row (as in a record, measurement/files.py); inputs, states
and sums stay float, so that an answer does not depend on what is computed beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.rnn.cells import Cell
from squeezebench.tools.export.c.arrays import Arrays, comment, prefix_of, string
from squeezebench.tools.export.c.front import front_of, reading
from squeezebench.tools.export.c.symbols import statements_of
from squeezebench.tools.export.standard import Standard, StandardLayer, scale_and_shift

DECLARATIONS = Template("""\
#ifndef @@_DECLARED
#define @@_DECLARED
#include <stddef.h>

enum { @@_INPUTS = $inputs, @@_CLASSES = $classes }; /* numbers in one step; logits */

typedef struct { /* of one stream */
$state} @_state;

void @_start(@_state *state$steps_declared);
void @_step(@_state *state, const float *x);               /* one step, x[@@_INPUTS] */
void @_logits(const @_state *state, float *logits);        /* after any step$when, logits[@@_CLASSES] */
void @_sequence(const float *x, size_t steps, float *logits); /* a whole sequence, x[steps][@@_INPUTS] */
$names_declared#endif
""")
CODE = Template("""\
#ifndef @@_DECLARATIONS_ONLY
#include <math.h>
#include <stdint.h>
#include <string.h>

$arrays
$names
$functions
$layers
static void @_layers(@_state *state, const float *x)
{
$calls}

void @_start(@_state *state$steps_declared)
{
    memset(state, 0, sizeof *state);
$start}

void @_step(@_state *state, const float *x)
{
$step}

void @_logits(const @_state *state, float *logits)
{
$head}

void @_sequence(const float *x, size_t steps, float *logits)
{
    size_t t;
    @_state state;
    @_start(&state$steps_given);
    for (t = 0; t < steps; ++t)
        @_step(&state, x + t * @@_INPUTS);
    @_logits(&state, logits);
}
#endif
""")
LAYER = Template("""
static void @_layer_$number(const float *restrict x, $states)
{
    float a[$rows]$products;
    int j;
$calls    for (j = 0; j < $hidden; ++j) {
$statements    }
}
""")
LINEAR = {
    False: """
/* out = bias + W x */
static void @_linear(float *restrict out, const float *restrict bias, const float *restrict weight,
                     const float *restrict x, int inputs, int rows)
{
    int i, r;
    for (r = 0; r < rows; ++r)
        out[r] = bias[r];
    for (i = 0; i < inputs; ++i, weight += rows)
        for (r = 0; r < rows; ++r)
            out[r] += weight[r] * x[i];
}
""",
    True: """
/* out = bias + scale (W x) */
static void @_linear(float *restrict out, const float *restrict bias, const int8_t *restrict weight,
                     const float *restrict scale, const float *restrict x, int inputs, int rows)
{
    int i, r;
    for (r = 0; r < rows; ++r)
        out[r] = 0.0f;
    for (i = 0; i < inputs; ++i, weight += rows)
        for (r = 0; r < rows; ++r)
            out[r] += (float)weight[r] * x[i];
    for (r = 0; r < rows; ++r)
        out[r] = bias[r] + scale[r] * out[r];
}
""",
}
ACTIVATIONS = {
    "@_sigmoid(": "\nstatic float @_sigmoid(float x)\n{\n    return 1.0f / (1.0f + expf(-x));\n}\n",
    "@_relu(": "\nstatic float @_relu(float x)\n{\n    return x < 0.0f ? 0.0f : x;\n}\n",
}


def c_source(form: Standard, about: dict[str, str], out: Path, int8: bool = False) -> str:
    """The whole file; `out` gives the names in it their prefix. Raises InputError if there is no C for a part."""
    arrays, prefix = Arrays(int8), prefix_of(out)
    members, step = _step(form, arrays)
    layers = "".join(_layer(layer, form.cell, number, arrays) for number, layer in enumerate(form.layers))
    head, classes = _head(form, arrays)
    names, steps = _names(json.loads(about["classes"]), classes), form.front is not None
    parts = {
        "inputs": form.inputs,
        "classes": classes,
        "state": members,
        "steps_declared": ", size_t steps" * steps,
        "steps_given": ", steps" * steps,
        "start": "    state->steps = steps;\n" * steps,
        "when": "; after the last, of the whole sequence" * steps,
        "names_declared": "extern const char *const @_class_names[@@_CLASSES];\n" if names else "",
        "arrays": "\n".join(arrays.texts),
        "names": names,
        "functions": LINEAR[int8] + "".join(text for call, text in ACTIVATIONS.items() if call in layers + head),
        "layers": layers,
        "calls": _calls(form),
        "step": step,
        "head": head,
    }
    code = DECLARATIONS.substitute(parts) + "\n" + CODE.substitute(parts)
    return comment(_about(form, about, out, int8)) + "\n" + code.replace("@@", prefix.upper()).replace("@", prefix)


def _step(form: Standard, arrays: Arrays) -> tuple[str, str]:
    """(members of the state, the body of the function of one step)."""
    states = [
        f"float {', '.join(f'{state}_{number}[{layer.hidden}]' for state in form.cell.states)};"
        for number, layer in enumerate(form.layers)
    ]
    read, given = reading(form, arrays)
    members, step = front_of(form, arrays, given)
    counter = ["int j;"] * (bool(read) or form.front is not None)
    width = form.layers[0].weight_ih.shape[1]
    return _indented(states) + members, _indented(counter + [f"float v[{width}];"] * bool(read) + read) + step


def _indented(lines: list[str], depth: int = 1) -> str:
    return "".join(f"{'    ' * depth}{line}\n" for line in lines)


def _layer(layer: StandardLayer, cell: Cell, number: int, arrays: Arrays) -> str:
    """The function of one layer: x -> its states, in place."""
    outside, inside = layer.biases(cell)
    calls = [arrays.linear(f"W_{number}", layer.weight_ih, outside, "a", "x")]
    if len(layer.weight_hh):
        calls.append(arrays.linear(f"U_{number}", layer.weight_hh, inside, "u", "h"))
    masks = f"@_mask_{number}_"
    for letter, values in layer.factors.items():
        arrays.add(f"{masks}{letter}", values)
    return LAYER.substitute(
        number=number,
        states=", ".join(f"float *restrict {state}" for state in cell.states),
        rows=len(layer.weight_ih),
        products=f", u[{len(inside)}]" if len(inside) else "",
        calls=_indented(calls),
        hidden=layer.hidden,
        statements=_indented(statements_of(cell, layer.hidden, set(layer.factors), masks), 2),
    )


def _calls(form: Standard) -> str:
    """The layers, one after the other."""
    inputs = ["x", *(f"state->{form.cell.states[0]}_{number}" for number in range(len(form.layers)))]
    states = [", ".join(f"state->{state}_{n}" for state in form.cell.states) for n in range(len(form.layers))]
    return _indented([f"@_layer_{n}({inputs[n]}, {given});" for n, given in enumerate(states)])


@torch.no_grad()
def _head(form: Standard, arrays: Arrays) -> tuple[str, int]:
    """(statements from the last state to the logits, their number); batch norm joins the linear layer before it."""
    linears: list[tuple[Tensor, Tensor]] = []
    rectified: set[int] = set()  # linear layers that are followed by a ReLU
    for module in (form.head, *(form.top or ())):
        if isinstance(module, nn.Linear):
            linears.append((module.weight, module.bias))
        elif isinstance(module, nn.BatchNorm1d) and len(linears) - 1 not in rectified:
            (weight, bias), (scale, shift) = linears.pop(), scale_and_shift(module)
            linears.append((weight * scale[:, None], bias * scale + shift))
        elif isinstance(module, nn.ReLU):
            rectified.add(len(linears) - 1)
        else:
            raise InputError(f"no C is written for {type(module).__name__} after the head; use --format onnx")
    lines, x, last = [], f"state->{form.cell.states[0]}_{len(form.layers) - 1}", len(linears) - 1
    buffers = [f"float y_{n}[{len(weight)}];" for n, (weight, _) in enumerate(linears[:-1])]
    for n, (weight, bias) in enumerate(linears):
        out = "logits" if n == last else f"y_{n}"
        lines.append(arrays.linear(f"head_{n}", weight, bias, out, x))
        if n in rectified:
            lines += [f"for (j = 0; j < {len(weight)}; ++j)", f"    {out}[j] = @_relu({out}[j]);"]
        x = out
    return _indented(buffers + ["int j;"] * bool(rectified) + lines), len(linears[-1][0])


def _names(names: list[str], classes: int) -> str:
    """The names of the classes as an array, if the record has one for each."""
    if len(names) != classes:
        return ""
    return f"const char *const @_class_names[@@_CLASSES] = {{\n{_indented([f'{string(name)},' for name in names])}}};\n"


def _about(form: Standard, about: dict[str, str], out: Path, int8: bool) -> list[str]:
    weights = "int8 weights with one scale per row" if int8 else "float32"
    texts = {key: value for key, value in about.items() if key != "classes"}
    return [
        f"{form.cell.title} classifier in C99, {weights}, written by squeezebench. It needs the C library only (-lm).",
        "",
        "Compile this file by itself. A file that uses it includes its declarations:",
        f"    #define {prefix_of(out).upper()}_DECLARATIONS_ONLY",
        f'    #include "{out.name}"',
        "",
        *(f"{key}: {value}" for key, value in texts.items()),
    ]
