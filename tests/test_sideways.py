"""Sideways: the update equations against back-propagation and against their definition, memory, timetable."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn import functional

from benchmarks.studies.sideways_stability import montage
from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.memory import Allocations
from squeezebench.nn.registry import module_from_spec
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.rule import sideways_gradients
from squeezebench.nn.sideways.timetable import Timetable
from squeezebench.nn.sideways.together import gradients_together
from squeezebench.nn.sideways.training import backpropagation_step, clip_loss, sideways_step
from squeezebench.nn.sideways.vgg import VideoVGG

EXACT = {"rtol": 1e-9, "atol": 1e-11}
KINDS = ["none", "sum", "concat"]


@pytest.fixture(autouse=True)
def float64():
    """The identities hold to rounding; single precision would hide small mistakes."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


class Mix(nn.Module):
    """A smooth unit without batch statistics: (B, n), or two of them, -> (B, m)."""

    def __init__(self, inputs: int, outputs: int, shortcut: int = 0, last: bool = False):
        super().__init__()
        self.linear, self.last = nn.Linear(inputs, outputs), last
        self.side = nn.Linear(shortcut, outputs, bias=False) if shortcut else None

    def forward(self, h, shortcut=None):
        h = self.linear(h)
        if shortcut is not None:
            h = h + self.side(shortcut)
        return h if self.last else torch.tanh(h)


def mixed(depth: int, span: int | None = None, flush="hold") -> SidewaysNet:
    """`depth` Mix units on frames of 5 numbers, 3 classes."""
    widths = [*[5, 6, 4, 7, 5, 6][:depth], 3]
    table = Timetable(depth, depth, flush, span)
    units = []
    for number in range(1, depth + 1):
        direct, *others = table.sources(number)
        units.append(Mix(widths[direct], widths[number], widths[others[0]] if others else 0, number == depth))
    return SidewaysNet(units, (5,), span, flush)


def gradients(net: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad(set_to_none=True)
    return found


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], msg=lambda text, name=name: f"{name}: {text}", **EXACT)


def still(batch: int, steps: int, inputs: int) -> torch.Tensor:
    return torch.randn(batch, 1, inputs).expand(batch, steps, inputs)


# --- where the pseudo-gradient is the gradient


@pytest.mark.parametrize("shortcut", KINDS)
@pytest.mark.parametrize("span", [2, 3])
@pytest.mark.parametrize(("flush", "steps"), [("hold", 1), ("hold", 5), ("drop", 11), ("drop", 14)])
def test_a_still_video_gives_the_gradient_of_backpropagation(shortcut, span, flush, steps):
    """Batch norm included: each tick sees the same batch. Back-propagation is through the net with its shortcuts."""
    net = VideoVGG((1, 8, 8), 4, [3, 4, 5, 4, 3, 6], (2, 4), shortcut, span, flush)
    x, y = still(5, steps, 64), torch.arange(5) % 4
    expected = clip_loss(net, x, None, y)
    expected.backward()
    exact = gradients(net)
    loss = sideways_gradients(net, x, y)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert len(exact) == len(list(net.parameters()))
    assert_same(gradients(net), exact)


@pytest.mark.parametrize("shortcut", KINDS)
def test_normalised_per_tick_backpropagation_differs_in_the_gap_alone(shortcut):
    """With one unit there is no gap: the rule is it on any video, batch norm included, and plain back-propagation is
    not. In evaluation all are one function."""
    x, y, length = torch.randn(5, 6, 64), torch.arange(5) % 4, torch.tensor([6, 2, 6, 5, 1])
    net = VideoVGG((1, 8, 8), 4, [3])
    found = {}
    for name, call in {"tick": lambda: clip_loss(net, x, length, y, True).backward(),
                       "clip": lambda: clip_loss(net, x, length, y).backward(),
                       "rule": lambda: sideways_gradients(net, x, y, length)}.items():  # fmt: skip
        call()
        found[name] = gradients(net)
    assert_same(found["rule"], found["tick"])
    assert not torch.allclose(found["clip"]["units.0.convolution.weight"], found["tick"]["units.0.convolution.weight"])
    deep = VideoVGG((1, 8, 8), 4, [3, 4, 5, 4, 3], (2,), shortcut)
    logits = deep.frame_logits(x, length, per_tick=True)
    assert {int(unit.norm.num_batches_tracked) for unit in deep.units} == {6}  # once a tick
    assert logits.shape == (5, 6, 4) and not torch.allclose(logits, deep.frame_logits(x, length))
    torch.testing.assert_close(deep.eval().frame_logits(x, length, per_tick=True), deep.frame_logits(x, length))


