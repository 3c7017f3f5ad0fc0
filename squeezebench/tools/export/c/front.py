"""What a C file does with each step before the layers read it."""

from __future__ import annotations

from string import Template

import torch

from squeezebench.base.errors import InputError
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.tools.export.c.arrays import Arrays
from squeezebench.tools.export.standard import Standard, scale_and_shift

STATE = "    size_t steps, step, segment; /* of the whole sequence; that have been read; that the next step is in */\n"
EACH = Template("""\
    float normed[$width];
    while (state->segment + 1 < $segments && (state->segment + 1) * state->steps / $segments <= state->step)
        ++state->segment;
    for (j = 0; j < $width; ++j)
        normed[j] = v[j] * $scale[state->segment * $width + j] + $shift[state->segment * $width + j];
    @_layers(state, normed);
    ++state->step;
""")
POOLED = Template("""\
    while (state->segment < $segments && state->segment * state->steps / $segments <= state->step) {
        const size_t first = state->segment * state->steps / $segments;
        const size_t next = (state->segment + 1) * state->steps / $segments;
        for (j = 0; j < $width; ++j) {
            const float y = v[j] * $scale[state->segment * $width + j] + $shift[state->segment * $width + j];
            if (state->step == first || y > state->pooled[j])
                state->pooled[j] = y;
        }
        if (state->step + 1 < next)
            break;
        @_layers(state, state->pooled);
        ++state->segment;
    }
    ++state->step;
""")


def reading(form: Standard, arrays: Arrays) -> tuple[list[str], str]:
    """(statements that give `v`, what is read of a step x; "x" or "v", whichever holds it)."""
    width = form.layers[0].weight_ih.shape[1]
    value = "x[j]"
    if form.input_index is not None:
        index = arrays.add("@_input_index", form.input_index, "uint16_t" if form.inputs <= 1 << 16 else "uint32_t")
        value = f"x[{index}[j]]"
    if form.affine:
        factor, shift = (arrays.add(f"@_{name}", values) for name, values in form.affine.items())
        value = f"{value} * {factor}[j] - {shift}[j]"
    return ([f"for (j = 0; j < {width}; ++j)", f"    v[j] = {value};"], "v") if value != "x[j]" else ([], "x")


@torch.no_grad()
def front_of(form: Standard, arrays: Arrays, read: str) -> tuple[str, str]:
    """(members of the state, statements that hand `read` to the layers). Raises InputError for an unknown head."""
    front = form.front
    if front is None:
        return "", f"    @_layers(state, {read});\n"
    if not isinstance(front, TemporalSegments):
        raise InputError(f"no C is written for the head {type(front).__name__}; use --format onnx")
    scales, shifts = zip(*map(scale_and_shift, front.norms), strict=True)
    names = {
        "scale": arrays.add("@_segment_scale", torch.stack(scales)),
        "shift": arrays.add("@_segment_shift", torch.stack(shifts)),
        "segments": front.segments,
        "width": front.inputs,
    }
    text = (POOLED if front.pool else EACH).substitute(names).replace("v[j]", f"{read}[j]")
    return STATE + f"    float pooled[{front.inputs}];\n" * front.pool, text
