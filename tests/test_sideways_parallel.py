"""One process for each module gives what one process gives, and says so when a module fails."""

from __future__ import annotations

import copy
import os
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.studies.pipeline_processes import PipelineProcesses
from squeezebench.base.errors import InputError
from squeezebench.nn.registry import module_from_spec
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.training import sideways_step
from squeezebench.nn.sideways.vgg import VideoVGG

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


class Dies(nn.Module):
    """Raises, or ends its process, where the frames hold a number above 100."""

    def __init__(self, suddenly: bool):
        super().__init__()
        self.linear, self.suddenly = nn.Linear(4, 4), suddenly

    def forward(self, h):
        if h.max() > 100:
            if self.suddenly:
                os._exit(1)
            raise ArithmeticError("a number above 100")
        return self.linear(h)


@pytest.mark.parametrize(
    ("shortcut", "span", "flush"), [("concat", 2, "hold"), pytest.param("none", 2, "drop", marks=pytest.mark.long)]
)
def test_processes_train_to_the_same_bits(shortcut, span, flush):
    """Three clips' updates with momentum, batch norm's statistics, lengths: three processes against one."""
    torch.manual_seed(0)
    here = VideoVGG((1, 8, 8), 4, [3, 4, 5], (2,), shortcut, span, flush)
    there = copy.deepcopy(here)
    optimiser, y = SGD(here.parameters()), torch.tensor([0, 3, 1])
    with PipelineProcesses(there, batch=3, steps=6, optimiser=SGD) as processes:
        for length in (None, torch.tensor([6, 2, 4]), None):
            x = torch.randn(3, 6, 64)
            assert processes.step(x, y, length) == sideways_step(here, x, length, y, optimiser)
    before = module_from_spec(here.spec()).state_dict()
    for name, value in here.state_dict().items():
        assert torch.equal(value, there.state_dict()[name]), name
        assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize(("suddenly", "says"), [(False, "ArithmeticError: a number above 100"), (True, "ended")])
def test_a_module_that_fails_ends_the_pipeline_with_its_reason(suddenly, says):
    net = SidewaysNet([Dies(suddenly), nn.Linear(4, 2)], (4,))
    processes = PipelineProcesses(net, batch=2, steps=3, optimiser=SGD)
    try:
        assert processes.step(torch.randn(2, 3, 4), torch.tensor([0, 1])) > 0
        with pytest.raises(InputError, match="both must be the same"):
            processes.step(torch.randn(2, 5, 4), torch.tensor([0, 1]))
        with pytest.raises(RuntimeError, match=f"module 1 of the pipeline failed: .*{says}"):
            processes.step(torch.full((2, 3, 4), 1e3), torch.tensor([0, 1]))
        assert not any(process.is_alive() for process in processes.processes)
    finally:
        processes.close()