@pytest.mark.parametrize("flush", ["hold", "drop"])
def test_one_module_follows_the_gradient_on_any_video(flush):
    net = mixed(1, flush=flush)
    x, y, length = torch.randn(4, 7, 5), torch.tensor([0, 2, 1, 1]), torch.tensor([7, 3, 1, 5])
    for lengths in (None, length):
        clip_loss(net, x, lengths, y).backward()
        exact = gradients(net)
        sideways_gradients(net, x, y, lengths)
        assert_same(gradients(net), exact)


def test_the_top_module_follows_the_gradient_on_any_video_and_the_others_do_not():
    net = mixed(4)
    x, y = torch.randn(4, 9, 5), torch.tensor([0, 2, 1, 1])
    clip_loss(net, x, None, y).backward()
    exact = gradients(net)
    sideways_gradients(net, x, y)
    ours = gradients(net)
    for name, gradient in exact.items():
        assert torch.allclose(ours[name], gradient, rtol=1e-9) == name.startswith("units.3"), name


def test_a_smoother_video_gives_a_nearer_gradient():
    net, y = mixed(4), torch.tensor([0, 2, 1, 1])
    start, drift, errors = torch.randn(4, 1, 5), torch.randn(4, 1, 5), []
    for speed in (0.1, 0.01, 0.001):
        x = start + speed * torch.arange(9.0)[:, None] * drift
        clip_loss(net, x, None, y).backward()
        exact = gradients(net)
        sideways_gradients(net, x, y)
        errors.append(max((exact[name] - ours).abs().max().item() for name, ours in gradients(net).items()))
    assert errors[0] > 5 * errors[1] > 25 * errors[2] > 0  # about in proportion to the speed


# --- the definition, by explicit Jacobians


def by_definition(net: SidewaysNet, x: torch.Tensor, y: torch.Tensor, ticks: int) -> dict[str, torch.Tensor]:
    """Sums over all ticks of g_l . dH_l/dtheta, from full Jacobians, tick by tick; g starts as none anywhere.

    Follows the equations, not the code: a frame's activation and a gradient move by one module in each tick, the top's
    gradient is of the frame that leaves it, each frame has one loss, and the last frame stays when the clip has ended.
    """
    batch, steps, depth = len(x), x.shape[1], net.depth
    units = dict(enumerate(net.units, 1))
    reads = {n: [n - 1] + ([n - net.span] if net.span and n - net.span >= 1 else []) for n in units}
    sums = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    h: dict[int, torch.Tensor] = {}
    g: dict[int, torch.Tensor] = {}
    for tick in range(ticks):
        h[0] = x[:, min(tick, steps - 1)]
        new_h, new_g = {}, {}
        for n, unit in units.items():
            if any(source not in h for source in reads[n]):
                continue
            inputs, parameters = tuple(h[s].detach() for s in reads[n]), dict(unit.named_parameters())

            def call(parameters, *inputs, unit=unit):
                return functional_call(unit, parameters, inputs)

            new_h[n] = call(parameters, *inputs).detach()
            upstream = g.get(n)
            if n == depth:
                frame = tick - (depth - 1)
                scores = new_h[n].softmax(-1) - functional.one_hot(y, new_h[n].shape[1])
                upstream = scores / (batch * steps) if 0 <= frame < steps else None
            if upstream is None:
                continue
            jacobians = jacrev(call, argnums=tuple(range(len(inputs) + 1)))(parameters, *inputs)
            for name, jacobian in jacobians[0].items():
                sums[f"units.{n - 1}.{name}"] += torch.einsum("bm,bm...->...", upstream, jacobian)
            for source, jacobian in zip(reads[n], jacobians[1:], strict=True):
                if source:
                    new_g[source] = new_g.get(source, 0) + torch.einsum("bm,bmcn->cn", upstream, jacobian)
        h, g = new_h, new_g
    return sums


