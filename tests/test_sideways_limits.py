"""Where the rule ends: the cosine of its gradients, the pixels of a gap, accuracies relative to back-propagation."""

from __future__ import annotations

import pytest
import torch
from csv_files import read_csv

from benchmarks.sideways_limits import clips, main
from benchmarks.studies.sideways_limits import cosines, pixels_a_gap, relative
from squeezebench.nn.sideways.vgg import VideoVGG


@pytest.mark.parametrize("shortcut", ["none", "concat"])
def test_the_cosine_is_one_without_motion_and_falls_with_it_from_the_top_down(shortcut):
    torch.manual_seed(0)
    net = VideoVGG((1, 8, 8), 4, [6, 6, 6, 6, 6], (3,), shortcut)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    start, drift, y = torch.randn(8, 1, 64), torch.randn(8, 1, 64), torch.arange(8) % 4
    still, slow, fast = (cosines(net, start + v * torch.arange(9.0)[:, None] * drift, y) for v in (0, 0.02, 0.5))
    assert list(still) == [f"cosine_{unit}" for unit in range(1, 6)]
    assert all(value == pytest.approx(1, abs=1e-4) for value in still.values())
    for moving in (slow, fast):
        assert moving["cosine_5"] == pytest.approx(1, abs=1e-4)  # the top has no gap
    assert 1 > slow["cosine_1"] > fast["cosine_1"]
    assert fast["cosine_4"] > fast["cosine_1"]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_pixels_of_a_gap_are_those_that_the_clips_show():
    """0.045 sides of 16 pixels a frame, over 2 (4 - 1) frames; twice the motion is every second frame."""
    assert pixels_a_gap(1, 16, 4) == pytest.approx(0.72 * 6)
    assert pixels_a_gap(2, 16, 8) == pytest.approx(2 * 0.72 * 14)
    (slow, _), (once, _), (twice, _) = (clips(motion, "train", 6, 8) for motion in (0.5, 1.0, 2.0))
    changes = [(x[:, 1:] - x[:, :-1]).abs().mean() for x in (slow, once, twice)]
    assert changes[0] < changes[1] < changes[2]
    with pytest.raises(ValueError, match="whole numbers"):
        clips(1.5, "train", 6, 8)


def test_accuracies_are_relative_to_back_propagation_on_the_same_network_and_seed():
    row = {"units": 4, "motion": 1.0, "pixels_a_gap": 4.3}
    rows = [
        row | {"arm": arm, "seed": seed, "train": train, "held_out": held_out}
        for arm, seed, train, held_out in [
            ("BP", 0, 0.9, 0.8), ("BP", 1, 0.7, 0.6), ("BP, concat", 0, 1.0, 1.0), ("BP, concat", 1, 1.0, 0.5),
            ("Sideways", 0, 0.8, 0.75), ("Sideways", 1, 0.8, 0.6), ("Skip-Sideways, concat", 1, 0.5, 0.25),
        ]
    ]  # fmt: skip
    found = [(one["arm"], one["seed"], one["train"], one["held_out"]) for one in relative(rows)]
    expected = [("Sideways", 0, -0.1, -0.05), ("Sideways", 1, 0.1, 0.0), ("Skip-Sideways, concat", 1, -0.5, -0.25)]
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert [one[2:] for one in found] == [pytest.approx(one[2:]) for one in expected]


@pytest.mark.parametrize(
    ("what", "rows", "figure", "says"),
    [("gap", 2 * 4, "gap.svg", "pixels moved in a gap"), ("cosine", 2 * 2 * 2 * 4, "cosine_4.svg", "unit 4")],
)
def test_the_studies_run_from_end_to_end(what, rows, figure, says, tmp_path, capsys):
    """Two motions, every arm (of the cosines: two rules, before training and after one epoch, four units)."""
    given = ["--units", "vgg_4", "--motions", "0.25", "2", "--seeds", "0", "--epochs", "1", "--groups", "6", "--frames",
             "4", "--width", "2", "--folder", str(tmp_path)]  # fmt: skip
    main([what, *given])
    lines = read_csv(tmp_path / f"{what}.csv")
    assert len(lines) == rows and len(capsys.readouterr().out.splitlines()) == rows
    assert {float(line["motion"]) for line in lines} == {0.25, 2.0}
    assert says in (tmp_path / figure).read_text()
    if what == "cosine":
        assert all(float(line["cosine"]) == pytest.approx(1, abs=1e-3) for line in lines if line["unit"] == "4")
