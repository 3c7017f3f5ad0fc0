"""The detector of the transfer study: maps and operations, suppression, mAP by hand, a training end to end."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)
from benchmarks.studies.detection import ssd, study, voc  # noqa: E402
from benchmarks.studies.detection.boxes import overlap, suppressed  # noqa: E402
from benchmarks.studies.detection.differences import difference  # noqa: E402
from benchmarks.studies.detection.mean_ap import Found, Ranked, Truth, average_precision, mean_ap, ranked  # noqa: E402
from squeezebench.base.errors import InputError  # noqa: E402
from squeezebench.nn.cnn.frames import FrameNetwork  # noqa: E402
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50  # noqa: E402
from squeezebench.nn.pruning.compact import select_channels  # noqa: E402
from squeezebench.report.audit.sizes import ssd_resnet50  # noqa: E402


@pytest.mark.parametrize(
    ("form", "sides", "boxes"),
    [(ssd.SSD300, [38, 19, 10, 5, 3, 1], 8732), (ssd.SSD512, [64, 32, 16, 8, 4, 2, 1], 24564)],
)
def test_the_heads_read_the_maps_of_the_original_and_the_audit_counts_the_same_operations(form, sides, boxes):
    with torch.device("meta"):
        detector = ssd.Detector(resnet50(), form, 20).eval()
        maps = detector.backbone(torch.zeros(1, 3, form.size, form.size))
        shape = detector.head(list(maps.values()))["bbox_regression"].shape
    assert [value.shape[-1] for value in maps.values()] == sides and shape == (1, boxes, 4)
    for norm in (0, 4):
        assert ssd.operations(detector, form.size, norm) == ssd_resnet50(form.size, norm)
    grid = ssd.DefaultBoxGenerator([list(r) for r in form.ratios], scales=list(form.scales), steps=list(form.steps))
    assert len(grid._grid_default_boxes([[side, side] for side in sides], [form.size] * 2)) == boxes


def test_a_compact_backbone_keeps_its_detector_and_needs_fewer_operations():
    torch.manual_seed(0)
    dense = resnet50(10, width=4, counts=(1, 1, 1, 1))
    keep = {"layer2_0_conv1": torch.arange(4), "layer4_0_conv1": torch.arange(8)}
    small = select_channels(dense, keep, torch.zeros(1, 3, 64, 64))
    form = ssd.Form(64, (1, 2), (ssd.Added(8, 3, 6, 6), ssd.Added(8, 1, 0, 1)), (), ((2,),) * 3, (0.1, 0.3, 0.6, 0.9))
    full, compact = (ssd.Detector(one, form, 3) for one in (dense, small))
    assert ssd.operations(compact, 64) < ssd.operations(full, 64)
    found = compact.eval()([torch.rand(3, 64, 64)])[0]
    assert set(found) == {"boxes", "scores", "labels"} and (found["boxes"] >= 0).all() and (found["boxes"] <= 64).all()
    losses = compact.train()(
        [torch.rand(3, 64, 64)], [{"boxes": torch.tensor([[5.0, 5, 30, 40]]), "labels": torch.tensor([2])}]
    )
    assert set(losses) == {"bbox_regression", "classification"} and all(loss > 0 for loss in losses.values())


def test_overlap_and_suppression_of_a_known_case():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 5], [20, 20, 30, 30], [0, 0, 10, 10]])
    assert overlap(boxes[:1], boxes)[0].tolist() == pytest.approx([1, 90 / 110, 0.5, 0, 1])
    assert overlap(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0
    scores, labels = torch.tensor([0.8, 0.9, 0.7, 0.3, 0.6]), torch.tensor([1, 1, 1, 1, 2])
    # The second is best: it covers the first (0.82) and not the third (45 / 105), whose label is the same.
    assert suppressed(boxes, scores, labels, 0.45, 10).tolist() == [1, 2, 4, 3]
    assert suppressed(boxes, scores, labels, 0.40, 10).tolist() == [1, 4, 3]
    assert suppressed(boxes, scores, labels, 0.45, 2).tolist() == [1, 2]
    assert suppressed(boxes[:0], scores[:0], labels[:0], 0.45, 2).tolist() == []


def test_average_precision_of_a_curve_by_hand():
    """Four objects; detections right, wrong, right, right: precision 1, 1/2, 2/3, 3/4 at recall 1/4, 1/4, 1/2, 3/4."""
    recall, precision = np.array([0.25, 0.25, 0.5, 0.75]), np.array([1, 0.5, 2 / 3, 0.75])
    assert average_precision(recall, precision, False) == pytest.approx(0.25 * 1 + 0.5 * 0.75)
    assert average_precision(recall, precision, True) == pytest.approx((3 * 1 + 5 * 0.75) / 11)
    assert average_precision(np.zeros(0), np.zeros(0), True) == average_precision(np.zeros(0), np.zeros(0), False) == 0


def test_mean_average_precision_of_two_images_by_hand():
    square = torch.tensor([[0.0, 0, 10, 10]])
    truth = [Truth(torch.cat([square, square + 20]), torch.tensor([1, 2])), Truth(square, torch.tensor([1]))]
    found = [  # of class 1: right, a duplicate (wrong), and in the second image one that lies elsewhere (wrong)
        Found(torch.cat([square, square + 1, square + 20]), torch.tensor([0.9, 0.8, 0.4]), torch.tensor([1, 1, 2])),
        Found(square + 50, torch.tensor([0.7]), torch.tensor([1])),
    ]
    classes = [ranked(found, truth, label) for label in (1, 2, 3)]
    result = mean_ap(classes)
    assert result["per_class"] == [pytest.approx((6 / 11, 0.5)), pytest.approx((1.0, 1.0)), None]
    assert result["map_07"] == pytest.approx((6 / 11 + 1) / 2) and result["map_area"] == pytest.approx(0.75)
    # the second image twice: three objects of class 1; right, wrong twice, and the duplicate
    assert classes[0].precision(np.array([1, 2])) == pytest.approx((4 / 11, 1 / 3))
    assert mean_ap(classes, np.array([0, 1]))["per_class"] == [(0.0, 0.0), None, None]


@pytest.mark.parametrize(("seeds", "covers"), [(1, "images"), (3, "seeds and images")])
def test_the_interval_of_a_difference_covers_images_and_from_three_seeds_on_seeds(seeds, covers):
    """One object and one detection an image, right with probability p, in any order: the area is near p^2, and its
    standard error over n images near 2 p sqrt(p (1 - p) / n)."""
    generator = np.random.default_rng(0)
    every, ones = np.arange(500, dtype=np.int32), np.ones(500, dtype=np.int32)

    def scored(share: float) -> list[list[Ranked]]:
        return [[Ranked(every, generator.random(500) < share + 0.02 * seed, ones)] for seed in range(seeds)]

    better, worse = scored(0.8), scored(0.5)
    same = difference(better, better)
    assert (same.mean, same.half) == (0, 0)
    found = difference(better, worse, "map_area")
    assert found.covers == covers and 0.3 < found.mean < 0.5
    error = np.hypot(*(2 * p * np.sqrt(p * (1 - p) / 500) for p in (0.8, 0.5)))
    assert found.half == pytest.approx(1.96 * error, rel=0.2) if seeds == 1 else found.half > 2 * error


COLOURS = {"disc": (220, 40, 40), "bar": (40, 60, 220)}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Grey images with one red or blue rectangle each, in COCO's format; the first of `valid` is one of `train`."""
    folder, generator = tmp_path_factory.mktemp("voc"), np.random.default_rng(0)
    for part, count in (("train", 24), ("valid", 8)):
        (folder / part).mkdir()
        images, boxes = [], []
        for number in range(count):
            pixels = generator.integers(90, 140, (48, 60, 3), dtype=np.uint8)
            kind = number % 2
            x, y = generator.integers(2, 26, 2)
            pixels[y : y + 20, x : x + 26] = list(COLOURS.values())[kind]
            name = f"{'0000' if part == 'train' or number == 0 else '0001'}{number:02d}_jpg.rf.{part}.png"
            Image.fromarray(pixels).save(folder / part / name)
            images.append({"id": number, "file_name": name, "width": 60, "height": 48})
            boxes.append({"image_id": number, "category_id": 1 + kind, "bbox": [int(x), int(y), 26, 20]})
        kinds = [{"id": 0, "name": "objects", "supercategory": "none"}]
        kinds += [{"id": k, "name": name, "supercategory": "objects"} for k, name in enumerate(COLOURS, 1)]
        content = {"images": images, "annotations": boxes, "categories": kinds}
        (folder / part / voc.ANNOTATIONS).write_text(json.dumps(content))
    return folder