@pytest.mark.parametrize(("depth", "span"), [(2, None), (4, None), (4, 2), (5, 3), (6, 3)])
@pytest.mark.parametrize("steps", [1, 3, 8])
def test_the_update_is_what_the_equations_say(depth, span, steps):
    net = mixed(depth, span)
    x, y = torch.randn(3, steps, 5), torch.tensor([0, 2, 1])
    sideways_gradients(net, x, y)
    ours = gradients(net)
    assert_same(ours, by_definition(net, x, y, ticks=steps + 3 * depth))


def test_pseudo_gradients_without_flush_average_what_has_arrived():
    """Depth 2, three frames: the top learns from frames 0 and 1, the bottom from the loss of frame 0 at frame 2."""
    net = mixed(2, flush="drop")
    bottom, top = net.units
    x, y = torch.randn(4, 3, 5), torch.tensor([0, 2, 1, 1])
    sideways_gradients(net, x, y)
    ours = gradients(net)
    for frame in (0, 1):
        (functional.cross_entropy(top(bottom(x[:, frame]).detach()), y) / 2).backward()
    hidden = bottom(x[:, 0]).detach().requires_grad_()
    (down,) = torch.autograd.grad(functional.cross_entropy(top(hidden), y), hidden)
    bottom(x[:, 2]).backward(down)
    assert_same(ours, gradients(net))


def test_a_clip_too_short_to_reach_the_bottom_leaves_it_alone():
    net = mixed(3, flush="drop")  # T = 3 < 2 D - 1 = 5
    sideways_gradients(net, torch.randn(2, 3, 5), torch.tensor([0, 1]))
    assert {name.split(".")[1] for name in gradients(net)} == {"2"}


# --- the timetable


def test_gradients_meet_activations_that_are_newer_by_an_even_number_of_frames():
    table = Timetable(4, 10)
    for module in range(1, 5):
        learning = [t for t in table.working(module) if module == 4 or table.senders(module, t)]
        assert len(learning) == 10  # every loss arrives once
        for loss, tick in enumerate(learning):
            sees = tick - (module - 1)
            assert sees - loss == 2 * (4 - module)


@pytest.mark.parametrize(("span", "split_mask_parameters"), [(None, True), (3, True), (5, True), (2, False)])
def test_two_interleaved_clips_do_not_mix(span, split_mask_parameters):
    """The paper's remark, with odd spans: the gradient of one clip's losses does not change with the other clip."""
    net = mixed(6, span)
    a, b, other = torch.randn(3, 2, 6, 5)
    y = torch.tensor([0, 2])
    found = []
    for second in (b, other):
        video, _ = montage(torch.cat([a, second]), torch.zeros(4, dtype=torch.int64), 1)
        video = torch.stack([video[:2], video[2:]], 2).flatten(1, 2)
        logits = net.frame_logits(video)[:, 0::2]  # of the first clip's frames, but for those that read the held end
        found.append(logits[:, :3].detach())
        ours = loss_of_even_frames(net, video, y)
        found.append(torch.cat([p.flatten() for p in ours.values()]))
    same = [torch.allclose(x, y, rtol=1e-12) for x, y in zip(found[:2], found[2:], strict=True)]
    assert same == [split_mask_parameters, split_mask_parameters]


