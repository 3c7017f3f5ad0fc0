"""Small archives in the official layouts, made where no RAR program is: a writer of RAR 4 files (stored members).

The format is the public technical note of RAR 4 ("technote.txt"): little-endian blocks of CRC16, type, flags, size.
Both real readers, libarchive and unar, check these CRCs.
"""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

MARKER = b"Rar!\x1a\x07\x00"
SOLID_ARCHIVE, SOLID_FILE, IS_FOLDER, HAS_DATA = 0x0008, 0x0010, 0x00E0, 0x8000
UNIX, STORED, VERSION = 3, 0x30, 29
FILE_MODE, FOLDER_MODE, LINK_MODE = 0o100644, 0o40755, 0o120777

Content = bytes | None  # None: a folder


def _block(kind: int, flags: int, body: bytes) -> bytes:
    head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head


def rar(members: Iterable[tuple[str, Content]], *, solid: bool = False, links: Iterable[str] = ()) -> bytes:
    """A RAR 4 archive of stored members; `links` names those that are symbolic links, whose content is the target."""
    parts = [MARKER, _block(0x73, SOLID_ARCHIVE if solid else 0, bytes(6))]
    links, first = set(links), True
    for name, content in members:
        data = content or b""
        flags = IS_FOLDER if content is None else HAS_DATA
        if solid and content is not None:
            flags |= 0 if first else SOLID_FILE
            first = False
        stored = name.replace("/", "\\").encode()  # as RAR 4 does on every system; unar takes "/" for a letter
        mode = FOLDER_MODE if content is None else LINK_MODE if name in links else FILE_MODE
        fields = (len(data), len(data), UNIX, zlib.crc32(data), 0x21, VERSION, STORED, len(stored), mode)
        parts.append(_block(0x74, flags | HAS_DATA, struct.pack("<IIBIIBBHI", *fields) + stored) + data)
    return b"".join([*parts, _block(0x7B, 0x4000, b"")])


def zipped(members: Iterable[tuple[str, Content]]) -> bytes:
    """A zip archive of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members:
            if content is not None:
                file.writestr(name, content)
    return buffer.getvalue()


@functools.cache
def clip(seed: int = 0, ending: str = ".avi", frames: int = 6, size: tuple[int, int] = (24, 32)) -> bytes:
    """A real video: a bright square that moves over noise; MPEG-4 in AVI as in UCF101, MPEG-1 in .mpg as in UCF11."""
    random = np.random.default_rng(seed)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi" if ending == ".avi" else "mpeg") as container:
        stream = container.add_stream("mpeg4" if ending == ".avi" else "mpeg1video", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        noise = random.integers(0, 120, (*size, 3), dtype=np.uint8)
        for index in range(frames):
            image = noise.copy()
            image[6:14, (2 + 3 * index) % size[1] :][:, :8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def ucf101(classes: dict[str, int], groups: int = 3) -> list[tuple[str, Content]]:
    """UCF-101/Class/v_Class_gNN_cNN.avi, `classes[name]` clips each, dealt over `groups` groups."""
    members: list[tuple[str, Content]] = [("UCF-101", None)]
    for number, (name, count) in enumerate(classes.items()):
        members.append((f"UCF-101/{name}", None))
        for index in range(count):
            group, take = index % groups + 1, index // groups + 1
            members.append((f"UCF-101/{name}/v_{name}_g{group:02}_c{take:02}.avi", clip(number)))
    return members


def ucf101_lists(clips: Iterable[str], classes: list[str], test_group: str = "_g01_") -> list[tuple[str, Content]]:
    """ucfTrainTestlist/*.txt, three times the same split: the clips of `test_group` are the test part."""
    numbers = "".join(f"{n} {name}\r\n" for n, name in enumerate(classes, 1))
    members: list[tuple[str, Content]] = [("ucfTrainTestlist/classInd.txt", numbers.encode())]
    clips = sorted(clips)
    train = "".join(f"{c} {classes.index(c.split('/')[0]) + 1}\r\n" for c in clips if test_group not in c)
    test = "".join(f"{c}\r\n" for c in clips if test_group in c)
    for number in (1, 2, 3):
        members.append((f"ucfTrainTestlist/trainlist{number:02}.txt", train.encode()))
        members.append((f"ucfTrainTestlist/testlist{number:02}.txt", test.encode()))
    return members


def ucf11(classes: dict[str, int], groups: int = 3) -> list[tuple[str, Content]]:
    """UCF11_updated_mpg/class/v_NAME_NN/v_NAME_NN_NN.mpg beside the annotation folders that the archive has, too."""
    members: list[tuple[str, Content]] = []
    for number, (name, count) in enumerate(classes.items()):
        short = {"basketball": "shooting", "biking": "biking"}.get(name, name)
        members.append((f"UCF11_updated_mpg/{name}/Annotation/v_{short}_01_01.xgtf", b"<viper/>"))
        for index in range(count):
            group, take = index % groups + 1, index // groups + 1
            place = f"UCF11_updated_mpg/{name}/v_{short}_{group:02}/v_{short}_{group:02}_{take:02}.mpg"
            members.append((place, clip(number, ".mpg")))
    return members


def hmdb51(classes: dict[str, int], groups: int = 3) -> list[tuple[str, Content]]:
    """The outer archive's members: one RAR file for each class, each with class/SOURCE_class_..._N.avi."""
    outer: list[tuple[str, Content]] = []
    for number, (name, count) in enumerate(classes.items()):
        inner: list[tuple[str, Content]] = [(name, None)]
        for index in range(count):
            source, take = f"Film#{index % groups}_(cut)", index // groups
            inner.append((f"{name}/{source}_{name}_u_nm_np1_fr_med_{take}.avi", clip(number)))
        outer.append((f"{name}.rar", rar(inner)))
    return outer


def hmdb51_lists(classes: dict[str, int], groups: int = 3) -> list[tuple[str, Content]]:
    """testTrainMulti_7030_splits/CLASS_test_splitN.txt: source 0 is test, the last one unused, the others train."""
    members: list[tuple[str, Content]] = []
    for name, count in classes.items():
        lines = []
        for index in range(count):
            source, take = index % groups, index // groups
            subset = 2 if source == 0 else 0 if source == groups - 1 else 1
            lines.append(f"Film#{source}_(cut)_{name}_u_nm_np1_fr_med_{take}.avi {subset} \n")
        for number in (1, 2, 3):
            place = f"testTrainMulti_7030_splits/{name}_test_split{number}.txt"
            members.append((place, "".join(lines).encode()))
    return members


def write(path: Path, data: bytes) -> Path:
    """Write `data` to `path`, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
