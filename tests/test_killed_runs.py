"""Real processes that are killed or told to end: called again, a run goes on to the results of an undisturbed one."""

from __future__ import annotations

import os
import signal

import pytest
from interrupted import LIMIT, checkpoints, command, kill_until_done, noisy, results, start, wait_for_checkpoint

from squeezebench.cli.main import main
from squeezebench.engine.training.checkpoint import NAME, SECONDS
from squeezebench.schema.record import RECORD_NAME


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noisy(tmp_path_factory.mktemp("data") / "noisy.npz")


def long_run(data, folder, epochs=60):
    settings = ("--set", "hidden=6", "--train", f"epochs={epochs}", "--train", "batch_size=4")
    return command(folder, f"file:{data}", "vib_lstm", *settings)


def test_a_run_that_is_ended_again_and_again_is_finished_with_the_results_of_an_undisturbed_one(
    data, tmp_path, monkeypatch
):
    """SIGTERM and Ctrl-C leave a checkpoint and end the process as they always do; then it is killed."""
    monkeypatch.setenv(SECONDS, "300")  # what the command sets is taken back after the test
    whole, folder = tmp_path / "whole", tmp_path / "ended"
    assert main([*long_run(data, whole), "--checkpoint-seconds", "0"]) == 0
    words = long_run(data, folder)
    for number, status in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)):
        process = start(words, folder, seconds=0.1)
        assert wait_for_checkpoint(process, folder)
        os.kill(process.pid, number)
        assert process.wait(LIMIT) == status and not (folder / RECORD_NAME).exists()
        assert checkpoints(folder)
    record, kills = kill_until_done(words, folder, kills=3, seed=1)
    assert kills == 3  # more than the deaths in vain after which a run is given up
    assert results(folder) == results(whole) and record.status == "ok"
    assert not (folder / NAME).exists()
