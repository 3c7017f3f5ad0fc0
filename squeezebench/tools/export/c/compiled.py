"""An exported C file as a program that reads sequences and answers logits: how it is compared and scored."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.tools.export.c.arrays import prefix_of
from squeezebench.tools.export.scored import Answer
from squeezebench.tools.export.standard import Standard

FLAGS = ("-std=c99", "-O2")
DIFFER = 3  # exit status
# Reads the number of sequences, the steps of the longest, those of each, and x (batch, steps, inputs) from stdin. All
# sequences are fed in turns, a step each, so that nothing but the struct can carry a state; then each as a whole.
DRIVER = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define @@_DECLARATIONS_ONLY
#include "network.c"

static void *fill(size_t size, size_t count)
{
    void *place = malloc(size * count + 1);
    if (place == NULL || fread(place, size, count, stdin) != count)
        exit(2);
    return place;
}

int main(void)
{
    int *sizes = fill(sizeof *sizes, 2);
    size_t batch = (size_t)sizes[0], steps = (size_t)sizes[1], b, t;
    int *length = fill(sizeof *length, batch);
    float *x = fill(sizeof *x, batch * steps * @@_INPUTS), logits[@@_CLASSES], whole[@@_CLASSES];
    @_state *states = malloc(batch * sizeof *states + 1);
    if (states == NULL)
        return 2;
    for (b = 0; b < batch; ++b)
        @_start(&states[b]$steps);
    for (t = 0; t < steps; ++t)
        for (b = 0; b < batch; ++b)
            if (t < (size_t)length[b])
                @_step(&states[b], x + (b * steps + t) * @@_INPUTS);
    for (b = 0; b < batch; ++b) {
        @_logits(&states[b], logits);
        @_sequence(x + b * steps * @@_INPUTS, (size_t)length[b], whole);
        if (memcmp(logits, whole, sizeof logits) != 0)
            return $differ;
        fwrite(logits, sizeof logits, 1, stdout);
    }
    return 0;
}
"""


def compiler() -> list[str] | None:
    """The command of a C compiler: $CC, the one Python was built with, or cc; None without any."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return None


def compiled(
    form: Standard, out: Path, source: str, folder: Path, cc: Sequence[str], flags: Sequence[str] = FLAGS,
    emulator: Sequence[str] = (),
) -> Answer:  # fmt: skip
    """`source`, which is `form` in C, as a program in `folder`, compiled by the command `cc` and run by `emulator`, if
    there is one. out: the file's place, which gives the names in it their prefix.

    Raises InputError if it does not compile, and the answer raises it if the program fails, or if sequences that are
    fed step by step differ in a bit from sequences that are given as a whole.
    """
    prefix = prefix_of(out)
    driver = DRIVER.replace("@@", prefix.upper()).replace("@", prefix).replace("$differ", str(DIFFER))
    steps = "" if form.front is None else ", (size_t)length[b]"
    (folder / "main.c").write_text(driver.replace("$steps", steps))
    (folder / "network.c").write_text(source)
    call = _run([*cc, *flags, "network.c", "main.c", "-o", "program", "-lm"], folder)
    if call.returncode:
        raise InputError(f"{cc[0]} does not compile the file: {' '.join(call.stderr.decode().split())[:400]}")

    def answer(x: np.ndarray, length: np.ndarray | None) -> np.ndarray:
        batch, steps, _ = x.shape
        length = np.full(batch, steps) if length is None else length
        numbers = [np.array([batch, steps, *length], np.int32), np.ascontiguousarray(x, np.float32)]
        ran = _run([*emulator, "./program"], folder, b"".join(array.tobytes() for array in numbers))
        if ran.returncode:
            reason = "steps and whole sequences differ" if ran.returncode == DIFFER else f"status {ran.returncode}"
            raise InputError(f"the compiled file fails: {reason}")
        return np.frombuffer(ran.stdout, np.float32).reshape(batch, -1)

    return answer


def _run(command: list[str], folder: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, cwd=folder, input=given, capture_output=True, check=False)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be run: {error.strerror}") from None
