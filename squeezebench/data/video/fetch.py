"""A video data set from its official archives to a folder of clips."""

from __future__ import annotations

from pathlib import Path


def fetch_dataset(name: str, folder: Path | None = None, *, mirror: str | None = None) -> Path:
    """Archives -> FOLDER/archives, clips -> FOLDER/clips, lists -> FOLDER/splits; what is there is not made again."""
    from squeezebench.data.archives import unpack
    from squeezebench.data.download import fetch
    from squeezebench.data.video.catalogue import video_set
    from squeezebench.data.video.clips import dataset_folder

    entry = video_set(name)
    folder = dataset_folder(name) if folder is None else folder
    for archive in entry.archives:
        if not (folder / archive.folder).exists():
            path = fetch(archive.address, folder / "archives" / archive.file, archive.digest, mirror=mirror)
            unpack(path, folder / archive.folder, nested=archive.nested)
    return folder
