"""Where training starts: from scratch, from the dense pretraining, or from the weights in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Tag, model_validator

from squeezebench.base.contents import digest_of_content
from squeezebench.schema.settings import Settings, setting


class FileStart(Settings):
    """A dense network that somebody has trained, as a file of its weights (see nn/weights_file.py).

    The digest is computed when the experiment is planned, becomes part of the settings, and is what a run compares the
    file with: a record names the weights, not only the place where they were.
    """

    file: str = setting(..., "path of the weights", min_length=1)
    sha256: str = setting(..., "of the whole file; computed if it is not given", pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _with_digest(cls, value: Any) -> Any:
        if not (isinstance(value, dict) and isinstance(value.get("file"), str)) or "sha256" in value:
            return value
        path = Path(value["file"]).expanduser()
        if not path.is_file():
            raise ValueError(f"{path}: no such file")
        return value | {"sha256": digest_of_content(path)}


def without_place(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings with a `start` file named by its digest alone: where it lies plays no part."""
    start = settings.get("start")
    digest = start.get("sha256") if isinstance(start, Mapping) else None
    return {**settings, "start": {"sha256": digest}} if digest else dict(settings)


Word = TypeVar("Word")


def _kind(value: Any) -> str:
    return "weights" if isinstance(value, dict | FileStart) else "word"


OrFile = Annotated[Annotated[Word, Tag("word")] | Annotated[FileStart, Tag("weights")], Discriminator(_kind)]
DenseStart = OrFile[Literal["dense"]]  # of a method that changes a trained network
AnyStart = OrFile[Literal["scratch", "dense"]]
OwnStart = OrFile[Literal["scratch"]]  # of the dense network itself
