"""What only reads files imports no torch, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "modules",
    [
        "squeezebench.report.page, squeezebench.report.compare.text, squeezebench.report.audit.page",
        "squeezebench.schema.metrics, squeezebench.schema.plan, squeezebench.schema.experiment, "
        "squeezebench.schema.inference, squeezebench.schema.tuning_result, squeezebench.schema.verification, "
        "squeezebench.schema.differences, squeezebench.schema.run",
        "squeezebench.tools.verify.consistency",
        "squeezebench.pipeline.planner",
        "squeezebench as s; s.results",
    ],
    ids=["report", "schema", "consistency", "planner", "the functions of the package"],
)
def test_reading_imports_no_torch(modules):
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_package_alone_is_imported_at_once():
    code = "import sys, squeezebench; print(sorted({'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
