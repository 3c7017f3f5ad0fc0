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
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.studies.detection import voc
from benchmarks.studies.detection.mean_ap import Found, Truth, mean_ap
from benchmarks.studies.detection.ssd import Detector, form_of, operations
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.cnn.named import named_network
from squeezebench.nn.cnn.resnet import ResNet
from squeezebench.nn.weights_file import load_weights
from squeezebench.tools.load import load


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
    """SGD on a cosine, in place; gives the mean loss of each epoch."""
    generator, losses = np.random.default_rng([seed, 0xDE7]), []
    steps = math.ceil(len(part.names) / settings["batch_size"]) * settings["epochs"]
    optimiser = torch.optim.SGD(
        detector.parameters(), settings["learning_rate"], momentum=0.9, weight_decay=settings["weight_decay"]
    )
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
def score(detector: Detector, part: voc.Part, size: int) -> dict[str, Any]:
    """mAP of the detector on a part."""
    detector.eval()
    detected = []
    for first in range(0, len(part.names), 32):
        for entry in detector(list(voc.resized(part.images[first : first + 32], size))):
            detected.append(Found(entry["boxes"] / size, entry["scores"], entry["labels"]))
    truth = [Truth(entry.boxes, entry.labels) for entry in part.truth]
    return mean_ap(detected, truth, range(1, len(part.classes) + 1))


def run(name: str, place: str, seed: int, config: dict[str, Any], parts: tuple[voc.Part, voc.Part]) -> dict[str, Any]:
    """One detector, trained and scored."""
    torch.manual_seed(seed)
    form, started = form_of(config["form"]), time.perf_counter()
    detector = Detector(backbone(place, config["network"]), form, len(parts[0].classes))
    arrange(detector, torch.channels_last)
    losses = train(detector, parts[0], config["training"], seed, form.size)
    trained = time.perf_counter() - started
    return {
        "name": name,
        "seed": seed,
        "config": digest_of(config),
        "backbone_weights": sum(p.numel() for p in detector.backbone.backbone.parameters() if p.dim() > 1),
        "weights": sum(p.numel() for p in detector.parameters() if p.dim() > 1),
        "macs": operations(detector, form.size),
        "images": [len(part.names) for part in parts],
        "losses": losses,
        "train_seconds": round(trained, 1),
        "classes": parts[0].classes,
        **score(detector, parts[1], form.size),
    }


def page(results: list[dict[str, Any]], config: dict[str, Any]) -> str:
    """A table of all results: mean, and each seed."""
    lines = [
        f"# {config['title']}",
        "",
        config["description"].strip(),
        "",
        "| backbone | mAP, 11 points, % | mAP, area, % | of the seeds | MACs, G | weights | of the backbone |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(entry["name"] for entry in results):
        own = [entry for entry in results if entry["name"] == name]
        means = [100 * float(np.mean([entry[key] for entry in own])) for key in ("map_07", "map_area")]
        seeds = " ".join(f"{100 * entry['map_07']:.1f}" for entry in own)
        lines.append(
            f"| {name} | {means[0]:.1f} | {means[1]:.1f} | {seeds} | {own[0]['macs'] / 1e9:.3g} "
            f"| {own[0]['weights']:,} | {own[0]['backbone_weights']:,} |"
        )
    images = results[0]["images"]
    lines += [
        "",
        f"{images[0]:,} images train, {images[1]:,} are held out; the last epoch is scored, nothing is picked.",
    ]
    return "\n".join(lines) + "\n"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/, valid/ and test/, see voc.py")
    parser.add_argument("--backbone", action="append", required=True, metavar="NAME=PLACE")
    parser.add_argument("--out", type=Path, required=True)
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
    for seed in config["seeds"]:
        for name, place in places.items():
            path = given.out / f"{name}-{seed}.json"
            if path.is_file() and json.loads(path.read_text())["config"] == digest_of(config):
                continue
            result = run(name, place, seed, config, (trained, held_out))
            write_atomically(path, (json.dumps(result, indent=1) + "\n").encode())
            print(f"{name}, seed {seed}: mAP {100 * result['map_07']:.1f} %", flush=True)
    results = [json.loads(path.read_text()) for path in sorted(given.out.glob("*-*.json"))]
    write_atomically(given.out / "README.md", page(results, config).encode())


if __name__ == "__main__":
    main()
