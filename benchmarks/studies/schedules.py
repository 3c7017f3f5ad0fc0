"""Which device works on what in which step: GPipe and Sideways side by side (supplementary, Figure 1).

A schedule maps (device, step), devices from 1 and steps from 0, to a label as the figure has it: F is a forward, B a
backward computation. A step of Sideways is both at once, as the paper draws it: its B makes activations and gradients.
"""

from __future__ import annotations

from squeezebench.nn.sideways.timetable import Timetable

Schedule = dict[tuple[int, int], str]


def gpipe_schedule(devices: int, micro: int) -> Schedule:
    """All micro-batches go up, then come down in the opposite order: 2 (micro + devices - 1) steps."""
    forward = {(k, k - 1 + t - 1): f"F{t}" for k in range(1, devices + 1) for t in range(1, micro + 1)}
    half = micro + devices - 1
    backward = {
        (k, half + devices - k + micro - t): f"B{t}" for k in range(1, devices + 1) for t in range(1, micro + 1)
    }
    return forward | backward


def sideways_schedule(devices: int, frames: int, flush: str = "hold") -> Schedule:
    """Every device in every step, once the first frame has reached it; from its first gradient on it computes B with
    the loss's frame and the frame of its Jacobian."""
    table, schedule = Timetable(devices, frames, flush), {}
    for k in range(1, devices + 1):
        for tick in table.working(k):
            sees = min(tick - (k - 1), frames - 1) + 1
            loss = tick - (2 * devices - k - 1) + 1
            learns = bool(table.senders(k, tick)) or (k == devices and table.loss_frame(tick) is not None)
            schedule[k, tick] = f"B{loss},{sees}" if learns and k < devices else f"B{sees}" if learns else f"F{sees}"
    return schedule


def bubble(schedule: Schedule) -> float:
    """The part of the devices' steps, from the first to the last of all, in which they wait."""
    devices = {device for device, _ in schedule}
    steps = max(step for _, step in schedule) + 1
    return 1 - len(schedule) / (len(devices) * steps)
