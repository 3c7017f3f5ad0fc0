"""`board.json`: which submissions a board shows, and the digest of every file of its site."""

from __future__ import annotations

from squeezebench.schema.stored import SCHEMA_VERSION, Part, SchemaVersion

BOARD = "board.json"


class Board(Part):
    """A site, and what it takes to build it again to the same bytes."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    version: str = ""  # under which it is frozen; "": it is not
    squeezebench: str  # that built it
    submissions: dict[str, str]  # name -> digest of its files, in the order of the board
    files: dict[str, str]  # of the site, beside this one: path -> SHA-256
