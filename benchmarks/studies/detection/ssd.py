"""SSD (Liu et al., ECCV 2016) on a ResNet, dense or compact; loss, matching and default boxes are torchvision's.

Between the backbone and SSD's own layers are those of Table 2 of ITPCC's supplement: a maximum pooling and two
convolutions. What the supplement leaves open follows from the original head, which reads maps of 38, 19, 10, 5, 3, 1
(SSD300) and 64, 32, 16, 8, 4, 2, 1 (SSD512). At 300 pixels ResNet-50 gives 38 x 38 after its second stage and 19 x 19
after its third, and the added layers keep the 10 x 10 of its fourth. At 512 their padding lets the 16 x 16 of the
fourth stage grow to 24 and 32. The heads read these maps, and the usual layers with stride 2 make the smaller ones.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.studies.detection.boxes import suppressed
from squeezebench.data.video.backbones import torchvision
from squeezebench.nn.cnn.resnet import ResNet

torchvision()  # makes torchvision importable without its compiled part
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator  # noqa: E402
from torchvision.models.detection.ssd import SSD, SSDHead  # noqa: E402

CANDIDATES, DETECTIONS, SCORE, OVERLAP = 400, 200, 0.01, 0.45  # as published


@dataclass(frozen=True)
class Added:
    """A convolution with ReLU above the backbone: channels, kernel, padding, dilation (the order of Table 2)."""

    channels: int
    kernel: int
    padding: int
    dilation: int


@dataclass(frozen=True)
class Extra:
    """One of SSD's layers: a 1x1 convolution to `inner` channels, then one with stride, each with ReLU."""

    inner: int
    channels: int
    kernel: int = 3
    stride: int = 2
    padding: int = 1


@dataclass(frozen=True)
class Form:
    """A detector for images of size x size pixels.

    stages: of the backbone (from 0) whose maps the heads read.  ratios, scales: of the default boxes of each map, one
    scale more than maps.  steps: pixels between two boxes; None: the image divided by the map.
    """

    size: int
    stages: tuple[int, ...]
    added: tuple[Added, ...]
    extras: tuple[Extra, ...]
    ratios: tuple[tuple[int, ...], ...]
    scales: tuple[float, ...]
    steps: tuple[int, ...] | None = None


FOUR, SIX = (2,), (2, 3)  # default boxes of a place, by the aspect ratios that join 1
LAST = Extra(128, 256, stride=1, padding=0)
SSD300 = Form(
    300, (1, 2), (Added(1024, 3, 6, 6), Added(1024, 1, 0, 1)), (Extra(256, 512), Extra(128, 256), LAST),
    (FOUR, SIX, SIX, SIX, FOUR, FOUR), (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05), (8, 16, 32, 64, 100, 300),
)  # fmt: skip
SSD512 = Form(
    512, (1,), (Added(1024, 3, 6, 2), Added(1024, 3, 6, 2)),
    (Extra(256, 512), Extra(128, 256), Extra(128, 256), Extra(128, 256), Extra(128, 256, 4, 1, 1)),
    (FOUR, SIX, SIX, SIX, SIX, FOUR, FOUR), (0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06),
    (8, 16, 32, 64, 128, 256, 512),
)  # fmt: skip


class Pyramid(nn.Module):
    """(N, C, H, W) -> the maps that the heads read, from the largest to the smallest."""

    def __init__(self, backbone: ResNet, form: Form):
        super().__init__()
        self.backbone, self.stages = backbone, form.stages
        width = backbone.stream_width(backbone.stages)
        self.widths = [backbone.stream_width(stage + 1) for stage in form.stages]
        layers: list[nn.Module] = [nn.MaxPool2d(3, 1, 1)] if form.added else []
        for shape in form.added:
            layers += [nn.Conv2d(width, shape.channels, shape.kernel, 1, shape.padding, shape.dilation), nn.ReLU()]
            width = shape.channels
        self.added = nn.Sequential(*layers)
        if form.added:
            self.widths.append(width)
        self.extras = nn.ModuleList()
        for shape in form.extras:
            inner = nn.Conv2d(width, shape.inner, 1)
            outer = nn.Conv2d(shape.inner, shape.channels, shape.kernel, shape.stride, shape.padding)
            self.extras.append(nn.Sequential(inner, nn.ReLU(), outer, nn.ReLU()))
            width = shape.channels
            self.widths.append(width)
        for module in (self.added, self.extras):
            module.apply(_xavier)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.backbone.features(x)
        read = [maps[stage] for stage in self.stages]
        x = self.added(maps[-1])
        read += [x] if len(self.added) else []
        for layer in self.extras:
            x = layer(x)
            read.append(x)
        return OrderedDict((str(number), value) for number, value in enumerate(read))


