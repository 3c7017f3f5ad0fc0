"""What all tests share: one thread and one seed, so that numbers repeat and parallel tests leave others the cores."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
# No example depends on the day, an earlier call or the load of the machine. `pytest -m long` draws others each time.
COMMON = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", COMMON, derandomize=True)
settings.register_profile("long", COMMON)


def pytest_configure(config: pytest.Config) -> None:
    """Choose before any test module derives its own settings from the profile."""
    settings.load_profile("long" if config.getoption("markexpr") == "long" else "default")


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    """Tests that need more say so; what a test leaves behind does not reach the next one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    yield
    logging.getLogger("squeezebench").handlers.clear()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def traced(tmp_path_factory) -> Path:
    """Synthetic results with their report, for the tests that recompute it; read only."""
    from traced_results import results

    from squeezebench.report import build_report

    folder = results(tmp_path_factory.mktemp("results") / "traced")
    build_report(folder)
    return folder
