"""The wheel, installed in an environment of its own outside the repository: a first experiment, from `init` to a page.

The environment sees the packages that are installed here already, and of squeezebench nothing but the wheel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS
from squeezebench.tools.new_project import write_project

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "Snakefile",
          "squeezebench", "methods", "report", "config", "workflow", "profiles")  # fmt: skip


def call(folder: Path, *words: object) -> str:
    """The output of a command in `folder`, which knows nothing of the repository."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of commands of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
    call(folder, *pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    call(folder, sys.executable, "-m", "venv", "--without-pip", folder / "env")
    packages = next((folder / "env" / "lib").glob("python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])  # whose own .pth files are not read
    python = folder / "env" / "bin" / "python"
    call(folder, *pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return python.parent


def test_an_installed_wheel_goes_from_init_to_a_report_and_all_commands_find_their_files(installed, tmp_path):
    place = call(tmp_path, installed / "python", "-c", "import squeezebench; print(squeezebench.__file__)")
    assert Path(place.strip()).is_relative_to(installed.parent)
    methods = json.loads(call(tmp_path, installed / "squeezebench", "methods", "--json"))
    assert [method["name"] for method in methods] == sorted(path.stem for path in METHODS.glob("*.py"))
    assert "\n" in call(tmp_path, installed / "squeezebench", "audit")

    call(tmp_path, installed / "squeezebench", "init", "try", "--experiment", "smoke")
    folder = tmp_path / "try"
    call(folder, installed / "squeezebench", "new-method", "mine")
    some = "tasks={digits: {methods: [vib_lstm, mine]}}"  # all of them take a minute
    call(folder, installed / "python", "-m", "snakemake", "--cores", "1", "--config", "seeds=[0]", some)
    report = folder / "results" / "smoke" / "report.html"
    assert "mine" in report.read_text() and "VIB-LSTM" in report.read_text()


def test_init_makes_a_new_folder_or_nothing(tmp_path):
    written = write_project(tmp_path / "new")
    assert all(path.exists() for path in written) and not list((tmp_path / "new" / "methods").iterdir())
    with pytest.raises(InputError, match=r"new/Snakefile exists; give a new folder"):
        write_project(tmp_path / "new")
    with pytest.raises(InputError, match="unknown experiment 'smok'; did you mean smoke"):
        write_project(tmp_path / "other", "smok")
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is not a folder"):
        write_project(tmp_path / "file")