def loss_of_even_frames(net, video, y):
    """Pseudo-gradients of the losses of frames 0, 2, 4 only; the clip ends long after their last gradient arrives."""
    padded = torch.cat([video] * 3, 1)
    from squeezebench.nn.sideways import rule

    weights = torch.zeros(len(video), padded.shape[1])
    weights[:, [0, 2, 4]] = 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, "frame_weights", lambda *_: weights)
        sideways_gradients(net, padded, y)
    return gradients(net)


def test_lengths_hold_the_last_valid_frame_and_count_only_valid_ones():
    net = mixed(4, 3)
    x, y = torch.randn(3, 6, 5), torch.tensor([0, 2, 1])
    length = torch.tensor([6, 2, 4])
    held = x.clone()
    held[1, 2:], held[2, 4:] = x[1, 1], x[2, 3]
    spoilt = torch.where(torch.arange(6)[:, None] < length[:, None, None], x, torch.nan)
    sideways_gradients(net, spoilt, y, length)
    ours = gradients(net)
    torch.testing.assert_close(net(spoilt, length), net(held, length))
    torch.testing.assert_close(net(x[1:2, :2]), net(spoilt, length)[1:2], **EXACT)
    each = []
    for row, valid in enumerate(length):
        sideways_gradients(net, x[row : row + 1, :valid], y[row : row + 1])
        each.append(gradients(net))
    assert_same(ours, {name: sum(part[name] for part in each) / 3 for name in ours})


def test_frames_may_have_labels_of_their_own():
    net = mixed(1)
    x, y = torch.randn(4, 3, 5), torch.tensor([0, 2, 1, 1])
    videos, labels = montage(x, y, 2)
    torch.testing.assert_close(videos[3], torch.cat([x[3], x[0]]))
    assert labels[3].tolist() == [1] * 3 + [0] * 3
    mixed_videos, mixed_labels = montage(x, y, 2, interleaved=True)
    torch.testing.assert_close(mixed_videos[3, 1::2], x[0])
    assert mixed_labels[0].tolist() == [0, 2] * 3
    sideways_gradients(net, videos, labels)
    ours = gradients(net)
    functional.cross_entropy(net.units[0](videos.flatten(0, 1)), labels.flatten()).backward()
    assert_same(ours, gradients(net))


def test_what_can_never_work_is_refused_in_one_line():
    with pytest.raises(InputError, match="never leaves the top of 4 modules"):
        sideways_gradients(mixed(4, flush="drop"), torch.randn(2, 3, 5), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="spans 2 modules at least"):
        mixed(3, span=1)
    with pytest.raises(InputError, match="montage of 3 clips from a batch of 2"):
        montage(torch.randn(2, 3, 5), torch.tensor([0, 1]), 3)
    with pytest.raises(InputError, match="too small"):
        VideoVGG((1, 8, 8), 4, [3] * 4, (1, 2, 3, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("span", "flush", "steps"), [(2, "hold", 1), (3, "hold", 7), (2, "drop", 9), (3, "drop", 16)])
def test_all_ticks_at_once_are_the_ticks_one_by_one(kind, span, flush, steps):
    """Loss, pseudo-gradients and running statistics; clips of several lengths, labels of each frame as well."""
    net = VideoVGG((1, 8, 8), 4, [3, 4, 5, 4, 3, 6], (2, 4), kind, span, flush)
    state = copy.deepcopy(net.state_dict())
    x, length = torch.randn(5, steps, 64), torch.randint(1, steps + 1, (5,))
    for labels, lengths in ((torch.arange(5) % 4, length), (torch.randint(4, (5, steps)), None)):
        found = []
        for rule in (sideways_gradients, gradients_together):
            net.load_state_dict(state)
            found.append((rule(net, x, labels, lengths), gradients(net), dict(net.named_buffers())))
            found[-1] = copy.deepcopy(found[-1])
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
        assert_same(found[0][1], found[1][1])
        assert_same(found[0][2], found[1][2])


def test_ticks_at_once_may_train_in_bfloat16():
    net = VideoVGG((1, 8, 8), 4, [3, 4, 5], (2,)).float()
    x, y = torch.randn(5, 6, 64, dtype=torch.float32), torch.arange(5) % 4
    with torch.autocast("cpu", torch.bfloat16):
        loss = gradients_together(net, x, y)
    assert loss == pytest.approx(gradients_together(net, x, y), rel=0.05)
    assert net.units[0].norm.running_var.dtype == torch.float32


def test_a_batch_norm_that_mixes_ticks_is_refused():
    net = SidewaysNet([nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())], (1, 3, 3))
    with pytest.raises(InputError, match="use TickNorm"):
        gradients_together(net, torch.randn(2, 3, 9), torch.tensor([0, 1]))


