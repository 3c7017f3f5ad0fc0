"""What the video sources share: their options, where their prepared features lie, and reading those.

Nothing is decoded here: `squeezebench data prepare` makes the features (squeezebench/data/video), a run maps them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.places import data_folder
from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.video.catalogue import video_set
from squeezebench.schema.task import PLACES

if TYPE_CHECKING:
    from squeezebench.data.video.clips import ClipIndex


@dataclass(frozen=True)
class BackboneFacts:
    """The numbers that sizes and cost estimates follow from."""

    features: int  # D of one stream
    size: int  # side of the square frames that it was trained on
    least: int  # smallest side that its layers allow
    margin: int | None = None  # the shorter side becomes size + margin, and the middle is cut out; None: no cutting


BACKBONES = {
    "inception_v3": BackboneFacts(2048, 299, 75),
    "efficientnet_b1": BackboneFacts(1280, 240, 32),
    "efficientnet_lite0": BackboneFacts(1280, 224, 32, margin=32),
    "efficientnet_lite1": BackboneFacts(1280, 240, 32, margin=32),
}
FeatureName = Literal["inception_v3", "efficientnet_b1", "efficientnet_lite0", "efficientnet_lite1", "pixels"]
PIXELS = 120  # height of the frames of `features: pixels`; their width is 4/3 of it
FLOW_BYTES = 2_000  # of a cached flow field of 112 x 112, both planes; about what clips of UCF101 need
SYNTHETIC_CLASSES = 4
BIG = ("x", "flipped")  # arrays that are memory-mapped


class FrameOptions(BaseModel):
    """What is read from each clip. All of it decides what `data prepare` makes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    features: FeatureName = Field(
        default="inception_v3", description="the CNN whose features are read, or the pixels themselves (end to end)"
    )
    stream: Literal["rgb", "flow", "both"] = Field(
        default="rgb", description="frames, TV-L1 optical flow, or the features of both side by side"
    )
    frames: int = Field(default=32, ge=1, description="frames kept of each clip, evenly spaced")
    size: int | None = Field(
        default=None, ge=1, description="side of the frames a CNN sees, or height of the pixels' (4:3); null: its own"
    )
    planes: bool = Field(
        default=False, description="pixels: colour plane by plane, the order in which networks on frames read them"
    )
    flip: bool = Field(default=False, description="also the mirrored clips; training draws one of the two")
    weights: Literal["imagenet", "random"] = Field(default="imagenet", description="random: for dry runs and tests")
    flow_bound: float = Field(
        default=20.0, gt=0, description="displacement, in pixels of the frames a CNN sees, that becomes 255 (and 1)"
    )
    flow_size: int | None = Field(
        default=None, ge=16, description="side of the frames on which TV-L1 is computed; null: half of what a CNN sees"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> FrameOptions:
        if self.features == "pixels" and self.stream != "rgb":
            raise ValueError(f"stream is {self.stream}; pixels are rgb only")
        if self.planes and self.features != "pixels":
            raise ValueError(f"planes are of features: pixels; {self.features} gives no frames")
        least = 1 if self.features == "pixels" else BACKBONES[self.features].least
        if self.size is not None and self.size < least:
            raise ValueError(f"size is {self.size}; {self.features} needs at least {least}")
        return self


class VideoOptions(FrameOptions):
    """Features of the clips of an official data set. Options other than split_list decide what `data prepare` makes."""

    folder: str | None = Field(default=None, description="the unpacked clips; null: fetched from the official address")
    subset: bool = Field(default=False, description="the folder holds a part of the classes, groups or clips")
    synthetic: int | None = Field(
        default=None, ge=3, description="this many synthetic clips a class instead of the real ones; for dry runs"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> VideoOptions:
        if self.folder is not None and self.synthetic is not None:
            raise ValueError("give folder or synthetic, not both")
        if self.subset and self.folder is None:
            raise ValueError("subset: true needs the folder that holds a part of the data set")
        return self


class ListedOptions(VideoOptions):
    """Features of the clips of a data set with official lists, and which list."""

    frames: int = Field(default=25, ge=1, description="frames kept of each clip, evenly spaced")
    split_list: Literal[1, 2, 3] = Field(default=1, description="official list of train and test clips")
    lists: str | None = Field(default=None, description="folder of the official lists; null: they are with the clips")


def frame_size(options: FrameOptions) -> tuple[int, int]:
    """(height, width) of the frames."""
    if options.features == "pixels":
        height = options.size or PIXELS
        return height, height * 4 // 3
    side = options.size or BACKBONES[options.features].size
    return side, side


def cut_share(options: FrameOptions) -> float | None:
    """The share of a frame's shorter side that is cut out of its middle; None: the whole frame, squeezed."""
    if options.features == "pixels" or (margin := BACKBONES[options.features].margin) is None:
        return None
    side = frame_size(options)[0]
    return side / (side + margin)


def flow_size(options: FrameOptions) -> tuple[int, int]:
    """(height, width) of the frames on which optical flow is computed: flow fields are smooth, and TV-L1 is slow."""
    side = options.flow_size or max(16, frame_size(options)[0] // 2)
    return side, side


def frame_shape(options: FrameOptions) -> tuple[int, int, int] | None:
    """(C, H, W) of a step that is an image, else None."""
    return (3, *frame_size(options)) if options.planes else None


def inputs(options: FrameOptions) -> int:
    """D: numbers of one step."""
    if options.features == "pixels":
        height, width = frame_size(options)
        return height * width * 3
    return BACKBONES[options.features].features * (2 if options.stream == "both" else 1)


def dtype(options: FrameOptions) -> str:
    """The type of the prepared arrays: bytes for pixels, half precision for features."""
    return "|u1" if options.features == "pixels" else "<f2"


def wanted(source: str, options: FrameOptions) -> dict[str, Any]:
    """What decides the prepared arrays, as far as it is known without the data; where these lie plays no part."""
    flow = {} if options.stream == "rgb" else {"flow_bound": options.flow_bound, "flow_size": flow_size(options)[0]}
    weights = {} if options.features == "pixels" else {"weights": options.weights}
    order = {"planes": True} if options.planes else {}
    subset = {"subset": True} if getattr(options, "subset", False) else {}
    return {
        "source": source, "features": options.features, "stream": options.stream, "frames": options.frames,
        "size": frame_size(options), "flip": options.flip,
        "synthetic": getattr(options, "synthetic", None),
    } | flow | weights | order | subset  # fmt: skip


def pointer(source: str, options: FrameOptions) -> Path:
    """A small file that names the folder of the prepared arrays; written when they are complete.

    The folder's own name has the digests of clips and weights in it, which are not known without reading them.
    """
    what = wanted(source, options) | {name: getattr(options, name, None) for name in PLACES}
    words = [options.features, options.stream, f"{options.frames}f", f"{frame_size(options)[0]}px"]
    return data_folder() / "features" / source / f"{'-'.join(words)}-{digest_of(what)[:12]}.json"


def stamp(source: str, options: FrameOptions) -> str:
    """Changes when the features are prepared anew."""
    path = pointer(source, options)
    return path.read_text() if path.exists() else ""


def expected(source: str, options: VideoOptions, train: tuple[int, ...] = ()) -> Expected:
    """Sizes by the catalogue, no data needed; of a part of a data set, by the names of its files. `train`: sequences
    of the official training lists 1, 2, ...

    The disk holds clips, flow and features; the archives can be removed once they are unpacked.
    """
    if options.subset:
        return expected_of(options, outline(source, options))
    facts = video_set(source)
    synthetic = options.synthetic is not None
    classes = SYNTHETIC_CLASSES if synthetic else len(facts.classes)
    clips = options.synthetic * classes if synthetic else facts.clips
    download = 0 if synthetic or options.folder else sum(archive.size for archive in facts.archives)
    return Expected(
        sequences=clips,
        steps=options.frames,
        inputs=inputs(options),
        classes=classes,
        disk_bytes=clips * _clip_bytes(options) + download,
        download_bytes=download,
        train=train[options.split_list - 1] if train and not synthetic else None,
        frame=frame_shape(options),
        groups=True,
    )


def expected_of(options: FrameOptions, data: Dataset) -> Expected:
    """The sizes of clips that are there already."""
    used = data.used
    return Expected(
        sequences=int(used.sum()),
        steps=options.frames,
        inputs=inputs(options),
        classes=len(data.classes),
        disk_bytes=len(data.y) * _clip_bytes(options),
        download_bytes=0,
        train=None if data.subset is None else int((data.subset == "train").sum()),
        frame=frame_shape(options),
        groups=data.group is not None,
    )


def _clip_bytes(options: FrameOptions) -> int:
    """Prepared features and flow of one clip."""
    row = options.frames * inputs(options) * np.dtype(dtype(options)).itemsize * (2 if options.flip else 1)
    flow = 0 if options.stream == "rgb" else options.frames * FLOW_BYTES * prod(flow_size(options)) // 112**2
    return row + flow


def outline(source: str, options: VideoOptions) -> Dataset | None:
    """All but the features, by the names of the files in the user's folder, else as they are prepared; None if the
    clips are yet to be fetched or drawn."""
    if options.folder is None:
        return load(source, options) if pointer(source, options).exists() else None
    from squeezebench.data.video.clips import list_clips
    from squeezebench.data.video.lists import official_split

    index = list_clips(source, Path(options.folder).expanduser(), subset=options.subset)
    number, subset = getattr(options, "split_list", None), None
    if number is not None:
        subset = official_split(index, number, lists_folder(options), options.subset).subset
    return outline_of(index, options, subset)


def outline_of(index: ClipIndex, options: FrameOptions, subset: np.ndarray | None) -> Dataset:
    """The data set of clips that need not be decodable; x takes no memory."""
    if not index.clips:
        raise InputError(f"{index.root}: holds no clip that can be used")
    groups = np.array([clip.group for clip in index.clips])
    zero = np.zeros((), dtype(options))
    return Dataset(
        name=f"{index.dataset} ({options.features})",
        x=np.broadcast_to(zero, (len(index.clips), options.frames, inputs(options))),
        y=np.array([clip.label for clip in index.clips], np.int64),
        classes=index.classes,
        group=groups if (groups != "").any() else None,
        subset=subset,
        frame=frame_shape(options),
    )


def lists_folder(options: VideoOptions) -> Path | None:
    """Where the user's official lists lie; None: where `data fetch` puts them."""
    place = getattr(options, "lists", None) or options.folder
    return None if place is None else Path(place).expanduser()


def load(source: str, options: FrameOptions) -> Dataset:
    """x (N, T, D): float16 features, or uint8 pixels with scale 1/255; memory-mapped.

    Raises InputError, with the command to give, if nothing is prepared.
    """
    folder = _prepared(source, options)
    meta = json.loads((folder / "meta.json").read_bytes())
    small = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in meta["digests"] if name not in BIG}
    x = np.load(folder / "x.npy", mmap_mode="r", allow_pickle=False)
    pixels = options.features == "pixels"
    return Dataset(
        name=f"{source} ({options.features})",
        x=x,
        y=small["y"],
        classes=tuple(map(str, small["classes"])),
        length=small["length"] if (small["length"] < x.shape[1]).any() else None,
        group=small.get("group"),
        subset=small.get(f"subset_{getattr(options, 'split_list', 1)}"),
        scale=np.full(x.shape[2], 1 / 255) if pixels else None,
        flipped=np.load(folder / "flipped.npy", mmap_mode="r", allow_pickle=False) if options.flip else None,
        origin=meta["origin"],
        part_of=meta.get("part_of", ""),
        frame=frame_shape(options),
    )


def _prepared(source: str, options: FrameOptions) -> Path:
    path = pointer(source, options)
    try:
        return path.parent / json.loads(path.read_bytes())["folder"]
    except FileNotFoundError:
        given = {k: v for k, v in options.model_dump().items() if v != type(options).model_fields[k].default}
        options_text = "".join(f" --set {name}={value}" for name, value in given.items())
        raise InputError(
            f"{source}: these features are not prepared; give: squeezebench data prepare {source}{options_text}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; remove it and prepare the features again") from None
