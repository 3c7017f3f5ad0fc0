"""The trainer and the stability study: what a step is, what the table holds, what divergence looks like."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import pytest
import torch
from csv_files import read_csv

from benchmarks.sideways_figures import summary, write_study
from benchmarks.sideways_stability import main
from benchmarks.studies import sideways_stability
from benchmarks.studies.sideways_stability import (
    LARGE_STEPS,
    STEPS,
    Setting,
    accuracy,
    cosine,
    grid,
    stability,
    train,
)
from squeezebench.nn.sideways.rule import sideways_gradients
from squeezebench.nn.sideways.training import sideways_step
from squeezebench.nn.sideways.vgg import VideoVGG


def videos(every: int = 1):
    """Two motions of a bright column on a torus of 8 x 8 pixels: to the right, to the left; starts anywhere."""
    time = torch.arange(6) * every
    column = torch.arange(8)
    clips = [
        (column == (start + sign * time[:, None]) % 8).float()[:, None].expand(6, 8, 8) + 0.1 * noise
        for start, noise in zip(torch.arange(32) % 8, torch.randn(32, 6, 8, 8), strict=True)
        for sign in (1, -1)
    ]
    return torch.stack(clips).flatten(2), torch.tensor([0, 1] * 32)


ALIKE = torch.tensor([0, 0])


def small(shortcut="concat"):
    return VideoVGG((1, 8, 8), 2, [8, 8, 8], (), shortcut, 2)


def test_a_step_is_the_optimisers_on_the_pseudo_gradients():
    torch.manual_seed(0)
    x, y = videos()
    net, other = small(), small()
    other.load_state_dict(net.state_dict())
    loss = sideways_step(net, x, None, y, torch.optim.SGD(net.parameters(), lr=0.1))
    assert sideways_gradients(other, x, y) == pytest.approx(loss)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)


@pytest.mark.parametrize("rule", STEPS)
def test_the_steps_for_large_frames_are_the_same_in_bfloat16(rule):
    torch.manual_seed(0)
    x, y = videos()
    net, other = small(), small()
    other.load_state_dict(net.state_dict())
    loss, rounded = (
        steps[rule](one, x, None, y, torch.optim.SGD(one.parameters(), lr=0.1))
        for one, steps in ((net, STEPS), (other, LARGE_STEPS))
    )
    assert loss != rounded and rounded == pytest.approx(loss, rel=0.01)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert theirs.grad.dtype == torch.float32
        torch.testing.assert_close(theirs, ours, rtol=0.05, atol=0.003)


@pytest.mark.parametrize("rule", STEPS)
def test_what_is_scored_remembers_more_than_the_last_frames(rule):
    """Running statistics once knew the last ten ticks alone, and the held-out error jumped with the last clips."""
    net, (x, y) = small(), videos()
    train(net, x, y, torch.optim.SGD(net.parameters(), lr=0.1), 1, rule=rule, batch=len(x))
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    remembered = [(1 - norm.momentum) ** int(norm.num_batches_tracked) for norm in norms]
    assert min(remembered) == pytest.approx(0.9) and max(remembered) < 0.95  # upper units have fewer ticks


def test_shortcuts_see_motion_and_single_frames_do_not():
    """The reason for Skip-Sideways: with its shortcuts two motions are told apart, without them they never are."""
    found = {}
    for shortcut in ("concat", "none"):
        torch.manual_seed(0)
        net, (x, y), new = small(shortcut), videos(), videos()
        rows = train(net, x, y, torch.optim.Adam(net.parameters(), lr=0.01), 12, batch=16, schedule=cosine)
        assert len(rows) == 12
        found[shortcut] = accuracy(net, *new)
    assert found["concat"] > 0.9
    assert found["none"] < 0.75  # 64 clips at chance: 4 standard deviations


def test_the_table_has_a_row_for_each_setting_and_epoch():
    settings = [*grid(["skip"], (0.01, 0.1), (1, 2)), Setting("plain", 0.1, clips=2, interleaved=True)]
    assert len(settings) == 5 and settings[1] == Setting("skip", 0.01, every=2)
    assert [cosine(done) for done in (0, 1 / 3, 0.5, 1)] == pytest.approx([1, 0.75, 0.5, 0])
    asked = []

    def watched(every):
        asked.append(every)
        torch.manual_seed(0)
        return videos(every)

    nets = {"skip": small, "plain": partial(small, "none")}
    rows = stability(settings, nets, watched, epochs=2, batch=16)
    assert asked == [1, 2, 1, 2, 1] and len(rows) == 10
    expected = {"network": "skip", "learning_rate": 0.01, "every": 2, "clips": 1, "seed": 0, "epoch": 1}
    assert rows[3] | expected == rows[3]
    assert all(0 <= row["accuracy"] <= 1 and row["loss"] > 0 for row in rows)
    assert rows == stability(settings, nets, watched, epochs=2, batch=16)
    both = stability(settings[:1], nets, watched, 2, batch=16, held_out=lambda every: (watched(every)[0][:2], ALIKE))
    assert [{**row, "held_out": 0} for row in rows[:2]] == [{**row, "held_out": 0} for row in both]
    assert {row["held_out"] for row in both} <= {0.0, 0.5, 1.0}


def test_a_training_that_diverges_ends_with_a_row_that_says_so():
    torch.manual_seed(0)
    x, y = videos()
    x[0, 0, 0] = torch.inf
    rows = train(small(), x, y, torch.optim.SGD(small().parameters(), lr=0.1), 3)
    assert len(rows) == 1 and rows[0]["accuracy"] == 0.0 and rows[0]["loss"] != rows[0]["loss"]


def test_the_study_of_clips_runs_from_end_to_end(tmp_path, monkeypatch, capsys):
    """On synthetic clips, which it prepares itself: every frame rate, montages of halves of clips, two seeds, accuracy
    on training and on held-out clips."""
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    asked = []
    for rule in ("sideways", "backpropagation_per_tick"):
        monkeypatch.setitem(sideways_stability.LARGE_STEPS, rule, lambda net, x, *_: asked.append(x.shape[1]) or 1.0)
    main(["clips", "--size", "24", "--frames", "8", "--width", "1", "--epochs", "1", "--seeds", "0", "1",
          "--rates", "0.1", "--folder", str(tmp_path)])  # fmt: skip
    rows = read_csv(tmp_path / "stability.csv")
    assert len(rows) == len(capsys.readouterr().out.splitlines()) == 2 * (2 * 4 + 4 + 2 * 4)
    assert {row["rule"] for row in rows if row["network"].startswith("BP")} == {"backpropagation_per_tick"}
    assert {(row["seed"], row["every"]) for row in rows} == {(seed, every) for seed in "01" for every in "1248"}
    assert all(0 <= float(row["accuracy"]) <= 1 and 0 <= float(row["held_out"]) <= 1 for row in rows)
    assert set(asked) == {8, 4, 2, 1, 2 * 4, 3 * 4}  # frames by rate; montages of two and of three halves
    assert (tmp_path / "montage_held_out.svg").is_file()


def test_the_study_is_a_table_and_three_figures(tmp_path):
    settings = [
        *grid(["Sideways", "Skip-Sideways"], (0.1, 1.0), (1, 2)),
        *grid(["Skip-Sideways"], (0.1,), (1,), (2, 3)),
    ]
    rows = [
        asdict(s) | {"epoch": epoch, "loss": 1.0, "accuracy": accuracy}
        for s in settings
        for epoch, accuracy in enumerate([0.25, 0.0] if s.every == 2 else [0.5, 0.75, 1.0])
    ]
    assert summary(rows[:5]) == ([1, 2, 3], [25, 0, 0], [37.5, 37.5, 50], [50, 75, 100])  # one diverged
    written = write_study(rows, tmp_path, 0.125)
    assert [path.name for path in written] == ["stability.csv", "learning_rates.svg", "frame_rates.svg", "montage.svg"]
    assert written[0].read_text().count("\n") == len(rows) + 1
    assert "7 frames a second" not in written[2].read_text() and "15 frames a second" in written[2].read_text()
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_study(rows, tmp_path, 0.125)] == before
    both = write_study([row | {"held_out": row["accuracy"] / 2} for row in rows], tmp_path / "both", 0.125)
    assert [path.name for path in both[4:]] == [
        f"{name}_held_out.svg" for name in ("learning_rates", "frame_rates", "montage")
    ]
    assert [path.read_bytes() for path in both[1:4]] == before[1:] and "held-out clips" in both[4].read_text()
