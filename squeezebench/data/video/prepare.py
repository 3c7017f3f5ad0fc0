"""`squeezebench data prepare`: from the archives (or a folder, or synthetic clips) to the arrays that a run reads.

fetch and unpack -> index and check the clips -> official lists -> frames, flow, features -> store. Every step keeps
what it has done, so the same command goes on after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from squeezebench.base.contents import digest_of_content
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import data_folder
from squeezebench.data.sources import source_module
from squeezebench.data.store import Store, complete, opened
from squeezebench.data.task import parse_options
from squeezebench.data.video import features, synthetic
from squeezebench.data.video.catalogue import VideoSet, video_set
from squeezebench.data.video.clips import ClipIndex, checked, list_clips
from squeezebench.data.video.fetch import fetch_dataset
from squeezebench.data.video.flow import FORMAT as FLOW_FORMAT
from squeezebench.data.video.lists import Split, official_split
from squeezebench.data.video.options import (
    FrameOptions,
    VideoOptions,
    cut_share,
    flow_size,
    frame_size,
    lists_folder,
    pointer,
    wanted,
)
from squeezebench.data.video.own import list_own, subset_of
from squeezebench.schema.task import TaskSpec

FORMAT = 1  # raise it when the same clips give other features


def prepare(spec: TaskSpec, progress: bool = False, device: str = "auto", workers: int | None = None) -> dict[str, Any]:
    """Prepare what the task reads. Returns a summary for people and receipts (JSON).

    Raises InputError, in one line: a source that needs no preparing, data that are missing or wrong, a full disk.
    """
    if not getattr(source_module(spec.source), "PREPARED", False):
        raise InputError(f"task {spec.name}: source {spec.source} needs no preparing")
    options = parse_options(spec)
    assert isinstance(options, FrameOptions)
    clips = _clips(spec.source, options, progress)
    index, subsets = clips.index, clips.subsets
    key = _key(spec.source, options, index, subsets)
    network = _network(options, device)
    if network is not None:
        key["weights_digest"] = network.digest
    place = pointer(spec.source, options)
    store_folder = place.with_name(f"{place.stem.rpartition('-')[0]}-{digest_of(key)[:12]}")  # by content, not by place
    done = complete(store_folder)
    if done is None:
        _need_room(store_folder, options, len(index.clips))
        flow = data_folder() / "flow" / _flow_name(spec.source, options)
        with opened(store_folder, key, features.arrays(options)) as store:
            work = features.fill(store, index.clips, options, flow, network, workers=workers, progress=progress)
            if (done := complete(store_folder)) is None:  # otherwise another process finished it meanwhile
                done = _finish(store, options, clips, key)
    else:
        work = {"made": 0, "seconds": 0.0, "clips_per_second": None}
    write_atomically(place, json.dumps({"folder": store_folder.name, "digest": done["digests"]["x"]}).encode())
    return {"task": spec.name, "source": spec.source, "folder": str(store_folder)} | done | work


def prepare_local(spec: TaskSpec, progress: bool = False) -> None:
    """`prepare` for clips that are on this machine or are drawn; clips that have to be fetched are left to the user."""
    options = parse_options(spec)
    if getattr(options, "folder", None) is not None or getattr(options, "synthetic", None) is not None:
        prepare(spec, progress)


@dataclass(frozen=True)
class _Clips:
    """Checked clips and what is known of them."""

    title: str
    index: ClipIndex
    subsets: dict[int, list[str]]  # official list -> part of each clip
    part_of: str = ""  # as in Dataset


def _clips(source: str, options: FrameOptions, progress: bool) -> _Clips:
    if not isinstance(options, VideoOptions):
        listed, parts = list_own(Path(options.folder), options.labels and Path(options.labels))
        index = checked(listed, progress)
        subset = subset_of(index, parts)
        return _Clips(Path(options.folder).name, index, {} if subset is None else {1: subset.tolist()})
    facts, folder = video_set(source), _clips_folder(source, options)
    classes = None if options.synthetic is None else synthetic.classes_of(source)
    index = checked(list_clips(facts, folder, classes=classes, subset=options.subset), progress)
    lists = lists_folder(options) or folder
    splits = {n: official_split(index, n, lists, options.subset) for n in range(1, facts.splits + 1)}
    title = f"{facts.title}{' (synthetic)' if options.synthetic else ''}"
    part_of = _part_of(facts, index, splits) if options.subset else ""
    return _Clips(title, index, {n: split.subset.tolist() for n, split in splits.items()}, part_of)


def _part_of(facts: VideoSet, index: ClipIndex, splits: dict[int, Split]) -> str:
    unlisted = splits[1].unlisted if splits else 0
    words = f"{len(index.clips) - unlisted:,} of {facts.clips:,} clips"
    words += f", {len(index.classes)} of {len(facts.classes)} classes"
    if facts.groups:
        words += f", {len({clip.group for clip in index.clips})} of {facts.groups * len(facts.classes)} groups"
    left_out = f"; {unlisted} more clips are in no official list and not used" if unlisted else ""
    return f"a part of {facts.title}: {words}{left_out}"


def _clips_folder(source: str, options: VideoOptions) -> Path:
    """The folder with the clips and lists: synthetic, the user's, or fetched."""
    if options.synthetic is not None:
        folder = data_folder() / "synthetic" / f"{source}-{options.synthetic}"
        return synthetic.make_clips(source, folder, options.synthetic)
    if options.folder is not None:
        return Path(options.folder).expanduser()
    return fetch_dataset(source)