# --- batch norm, evaluation, memory


def test_running_statistics_move_once_a_tick():
    net = VideoVGG((1, 8, 8), 4, [3, 4, 5, 4])
    sideways_gradients(net, torch.randn(5, 6, 64), torch.arange(5) % 4)
    table = net.timetable(6)
    for number, unit in enumerate(net.units, 1):
        assert unit.norm.num_batches_tracked == len(table.working(number)) >= 6


@pytest.mark.parametrize("flush", ["hold", "drop"])
@pytest.mark.parametrize("shortcut", KINDS)
def test_the_module_that_is_scored_computes_what_leaves_the_pipeline(shortcut, flush, monkeypatch):
    from squeezebench.nn.sideways.rule import Worker

    net = VideoVGG((2, 8, 8), 4, [3, 4, 5, 4, 3], (3,), shortcut, flush=flush).eval()
    x, left = torch.randn(2, 7, 128), []
    tick = Worker.tick

    def watched(self, inputs, learns, gradient=None, target=None):
        answer = tick(self, inputs, learns, gradient, target)
        if target is not None:
            left.append(answer[0])
        return answer

    monkeypatch.setattr(Worker, "tick", watched)
    sideways_gradients(net, x, torch.tensor([0, 3]))
    torch.testing.assert_close(torch.stack(left, 1), net.frame_logits(x), **EXACT)
    torch.testing.assert_close(torch.stack(left, 1).mean(1), net(x), **EXACT)
    again = module_from_spec(net.spec())
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(x), net(x))


def peak_bytes(step, net, frames: int) -> int:
    x, y = torch.randn(4, frames, 256), torch.arange(4) % 4
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    with Allocations([x, *net.parameters(), *net.buffers()]) as seen:
        step(net, x, None, y, optimiser)
    return seen.peak


def saved_bytes(step, net, frames: int) -> int:
    """The most that autograd keeps at one time for a backward pass."""
    x, y = torch.randn(4, frames, 256), torch.arange(4) % 4
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    now = peak = 0

    class Kept:
        def __init__(self, tensor):
            nonlocal now, peak
            self.tensor = tensor
            now += tensor.nbytes
            peak = max(peak, now)

        def __del__(self):
            nonlocal now
            now -= self.tensor.nbytes

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        step(net, x, None, y, optimiser)
    assert now == 0
    return peak


@pytest.mark.parametrize("measure", [peak_bytes, saved_bytes])
@pytest.mark.parametrize("shortcut", KINDS)
def test_memory_does_not_grow_with_the_frames(measure, shortcut):
    net = VideoVGG((1, 16, 16), 4, [4, 4, 8, 8, 8], (3,), shortcut)
    ours = [measure(sideways_step, net, frames) for frames in (4, 8, 32)]
    theirs = [measure(backpropagation_step, net, frames) for frames in (4, 8, 32)]
    assert ours[2] <= 1.01 * ours[0]  # weights of the frames' losses: a few bytes a frame
    assert theirs[1] > 1.8 * theirs[0] and theirs[2] > 7 * theirs[0]
    assert ours[0] < theirs[0]
