"""Table 1's competitors: causality, rematerialisation, patches, GPipe against one process, schedules, the benchmark."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from csv_files import read_csv
from torch import nn

from benchmarks.sideways_competitors import frame_by_frame, main
from benchmarks.studies.gpipe import GPipeProcesses, gpipe_step
from benchmarks.studies.schedules import bubble, gpipe_schedule, sideways_schedule
from benchmarks.studies.video_networks import Inflated, i3d, to_depth, vgg_3d, video_loss
from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.memory import Allocations
from squeezebench.nn.sideways.training import backpropagation_step, clip_loss
from squeezebench.nn.sideways.vgg import VideoVGG

FRAME, WIDTHS, POOLS = (1, 8, 8), (3, 4, 5), (2,)
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


@pytest.mark.parametrize(("frames", "causal"), [(2, True), (3, True), (3, False)])
def test_a_causal_network_sees_no_later_frame_and_another_does(frames, causal):
    """Three units and one pooling, each of which reaches `frames` - 1 back, or one frame each way."""
    torch.manual_seed(0)
    net = vgg_3d(FRAME, 4, WIDTHS, POOLS, frames, causal).double().eval()
    for p in net.parameters():
        p.data.abs_()  # no unit is dead
    x = torch.randn(1, 13, 64, dtype=torch.float64, requires_grad=True)
    net(x)[0, 6].sum().backward()
    seen = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    reach = 4 * (frames - 1)
    assert seen == list(range(max(0, 6 - reach), 7) if causal else range(2, 11))


def test_an_inflated_kernel_is_the_flat_one_where_nothing_moves():
    """Kernels of a VGG, spread over three frames: a still video gives each inner frame what the flat network gives."""
    flat, deep = nn.Conv2d(2, 3, 3, padding=1, bias=False), Inflated(2, 3)
    deep.convolution.weight.data = flat.weight.data[:, :, None].expand(-1, -1, 3, -1, -1) / 3
    h = torch.randn(2, 2, 1, 5, 5)
    expected = nn.functional.relu(deep.eval().norm(flat(h[:, :, 0])[:, :, None]))[:, :, 0]
    torch.testing.assert_close(deep(h.expand(-1, -1, 5, -1, -1))[:, :, 2], expected)


def test_rematerialised_gradients_are_the_plain_ones_to_the_bit_and_take_less_memory():
    torch.manual_seed(0)
    plain = vgg_3d(FRAME, 4, [4] * 6, ())
    remat = copy.deepcopy(plain)
    remat.remat = True
    x, y, peaks = torch.randn(3, 16, 64), torch.tensor([0, 3, 1]), []
    for net in (plain, remat):
        with Allocations([x, *net.parameters(), *net.buffers()]) as seen:
            video_loss(net, x, y).backward()
        peaks.append(seen.peak)
    assert peaks[1] < 0.7 * peaks[0]
    for (name, one), other in zip(plain.named_parameters(), remat.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    for (name, one), other in zip(plain.named_buffers(), remat.buffers(), strict=True):
        assert torch.equal(one, other), name  # running statistics have moved once


def test_frame_by_frame_the_gradients_are_those_of_the_clip_and_take_the_memory_of_a_frame():
    torch.manual_seed(0)
    x, y, peaks, nets = torch.randn(2, 8, 64).double(), torch.tensor([0, 3]), [], []
    net = VideoVGG(FRAME, 4, WIDTHS, POOLS).double()
    for step in (partial(backpropagation_step, per_tick=True), frame_by_frame):
        twin = copy.deepcopy(net)
        given = (x, None, y) if step is not frame_by_frame else (x, y)
        with Allocations([x, *twin.parameters(), *twin.buffers()]) as seen:
            step(twin, *given, SGD(twin.parameters()))
        peaks.append(seen.peak)
        nets.append(twin)
    assert peaks[1] < 0.3 * peaks[0]
    for one, other in zip(*(twin.state_dict().values() for twin in nets), strict=True):
        torch.testing.assert_close(one, other)  # weights after a step, and running statistics


def test_patches_become_channels_and_frames_become_channels():
    frames = torch.arange(2 * 4 * 16.0).reshape(1, 4, 2, 4, 4)
    space, both = to_depth(frames, 2), to_depth(frames, 2, 2)
    assert space.shape == (1, 4, 8, 2, 2) and both.shape == (1, 2, 16, 2, 2)
    assert space[0, 1, :, 0, 1].tolist() == frames[0, 1, :, :2, 2:].flatten().tolist()
    assert torch.equal(both[0, 1, :8], space[0, 2]) and torch.equal(both[0, 1, 8:], space[0, 3])
    assert i3d(FRAME, 4, 2, time=2)(torch.randn(2, 6, 64)).shape == (2, 3, 4)


def test_gpipe_in_processes_is_gpipe_in_one_to_the_bit():
    """Micro-batches of two frames: three processes against one, with momentum and batch norm's statistics."""
    micro = 3
    torch.manual_seed(0)
    here = VideoVGG((1, 8, 8), 4, [3, 4, 5], (2,))
    there, y = copy.deepcopy(here), torch.tensor([0, 3, 1])
    optimiser = SGD(here.parameters())
    with GPipeProcesses(there, batch=3, steps=6, optimiser=SGD, micro=micro) as processes:
        for _ in range(2):
            x = torch.randn(3, 6, 64)
            assert processes.step(x, y) == gpipe_step(here, x, y, optimiser, micro)
    for (name, one), other in zip(here.state_dict().items(), there.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(("micro", "per_tick"), [(6, True), (1, False)])
def test_gpipe_follows_the_gradient_of_backpropagation(micro, per_tick):
    """Of one frame a micro-batch: normalised per tick; of all frames in one: over the clip."""
    torch.manual_seed(0)
    net = VideoVGG((1, 8, 8), 4, [3, 4, 5], (2,)).double()
    x, y = torch.randn(3, 6, 64, dtype=torch.float64), torch.tensor([0, 3, 1])
    clip_loss(net, x, None, y, per_tick).backward()
    exact = [p.grad.clone() for p in net.parameters()]
    gpipe_step(net, x, y, torch.optim.SGD(net.parameters(), lr=0.0), micro)
    for p, gradient in zip(net.parameters(), exact, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-9, atol=1e-12)
    with pytest.raises(InputError, match="6 frames do not divide into 4 micro-batches"):
        gpipe_step(net, x, y, torch.optim.SGD(net.parameters(), lr=0.0), 4)
    with pytest.raises(InputError, match="without shortcuts"):
        gpipe_step(VideoVGG((1, 8, 8), 4, [3, 4, 5], (), "sum", 2), x, y, None, 1)


def test_the_schedules_are_those_of_figure_1():
    """Three devices: GPipe takes four frames in twelve steps, a third of which is the bubble; Sideways in those twelve
    steps eight frames and all that follows from them."""
    gpipe = gpipe_schedule(3, 4)
    assert [gpipe.get((2, step), "") for step in range(12)] == [
        "", "F1", "F2", "F3", "F4", "", "", "B4", "B3", "B2", "B1", ""
    ]  # fmt: skip
    assert gpipe[1, 0] == "F1" and gpipe[1, 11] == "B1" and len(gpipe) == 24
    for devices, micro in ((3, 4), (8, 32), (1, 5)):
        assert bubble(gpipe_schedule(devices, micro)) == pytest.approx((devices - 1) / (micro + devices - 1))
    ours = sideways_schedule(3, 8)
    assert max(step for _, step in ours) == 11
    assert [ours.get((1, step)) for step in range(6)] == ["F1", "F2", "F3", "F4", "B1,5", "B2,6"]
    assert [ours.get((3, step)) for step in (1, 2, 9)] == [None, "B1", "B8"]
    assert bubble(ours) < bubble(gpipe)


def test_the_benchmark_runs_from_end_to_end(tmp_path, capsys):
    main(["--frames", "2", "--size", "16", "--width", "1", "--batch", "2", "--repeats", "1", "--asleep", "2", "--nap",
          "0", "--micro", "2", "--folder", str(tmp_path)])  # fmt: skip
    rows = {row["row"]: row for row in read_csv(tmp_path / "competitors.csv")}
    assert len(rows) == 13 + 2 + 3 == len(capsys.readouterr().out.splitlines()) - 1
    assert all(float(row["steps_a_second"]) > 0 and int(row["peak_bytes"]) > 0 for row in rows.values())
    assert {row["devices"] for row in rows.values()} == {"1", "2"}
    assert "GPipe, 2 micro-batches, 2 asleep" in rows
    assert "of the steps idle" in (tmp_path / "schedules.svg").read_text()