def test_images_are_read_once_with_their_boxes(scenes):
    held_out = voc.read(scenes, ["valid"], 24)
    part = voc.read(scenes, ["train"], 24, without=held_out.names)
    assert (len(held_out.names), len(part.names), part.classes) == (8, 23, ["disc", "bar"])
    assert not set(part.names) & set(held_out.names) and part.images.shape == (23, 3, 24, 24)
    box, label = part.truth[0].boxes[0], part.truth[0].labels[0]
    left, top, right, bottom = (box * 24).round().int().tolist()
    middle = part.images[0][:, (top + bottom) // 2, (left + right) // 2].tolist()
    assert tuple(middle) == list(COLOURS.values())[label - 1]
    with pytest.raises(InputError, match=r"nothing.*_annotations\.coco\.json: no annotations in COCO's format"):
        voc.read(scenes, ["nothing"], 24)


def test_boxes_move_with_what_they_hold(scenes):
    part, generator = voc.read(scenes, ["train"], 96), np.random.default_rng(1)
    for row in [*range(8), *range(8), *range(8)]:
        pixels, truth = voc.augmented(part.images[row], part.truth[row], 64, generator)
        assert pixels.shape == (3, 64, 64) and len(truth.boxes) == 1 and ((truth.boxes >= 0) & (truth.boxes <= 1)).all()
        centre = ((truth.boxes[0, :2] + truth.boxes[0, 2:]) / 2 * 64).int().clamp(max=63)
        colour = torch.tensor(list(COLOURS.values())[truth.labels[0] - 1]) / 255
        assert (pixels[:, centre[1], centre[0]] - colour).abs().max() < 0.05


def test_a_detector_learns_end_to_end_and_is_not_trained_twice(scenes, tmp_path):
    torch.manual_seed(0)
    whole = cifar_resnet(20, 10)
    torch.save(whole.state_dict(), tmp_path / "dense.pt")
    config = yaml.safe_load((ROOT / "benchmarks/studies/detection/voc_resnet20.yaml").read_text())
    config |= {"seeds": [0], "held_out": ["valid"], "store": 64}
    config["form"] |= {"size": 48, "extras": [[16, 32]], "ratios": [[2]] * 3, "scales": [0.2, 0.35, 0.6, 0.9]}
    config["training"] |= {"epochs": 8, "batch_size": 4, "learning_rate": 0.01}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = [str(tmp_path / "config.yaml"), "--data", str(scenes), "--out", str(tmp_path / "out")]
    study.main([*words, "--backbone", f"dense={tmp_path / 'dense.pt'}"])
    result = json.loads((tmp_path / "out" / "dense-0.json").read_text())
    assert result["losses"][-1] < result["losses"][0] / 2 and result["map_07"] > 0.5 and result["images"] == [23, 8]
    page = (tmp_path / "out" / "README.md").read_text()
    assert f"| dense | {100 * result['map_07']:.1f} |" in page and "nothing in the literature" in page
    written = (tmp_path / "out" / "dense-0.json").stat().st_mtime_ns
    study.main([*words, "--backbone", f"dense={tmp_path / 'dense.pt'}"])  # nothing is trained again
    assert (tmp_path / "out" / "dense-0.json").stat().st_mtime_ns == written


def test_a_backbone_is_a_file_a_run_or_refused(tmp_path, monkeypatch):
    assert study.backbone("random", "resnet_20").widths()[0] == 16
    network = FrameNetwork(cifar_resnet(20, 10, width=3), (3, 32, 32))
    monkeypatch.setattr(study, "load", lambda place, normalise: type("L", (), {"network": network})())
    assert study.backbone(str(tmp_path), "resnet_20") is network.network and network.network.training
    network.network = torch.nn.Linear(1, 1)
    with pytest.raises(InputError, match="the run's network is a Linear; a detector needs a ResNet"):
        study.backbone(str(tmp_path), "resnet_20")
