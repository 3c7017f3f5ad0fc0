"""No value becomes part of a shell command; test_workflow shows it with names that a shell would obey."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_value_in_a_shell_command_is_quoted():
    """`{x:q}` is quoted by Snakemake; a number of threads needs no quotes."""
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")))
    text += (ROOT / "workflow" / "Snakefile").read_text("utf-8")
    commands = re.findall(r'^ +shell:\n((?: +".*"\n)+)', text, re.MULTILINE)
    assert len(commands) == text.count("shell") == 5
    for command in commands:
        values = re.findall(r"\{([^{}]*)\}", command)
        assert values and all(value.endswith(":q") or value == "threads" for value in values), command
