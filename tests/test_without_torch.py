"""What only reads files imports no torch, what is asked often imports little, and a run no compiler."""

from __future__ import annotations

import json
import subprocess
import sys

from synthetic_records import make
from traced_results import PAPER

from squeezebench.schema.printed import PublishedTable

STEPS = [  # code, and the packages that are not imported after it and all that is above it
    ("import squeezebench", "numpy pydantic torch"),
    ("from squeezebench.report import outputs; "
     "assert any('figure5' in str(name) for name in outputs(folder / 'plan.json'))",
     "jinja2 matplotlib numpy pandas pydantic torch"),
    ("import squeezebench.cli.main", "av numpy pandas requests torch"),
    ("import squeezebench.schema.printed", "numpy pandas torch"),
    ("from squeezebench.nn.rnn.cells import known_cells; from squeezebench.nn.rnn.closed_form import closed_form; "
     "assert all(closed_form(3, [2], name) for name in known_cells())", "torch"),
    ("from squeezebench.data.sources import available; available(); import squeezebench.data.task",
     "aeon numba pandas pyarrow scipy sklearn torch"),
    ("import squeezebench.schema.metrics, squeezebench.schema.plan, squeezebench.schema.experiment, "
     "squeezebench.schema.inference, squeezebench.schema.tuning_result, squeezebench.schema.verification, "
     "squeezebench.schema.differences, squeezebench.schema.run, squeezebench.pipeline.planner", "torch"),
    ("import squeezebench.tools.verify.consistency; squeezebench.results", "torch"),
    ("from squeezebench.report import build_report; build_report(folder); import squeezebench.report.audit.page",
     "aeon sklearn torch"),
    ("from squeezebench.cli.main import main; assert main(['compare', str(folder), str(folder)]) == 0",
     "aeon sklearn torch"),
    # the last of them is imported with the first frame that it reads
    ("import importlib, pkgutil, squeezebench.data as data\n"
     "for module in pkgutil.walk_packages(data.__path__, data.__name__ + '.'):\n"
     "    module.name.endswith('.efficientnet_lite') or importlib.import_module(module.name)\n"
     "assert 'squeezebench.data.video.backbones' in sys.modules", "torch"),
    # a run needs torch, and not its compiler, whose import would take half of the seconds before training
    ("assert main(['run', '--task', 'japanese_vowels', '--method', 'vib_lstm', '--set', 'ratio=10', '--steps', '8', "
     "'--out', str(folder / 'run')]) == 0", "torch._dynamo sympy"),
    ("assert main(['run', '--task', 'digits_images', '--method', 'vibnet', '--steps', '8', "
     "'--out', str(folder / 'image')]) == 0", "torch._dynamo sympy"),
]  # fmt: skip
PROGRAM = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
for code, absent in json.loads(sys.argv[2]):
    exec(code)
    present = set(absent.split()) & set(sys.modules)
    assert not present, (code, present)
"""


def test_what_only_reads_files_imports_little_and_no_torch(tmp_path):
    make(tmp_path, tasks=("digits",), methods=("dense", "vib_lstm"), steps=1, seeds=1)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["config"]["tables"] = [PublishedTable.model_validate(table).model_dump(mode="json") for table in PAPER[3:4]]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    words = [sys.executable, "-c", PROGRAM, str(tmp_path), json.dumps(STEPS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "identical" in done.stdout, done.stderr
