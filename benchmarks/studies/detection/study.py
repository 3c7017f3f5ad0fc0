"""A compact backbone in a detector: SSD on a dense and on compact backbones, trained alike, mAP on images held out.

    python -m benchmarks.studies.detection.study benchmarks/studies/detection/voc_resnet20.yaml --data FOLDER \\
        --backbone dense=resnet20-12fca82f.th --backbone compact=RESULTS/runs/.../seed-0 --out OUT

A backbone is a file of weights (nn/weights_file.py) of the configuration's network, the folder of a run, or `random`:
the network with fresh weights, which shows whether the detector needs what CIFAR-10 has taught at all.
Each call trains what OUT does not have yet, one file NAME-SEED.json a detector, and writes OUT/README.md from all.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.studies.detection import voc
from benchmarks.studies.detection.differences import difference
from benchmarks.studies.detection.mean_ap import Found, Ranked, Truth, mean_ap, ranked
from benchmarks.studies.detection.ssd import Detector, form_of, operations
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.cnn.named import named_network
from squeezebench.nn.cnn.resnet import ResNet
from squeezebench.nn.weights_file import load_weights
from squeezebench.tools.load import load

FIELDS = ("image", "right", "objects")  # of Ranked


def backbone(place: str, network: str) -> ResNet:
    """The ResNet that `place` names. Raises InputError for another network."""
    if Path(place).is_dir():
        net = load(place, normalise=False).network
        net = getattr(net, "network", net)
        if not isinstance(net, ResNet):
            raise InputError(f"{place}: the run's network is a {type(net).__name__}; a detector needs a ResNet")
        return net.train()
    net = named_network(network, (3, 32, 32), 10)
    if place != "random":
        load_weights(net, place, network)
    return net


def train(detector: Detector, part: voc.Part, settings: dict[str, Any], seed: int, size: int) -> list[float]:
    """On a cosine, in place; gives the mean loss of each epoch."""
    generator, losses = np.random.default_rng([seed, 0xDE7]), []
    steps = math.ceil(len(part.names) / settings["batch_size"]) * settings["epochs"]
    kind = {"sgd": partial(torch.optim.SGD, momentum=0.9), "adamw": torch.optim.AdamW}[settings["optimiser"]]
    optimiser = kind(detector.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
    end = settings["last_learning_rate"] / settings["learning_rate"]
    cosine = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    )
    detector.train()
    for epoch in range(settings["epochs"]):
        order, total = generator.permutation(len(part.names)), 0.0
        for first in range(0, len(order), settings["batch_size"]):
            rows = order[first : first + settings["batch_size"]]
            drawn = [voc.augmented(part.images[row], part.truth[row], size, generator) for row in rows]
            targets = [{"boxes": truth.boxes * size, "labels": truth.labels} for _, truth in drawn]
            with torch.autocast("cpu", torch.bfloat16, enabled=settings["precision"] == "bfloat16"):
                loss = sum(detector([pixels for pixels, _ in drawn], targets).values())
            if not torch.isfinite(loss):
                raise RuntimeError(f"the loss became {loss.item()} in epoch {epoch}: give a smaller learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(detector.parameters(), settings["clip"])
            optimiser.step()
            cosine.step()
            total += loss.item() * len(rows)
        losses.append(total / len(order))
        print(f"epoch {epoch + 1}: loss {losses[-1]:.3f}", flush=True)
    return losses


@torch.no_grad()
def detections(detector: Detector, part: voc.Part, size: int) -> list[Ranked]:
    """What the detector finds in a part, class by class."""
    detector.eval()
    detected = []
    for first in range(0, len(part.names), 32):
        for entry in detector(list(voc.resized(part.images[first : first + 32], size))):
            detected.append(Found(entry["boxes"] / size, entry["scores"], entry["labels"]))
    truth = [Truth(entry.boxes, entry.labels) for entry in part.truth]
    return [ranked(detected, truth, label) for label in range(1, len(part.classes) + 1)]


def settings_digest(config: dict[str, Any]) -> str:
    """Names what a detector is trained by: further seeds leave those that are there valid."""
    return digest_of({key: value for key, value in config.items() if key != "seeds"})


def run(
    name: str, place: str, seed: int, config: dict[str, Any], parts: tuple[voc.Part, voc.Part]
) -> tuple[dict[str, Any], list[Ranked]]:
    """One detector, trained and scored, and what it detects."""
    torch.manual_seed(seed)
    form, started = form_of(config["form"]), time.perf_counter()
    detector = Detector(backbone(place, config["network"]), form, len(parts[0].classes))
    arrange(detector, torch.channels_last)
    losses = train(detector, parts[0], config["training"], seed, form.size)
    trained = time.perf_counter() - started
    classes = detections(detector, parts[1], form.size)
    result = {
        "name": name,
        "seed": seed,
        "config": settings_digest(config),
        "backbone_weights": sum(p.numel() for p in detector.backbone.backbone.parameters() if p.dim() > 1),
        "weights": sum(p.numel() for p in detector.parameters() if p.dim() > 1),
        "macs": operations(detector, form.size),
        "images": [len(part.names) for part in parts],
        "losses": losses,
        "train_seconds": round(trained, 1),
        "classes": parts[0].classes,
        **mean_ap(classes),
    }
    return result, classes


def write(path: Path, result: dict[str, Any], classes: list[Ranked]) -> None:
    """The result, last of all, and what was detected beside it."""
    arrays = {f"{field}_{number}": getattr(entry, field) for number, entry in enumerate(classes) for field in FIELDS}
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())


def read(path: Path) -> tuple[dict[str, Any], list[Ranked]]:
    """What `write` has written."""
    result = json.loads(path.read_text())
    with np.load(path.with_suffix(".npz")) as arrays:
        numbers = range(len(result["classes"]))
        return result, [Ranked(*(arrays[f"{field}_{number}"] for field in FIELDS)) for number in numbers]


def page(read: list[tuple[dict[str, Any], list[Ranked]]], config: dict[str, Any]) -> str:
    """A table of all results: mean, each seed, and the difference to the first backbone."""
    results = [result for result, _ in read]
    lines = [
        f"# {config['title']}",
        "",
        config["description"].strip(),
        "",
        "| backbone | mAP, 11 points, % | of the seeds | minus the first | mAP, area, % | MACs, G | weights "
        "| of the backbone |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first, covers = {entry["seed"]: classes for entry, classes in read if entry["name"] == results[0]["name"]}, {}
    for name in dict.fromkeys(entry["name"] for entry in results):
        own = [entry for entry in results if entry["name"] == name]
        means = [100 * float(np.mean([entry[key] for entry in own])) for key in ("map_07", "map_area")]
        seeds, apart = " ".join(f"{100 * entry['map_07']:.1f}" for entry in own), ""
        both = [
            (found, first[entry["seed"]]) for entry, found in read if entry["name"] == name and entry["seed"] in first
        ]
        if both and name != results[0]["name"]:
            compared = difference(*zip(*both, strict=True))
            apart, covers[compared.covers] = str(compared), None
        lines.append(
            f"| {name} | {means[0]:.1f} | {seeds} | {apart} | {means[1]:.1f} | {own[0]['macs'] / 1e9:.3g} "
            f"| {own[0]['weights']:,} | {own[0]['backbone_weights']:,} |"
        )
    images = results[0]["images"]
    lines += [
        "",
        f"{images[0]:,} images train, {images[1]:,} are held out; the last epoch is scored, nothing is picked.",
        f"Differences are of the mAP by 11 points, with 95 % intervals over {' or '.join(covers)}." if covers else "",
    ]
    return "\n".join(lines) + "\n"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/, valid/ and test/, see voc.py")
    parser.add_argument("--backbone", action="append", required=True, metavar="NAME=PLACE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the configuration")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    given = arguments(words)
    config = yaml.safe_load(given.config.read_text())
    torch.set_num_threads(given.threads)
    places = dict(entry.split("=", 1) for entry in given.backbone)
    held_out = voc.read(given.data, config["held_out"], config["form"]["size"], most=config.get("images"))
    trained = voc.read(given.data, config["train"], config["store"], without=held_out.names, most=config.get("images"))
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds or config["seeds"]:
        for name, place in places.items():
            path = given.out / f"{name}-{seed}.json"
            if path.is_file() and json.loads(path.read_text())["config"] == settings_digest(config):
                continue
            result, classes = run(name, place, seed, config, (trained, held_out))
            write(path, result, classes)
            print(f"{name}, seed {seed}: mAP {100 * result['map_07']:.1f} %", flush=True)
    order = {name: number for number, name in enumerate(places)}
    results = [both for both in map(read, given.out.glob("*-*.json")) if both[0]["config"] == settings_digest(config)]
    results.sort(key=lambda both: (order.get(both[0]["name"], len(order)), both[0]["name"], both[0]["seed"]))
    write_atomically(given.out / "README.md", page(results, config).encode())


if __name__ == "__main__":
    main()
