"""`squeezebench data prepare`: from the archives (or a folder, or synthetic clips) to the arrays that a run reads.

fetch and unpack -> index and check the clips -> official lists -> frames, flow, features -> store. Every step keeps
what it has done, so the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import data_folder
from squeezebench.data.sources import source_module
from squeezebench.data.store import complete, opened
from squeezebench.data.task import parse_options
from squeezebench.data.video import features
from squeezebench.data.video import synthetic as synthetic
from squeezebench.data.video.catalogue import VideoSet, video_set
from squeezebench.data.video.clips import ClipIndex, index_clips
from squeezebench.data.video.fetch import fetch_dataset
from squeezebench.data.video.flow import FORMAT as FLOW_FORMAT
from squeezebench.data.video.lists import official_split
from squeezebench.data.video.options import VideoOptions, cut_share, flow_size, frame_size, pointer, wanted
from squeezebench.schema.task import TaskSpec

FORMAT = 1  # raise it when the same clips give other features


def prepare(spec: TaskSpec, progress: bool = False, device: str = "auto", workers: int | None = None) -> dict[str, Any]:
    """Prepare what the task reads. Returns a summary for people and receipts (JSON).

    Raises InputError, in one line: a source that needs no preparing, data that are missing or wrong, a full disk.
    """
    if not getattr(source_module(spec.source), "PREPARED", False):
        raise InputError(f"task {spec.name}: source {spec.source} needs no preparing")
    options = parse_options(spec)
    assert isinstance(options, VideoOptions)
    facts = video_set(spec.source)
    folder = _clips_folder(facts, options, progress)
    classes = None if options.synthetic is None else synthetic.classes_of(spec.source)
    index = index_clips(facts, folder, classes=classes, progress=progress)
    subsets = {n: official_split(index, n, folder).subset.tolist() for n in range(1, facts.splits + 1)}
    key = _key(spec.source, options, index, subsets)
    network = _network(options, device)
    if network is not None:
        key["weights_digest"] = network.digest
    place = pointer(spec.source, options)
    store_folder = place.with_name(f"{place.stem}-{digest_of(key)[:12]}")
    done = complete(store_folder)
    if done is None:
        _need_room(store_folder, options, len(index.clips))
        flow = data_folder() / "flow" / _flow_name(spec.source, options)
        with opened(store_folder, key, features.arrays(options)) as store:
            work = features.fill(store, index.clips, options, flow, network, workers=workers, progress=progress)
            if (done := complete(store_folder)) is None:  # otherwise another process finished it meanwhile
                done = _finish(store, spec.source, options, facts, index, subsets, key)
    else:
        work = {"made": 0, "seconds": 0.0, "clips_per_second": None}
    write_atomically(place, json.dumps({"folder": store_folder.name, "digest": done["digests"]["x"]}).encode())
    return {"task": spec.name, "source": spec.source, "folder": str(store_folder)} | done | work


def _clips_folder(facts: VideoSet, options: VideoOptions, progress: bool) -> Path:
    """The folder with the clips and lists: synthetic, the user's, or fetched."""
    if options.synthetic is not None:
        folder = data_folder() / "synthetic" / f"{facts.name}-{options.synthetic}"
        return synthetic.make_clips(facts.name, folder, options.synthetic)
    if options.folder is not None:
        return Path(options.folder).expanduser()
    return fetch_dataset(facts.name)


def _key(source: str, options: VideoOptions, index: ClipIndex, subsets: dict[int, list[str]]) -> dict[str, Any]:
    """All that decides the arrays, clips included (by name, label and size; their bytes are too many to hash)."""
    sha = hashlib.sha256()
    for clip in index.clips:
        sha.update(f"{clip.name} {clip.label} {clip.group} {clip.path.stat().st_size}\n".encode())
    sha.update(json.dumps(subsets).encode())
    made_from = {"format": FORMAT, "flow_format": FLOW_FORMAT, "clips_digest": sha.hexdigest()}
    return json.loads(json.dumps(wanted(source, options) | made_from))


def _network(options: VideoOptions, device: str) -> Any:
    if options.features == "pixels":
        return None
    from squeezebench.data.video.backbones import backbone

    return backbone(options.features, options.weights, frame_size(options)[0], device)


def _flow_name(source: str, options: VideoOptions) -> str:
    """All that flow depends on: the clips, and which part of which frames at which size."""
    frames = [options.frames, frame_size(options), cut_share(options), flow_size(options), options.flow_bound]
    what = [options.folder, options.synthetic, *frames, FLOW_FORMAT]
    return f"{source}-{options.frames}f-{digest_of(what)[:12]}"


def _need_room(folder: Path, options: VideoOptions, clips: int) -> None:
    """Refuse before hours of work if the arrays cannot fit; what is there already counts."""
    place = next(parent for parent in folder.parents if parent.exists())
    row = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in features.arrays(options).values())
    there = sum(file.stat().st_size for file in folder.glob("*.npy"))
    needed, free = clips * row - there, shutil.disk_usage(place).free
    if needed > free:
        raise InputError(f"{place}: the features need {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free")


def _finish(store, source, options, facts, index, subsets, key) -> dict[str, Any]:
    """Write the small arrays of the clips that have a row, and meta.json; returns meta.json's content."""
    kept = [n for n, line in enumerate(store.ledger) if "length" in line]
    if not kept:
        raise InputError(f"{source}: none of the {len(index.clips)} clips can be decoded; the first: {store.ledger[0]}")
    clips = [index.clips[n] for n in kept]
    length = np.array([store.ledger[n]["length"] for n in kept], np.int64)
    small = {
        "y": np.array([clip.label for clip in clips], np.int64),
        "length": length,
        "name": np.array([clip.name for clip in clips]),
        "group": np.array([clip.group for clip in clips]),
        "classes": np.array(index.classes),
    } | {f"subset_{number}": np.array(subset)[kept] for number, subset in subsets.items()}
    weights = f"; {options.weights} weights sha256:{key['weights_digest']}" if "weights_digest" in key else ""
    skipped = index.broken | {line["clip"]: line["skipped"] for line in store.ledger if "skipped" in line}
    meta = {
        "clips": len(kept),
        "skipped": skipped,
        "problems": [problem.reason for problem in index.problems if not problem.name],
        "damaged": {line["clip"]: line["damaged"] for line in store.ledger if line.get("damaged")},
        "short": int((length < options.frames).sum()),
        "origin": f"{facts.title}{' (synthetic)' if options.synthetic else ''}: {len(kept)} clips{weights}",
        "key": key,
    }
    store.finish(meta, **small)
    return complete(store.folder)
