"""What all tests share: one thread and one seed, so that numbers repeat and parallel tests leave others the cores."""

from __future__ import annotations

import importlib
import logging
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import drawing_only
from filelock import FileLock
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C is ignored below a shell's `pytest &`
# No example depends on the day, an earlier call or the load of the machine. `pytest -m long` draws others each time.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", COMMON, derandomize=True, max_examples=50)
settings.register_profile("long", COMMON, max_examples=500)


def pytest_configure(config: pytest.Config) -> None:
    """Choose before any test module derives its own settings from the profile."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
    settings.load_profile("long" if config.getoption("markexpr") == "long" else "default")
    if hasattr(config.option, "loadscopereorder"):  # xdist would begin with the files that have most tests
        config.option.loadscopereorder = False


LONGEST = (  # files that take longest, of many processes or many trainings: begun first, or one worker waits for them
    "cluster/test_slurm.py",
    "contract/test_methods.py",
    "test_workflow.py",
    "test_browser.py",
    "test_faults_killed.py",
    "test_faults.py",
    "test_faults_disk.py",
    "test_notebooks.py",
    "test_wheel.py",
    "test_tuning.py",
    "test_reproduce.py",
    "test_killed_runs.py",
    "test_report.py",
    "test_checkpoint.py",
    "cluster/test_simulated_slurm.py",
    "test_security.py",
    "test_compare_folders.py",
    "test_paper_tables.py",
    "test_board.py",
    "test_board_browser.py",
    "test_export.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {str(ROOT / "tests" / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Tests that need more say so; what a test leaves behind does not reach the next one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    yield
    logging.getLogger("squeezebench").handlers.clear()


@pytest.fixture(autouse=True, scope="session")
def latency_in_the_fewest_rounds():
    """The number of repeats changes no result but the time."""
    latency = importlib.import_module("squeezebench.engine.measurement.latency")  # the package has a function so named
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "MOST", latency.FEWEST)
        yield


@pytest.fixture
def undrawn():
    """Every figure of a report is an empty SVG."""
    with drawing_only():
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def traced(tmp_path_factory) -> Path:
    """Synthetic results with their report, for the tests that recompute it; read only. All workers share one."""
    from traced_results import results

    from squeezebench.report import build_report

    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    folder, built = place / "traced-results" / "traced", place / "traced-results" / "built"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "traced-results" / "lock"):
        if not built.exists():
            with drawing_only("accuracy_vs_size", "per_class", "ranks"):
                build_report(results(folder))
            built.touch()
    return folder


@pytest.fixture
def complaint(capsys):
    """Call `squeezebench WORDS`; the one line that it says of a mistake in them or in what they name."""
    from squeezebench.cli.main import main

    def call(*words: object) -> str:
        capsys.readouterr()  # what was said before
        assert main(list(map(str, words))) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and err.startswith("squeezebench: "), (out, err)
        return err

    return call
