"""What all tests share: one thread, so that figures repeat and parallel tests leave each other the cores."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    """Tests that need more say so; the number a test leaves behind does not reach the next one."""
    torch.set_num_threads(1)
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