def _key(source: str, options: FrameOptions, index: ClipIndex, subsets: dict[int, list[str]]) -> dict[str, Any]:
    """All that decides the arrays, the clips' contents included; where they lie plays no part."""
    sha = hashlib.sha256()
    for clip in index.clips:
        sha.update(f"{clip.name} {clip.label} {clip.group} {digest_of_content(clip.path)}\n".encode())
    sha.update(json.dumps(subsets).encode())
    made_from = {"format": FORMAT, "flow_format": FLOW_FORMAT, "clips_digest": sha.hexdigest()}
    return json.loads(json.dumps(wanted(source, options) | made_from))


def _network(options: FrameOptions, device: str) -> Any:
    if options.features == "pixels":
        return None
    from squeezebench.data.video.backbones import backbone

    return backbone(options.features, options.weights, frame_size(options)[0], device)


def _flow_name(source: str, options: FrameOptions) -> str:
    """All that flow depends on, beside the clip itself: which part of which frames at which size."""
    frames = [options.frames, frame_size(options), cut_share(options), flow_size(options), options.flow_bound]
    return f"{source}-{options.frames}f-{digest_of([*frames, FLOW_FORMAT])[:12]}"


def _need_room(folder: Path, options: FrameOptions, clips: int) -> None:
    """Refuse before hours of work if the arrays cannot fit; what is there already counts."""
    place = next(parent for parent in folder.parents if parent.exists())
    row = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in features.arrays(options).values())
    there = sum(file.stat().st_size for file in folder.glob("*.npy"))
    needed, free = clips * row - there, shutil.disk_usage(place).free
    if needed > free:
        raise InputError(f"{place}: the features need {needed / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free")


def _finish(store: Store, options: FrameOptions, collection: _Clips, key: dict[str, Any]) -> dict[str, Any]:
    """Write the small arrays of the clips that have a row, and meta.json; returns meta.json's content."""
    index = collection.index
    kept = [n for n, line in enumerate(store.ledger) if "length" in line]
    if not kept:
        raise InputError(f"{index.root}: none of its {len(index.clips)} clips can be decoded: {store.ledger[0]}")
    clips = [index.clips[n] for n in kept]
    length = np.array([store.ledger[n]["length"] for n in kept], np.int64)
    small = {
        "y": np.array([clip.label for clip in clips], np.int64),
        "length": length,
        "name": np.array([clip.name for clip in clips]),
        "classes": np.array(index.classes),
    } | {f"subset_{number}": np.array(subset)[kept] for number, subset in collection.subsets.items()}
    if any(clip.group for clip in clips):
        small["group"] = np.array([clip.group for clip in clips])
    weights = f"; {options.weights} weights sha256:{key['weights_digest']}" if "weights_digest" in key else ""
    skipped = index.broken | {line["clip"]: line["skipped"] for line in store.ledger if "skipped" in line}
    meta = {
        "clips": len(kept),
        "skipped": skipped,
        "problems": [problem.reason for problem in index.problems if not problem.name],
        "damaged": {line["clip"]: line["damaged"] for line in store.ledger if line.get("damaged")},
        "short": int((length < options.frames).sum()),
        "origin": f"{collection.title}: {len(kept)} clips{weights}",
        "part_of": collection.part_of,
        "key": key,
    }
    store.finish(meta, **small)
    return complete(store.folder)