class Detector(SSD):
    """torchvision's SSD with this suppression. Images are lists of (3, H, W) in 0..1.

    In training it gives the losses of SSD: localisation (smooth L1) and confidence with three hard negatives for each
    positive, divided by the number of positives; in evaluation the boxes, scores and labels (from 1) of each image.
    """

    def __init__(self, backbone: ResNet, form: Form, classes: int):
        """classes: without the background."""
        pyramid = Pyramid(backbone, form)
        boxes = DefaultBoxGenerator(
            [list(r) for r in form.ratios], scales=list(form.scales), steps=form.steps and list(form.steps)
        )
        if len(pyramid.widths) != len(form.ratios):
            raise ValueError(f"{len(pyramid.widths)} maps are read, and there are {len(form.ratios)} lists of ratios")
        head = SSDHead(pyramid.widths, boxes.num_anchors_per_location(), classes + 1)
        super().__init__(pyramid, boxes, (form.size, form.size), classes + 1, head=head)

    def postprocess_detections(
        self, head_outputs: dict[str, Tensor], image_anchors: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        chances, results = F.softmax(head_outputs["cls_logits"], -1), []
        for offsets, chance, anchors, shape in zip(
            head_outputs["bbox_regression"], chances, image_anchors, image_shapes, strict=True
        ):
            boxes = self.box_coder.decode_single(offsets, anchors)
            limit = boxes.new_tensor([shape[1], shape[0]] * 2)
            boxes = torch.minimum(boxes.clamp(min=0), limit)
            scores, labels, places = [], [], []
            for label in range(1, chance.shape[1]):
                best, place = chance[:, label].topk(min(CANDIDATES, len(boxes)))
                above = best > SCORE
                scores.append(best[above])
                places.append(place[above])
                labels.append(torch.full_like(place[above], label))
            score, label, place = torch.cat(scores), torch.cat(labels), torch.cat(places)
            stays = _by_class(boxes[place], score, label)
            results.append({"boxes": boxes[place][stays], "scores": score[stays], "labels": label[stays]})
        return results


def _by_class(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Indices of what stays, best first: each class by itself, so that no table of all pairs is made."""
    kept = []
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        kept.append(own[suppressed(boxes[own], scores[own], labels[own], OVERLAP, DETECTIONS)])
    every = torch.cat(kept) if kept else torch.zeros(0, dtype=torch.long)
    return every[scores[every].argsort(descending=True, stable=True)[:DETECTIONS]]


def form_of(settings: dict[str, Any]) -> Form:
    """A form from a configuration: the keys of `Form`, with lists for its parts."""
    parts = {"added": Added, "extras": Extra}
    given = {key: tuple(kind(*values) for values in settings.get(key, ())) for key, kind in parts.items()}
    return Form(**{key: _tuples(value) for key, value in settings.items()} | given)


@torch.no_grad()
def operations(detector: nn.Module, size: int, norm: int = 0) -> int:
    """Multiply-accumulates of an image of size x size pixels by all convolutions, on any device (meta too).

    norm: operations that are added for each number that a batch norm makes.
    """
    total = []

    def note(layer: nn.Module, _read: object, out: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            total.append(layer.weight.numel() * out.shape[2:].numel())
        else:
            total.append(norm * out.numel())

    with ExitStack() as hooks:
        for layer in (module for module in detector.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)):
            hooks.enter_context(layer.register_forward_hook(note))
        detector.eval()
        image = torch.zeros(1, 3, size, size, device=next(detector.parameters()).device)
        detector.head(list(detector.backbone(image).values()))
    return sum(total)


def _xavier(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
