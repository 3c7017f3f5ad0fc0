"""What preparing a video data set costs: decoding, TV-L1 flow, and the backbone, by clip; for estimates only.

The constants were measured on one core of a server CPU (2020s, AVX2) with the kinds of clips that the data sets hold
(320 x 240, 40 to 170 frames); the arithmetic is torchvision's (`_ops` of its weights), counted for the Lite networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from squeezebench.data.dataset import Expected
from squeezebench.data.video.options import BACKBONES, flow_size, frame_size

if TYPE_CHECKING:
    from squeezebench.pipeline.cost.throughput import Throughput

DECODE_SECONDS = 0.1  # a clip: its packets are counted, then its frames decoded
FLOW_SECONDS = 0.07 / 112**2  # a pixel of a pair of neighbouring frames
MACS = {  # a frame at the backbone's own size
    "inception_v3": 5.713e9, "efficientnet_b1": 0.687e9, "efficientnet_lite0": 0.384e9, "efficientnet_lite1": 0.599e9,
}  # fmt: skip
EFFICIENCY = {  # of the rate of large products; depthwise layers are slow
    "inception_v3": 0.5, "efficientnet_b1": 0.2, "efficientnet_lite0": 0.2, "efficientnet_lite1": 0.2,
}  # fmt: skip


@dataclass(frozen=True)
class Preparation:
    """Hours of `squeezebench data prepare`. With a GPU the decoding and the flow stay on the CPU."""

    clips: int
    decode_core_hours: float
    flow_core_hours: float
    backbone_core_hours: float
    backbone_gpu_hours: float

    @property
    def cpu_core_hours(self) -> float:
        """All of it on CPU cores."""
        return self.decode_core_hours + self.flow_core_hours + self.backbone_core_hours


def preparation(options: Any, sizes: Expected, cpu: Throughput, gpu: Throughput) -> Preparation | None:
    """The cost of a task whose data are prepared before the runs; None if its sizes are unknown."""
    if sizes.sequences is None:
        return None
    clips, frames = sizes.sequences, options.frames
    flow = frames * prod(flow_size(options)) * FLOW_SECONDS if options.stream in ("flow", "both") else 0.0
    backbone = dict.fromkeys(("cpu", "gpu"), 0.0)
    if options.features in MACS:
        height, width = frame_size(options)
        area = height * width / BACKBONES[options.features].size ** 2
        passes = frames * (2 if options.stream == "both" else 1) * (2 if options.flip else 1)
        work = 2 * MACS[options.features] * area * passes / EFFICIENCY[options.features]
        backbone = {"cpu": work / cpu.wide, "gpu": work / gpu.wide}
    hours = clips / 3600
    return Preparation(clips, DECODE_SECONDS * hours, flow * hours, backbone["cpu"] * hours, backbone["gpu"] * hours)
