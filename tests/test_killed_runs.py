"""Real processes that are killed or told to end: called again, a run goes on to the results of an undisturbed one."""

from __future__ import annotations

import signal
import subprocess

import pytest
from interrupted import LIMIT, checkpoints, command, kill_until_done, noisy, results, start, wait_for_checkpoint

from squeezebench.engine.training.checkpoint import NAME
from squeezebench.schema.record import RECORD_NAME


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noisy(tmp_path_factory.mktemp("data") / "noisy.npz")


def long_run(data, folder, epochs=100):
    settings = ("--set", "hidden=6", "--train", f"epochs={epochs}", "--train", "batch_size=4")
    return command(folder, f"file:{data}", "vib_lstm", *settings)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """Results of the long run without a checkpoint."""
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([*long_run(data, folder), "--checkpoint-seconds", "0"], check=True, timeout=LIMIT)
    return results(folder)


def test_a_run_that_is_killed_again_and_again_is_finished_with_the_same_results(data, undisturbed, tmp_path):
    record, kills = kill_until_done(long_run(data, tmp_path), tmp_path, kills=4, seed=1)
    assert kills >= 3  # more than the deaths in vain after which a run is given up
    assert results(tmp_path) == undisturbed and record.status == "ok"
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_and_ends_the_process_as_it_always_does(
    data, undisturbed, tmp_path, number, status
):
    process = start(long_run(data, tmp_path), seconds=0.3)
    assert wait_for_checkpoint(process, tmp_path)
    before = checkpoints(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=LIMIT)
    assert process.returncode == status and not (tmp_path / RECORD_NAME).exists()
    assert checkpoints(tmp_path) and checkpoints(tmp_path) != before
    subprocess.run(long_run(data, tmp_path), check=True, timeout=LIMIT)
    assert results(tmp_path) == undisturbed
