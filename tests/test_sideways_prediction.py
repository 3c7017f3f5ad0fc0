"""Full-Res networks and the prediction of a later frame: what they see, the rule on frames, and the study's files."""

from __future__ import annotations

import pytest
import torch
from csv_files import read_csv
from torch import nn

from benchmarks.sideways_prediction import main
from benchmarks.studies.full_res import FullRes
from benchmarks.studies.prediction import Pairs, error, standing_error
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.rule import sideways_gradients
from squeezebench.nn.sideways.training import clip_loss


def test_the_network_is_the_supplementarys():
    """Eight blocks of two convolutions, 64, 64, 32, ... channels, the frame's own at the end; no stride anywhere."""
    net = FullRes((3, 10, 12))
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64] * 4 + [32] * 11 + [3]
    assert all(c.kernel_size == (3, 3) and c.stride == (1, 1) for c in convolutions)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in net.modules()) == 15  # one before each ReLU
    predicted = net.frame_logits(100 * torch.randn(2, 3, 360))
    assert predicted.shape == (2, 3, 3, 10, 12) and predicted.abs().max() == 1  # hard tanh
    narrow = FullRes((1, 8, 8), 4, "sum")
    assert [unit.first.out_channels for unit in narrow.units] == [8, 8, 4, 4, 4, 4, 4, 4]


@pytest.mark.parametrize(("shortcut", "sees"), [("none", 0), ("sum", 4), ("concat", 4)])
def test_no_network_sees_the_frame_that_it_predicts(shortcut, sees):
    """Sideways reads frame t alone; shortcuts over 3 units reach 2 frames further each, two of them fit into eight
    blocks, and frame t + 8 is never reached."""
    torch.manual_seed(0)
    net = FullRes((1, 6, 6), 3, shortcut)  # in training, normalised per tick: no channel dies, no other frame leaks in
    x = torch.randn(1, 14, 36, requires_grad=True)
    net.frame_logits(x, per_tick=True)[:, 2].square().sum().backward()
    assert x.grad[0].abs().sum(-1).nonzero().flatten().tolist() == list(range(2, 3 + sees, 2))


@pytest.mark.parametrize("shortcut", ["none", "concat"])
def test_on_a_still_video_the_rule_follows_the_gradient_of_the_squared_error(shortcut):
    torch.manual_seed(0)
    net = FullRes((1, 6, 6), 3, shortcut, blocks=4).double()
    x = torch.rand(3, 1, 36).double().expand(3, 5, 36)
    targets = (0.5 * x).unflatten(-1, (1, 6, 6))
    expected = clip_loss(net, x, None, targets)
    expected.backward()
    exact = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    assert sideways_gradients(net, x, targets) == pytest.approx(expected.item())
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.grad, exact[name], rtol=1e-7, atol=1e-12)


def test_each_output_is_held_against_the_frame_that_comes_later():
    """One scale s on every pixel: the gradient of the mean of (s x_t - x_{t+2})^2 is known."""

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.s = nn.Parameter(torch.tensor(0.5))

        def forward(self, h):
            return self.s * h

    pairs = Pairs(torch.randn(3, 7, 1, 2, 2), ahead=2)
    net = SidewaysNet([Scale()], (1, 2, 2))
    first, later = pairs.frames[:, :5], pairs.frames[:, 2:]
    loss = sideways_gradients(net, pairs.inputs(slice(None)), pairs.targets(slice(None)))
    assert loss == pytest.approx(float((0.5 * first - later).square().mean()), rel=1e-5)
    assert float(net.units[0].s.grad) == pytest.approx(float((2 * (0.5 * first - later) * first).mean()), rel=1e-4)
    assert error(net, pairs, batch=2) == pytest.approx(loss, rel=1e-5)
    net.units[0].s.data.fill_(1.0)
    assert error(net, pairs) == pytest.approx(standing_error(pairs), rel=1e-5)


@pytest.mark.parametrize("what", ["shapes", "clips"])
def test_the_study_runs_from_end_to_end(what, tmp_path, monkeypatch, capsys):
    """Of synthetic clips too, which it prepares itself; four frames ahead, one epoch."""
    monkeypatch.setenv("SQUEEZEBENCH_DATA", str(tmp_path / "data"))
    given = ["--size", "12", "--frames", "6", "--groups", "4", "--ahead", "4", "--width", "2", "--epochs", "1",
             "--seeds", "0", "--folder", str(tmp_path)]  # fmt: skip
    main([what, *given])
    rows = read_csv(tmp_path / f"prediction_{what}.csv")
    arms = ["Sideways", "Skip-Sideways, concat", "BP", "BP, concat"]
    assert [row["arm"] for row in rows] == arms and len(capsys.readouterr().out.splitlines()) == 4
    for row in rows:
        assert float(row["relative"]) == pytest.approx(float(row["held_out"]) / float(row["standing"]))
    pictures = sorted(tmp_path.glob(f"pictures_{what}_*.svg"))
    assert len(pictures) == 2
    assert pictures[0].read_text().count("<image") == 6 * 2  # input, later and four networks; two moments
