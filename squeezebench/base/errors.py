"""Errors that a user sees as one line: what they gave that is wrong, and what their machine has no room for."""

import errno
import re
from pathlib import Path
from unicodedata import category

LONGEST_QUOTE = 300  # characters of a quoted value that a message repeats
LONGEST_LINE = 1000  # characters of a message
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # numbers of errors that say that a disk has no room
_PLUGIN = re.compile(r"squeezebench_[a-z]+\.")  # names of the modules that base/plugins.py makes of files
_QUOTED = re.compile(rf"""'(?:[^'\\]|\\.){{{LONGEST_QUOTE},}}'|"(?:[^"\\]|\\.){{{LONGEST_QUOTE},}}\"""")


class InputError(ValueError):
    """Something the user gave is wrong: one line that says what, where, and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """

    def __init__(self, message: object):
        # One short line whatever the names in it contain, and nothing in it that a terminal would obey.
        super().__init__(shortened(printable(" ".join(str(message).split()))))


def shortened(line: str) -> str:
    """Return `line` with the middle of long quoted values, and of the line itself, replaced by their length."""
    return _cut(_QUOTED.sub(lambda quoted: _cut(quoted.group(), LONGEST_QUOTE), line), LONGEST_LINE)


def _cut(text: str, most: int) -> str:
    half = most // 2 - 20
    return text if len(text) <= most else f"{text[:half]} … ({len(text):,} characters) … {text[-half:]}"


def printable(text: str) -> str:
    """`text` with everything that is not shown (ends of lines, escape sequences, marks that turn the direction of
    writing, halves of characters) written out, as `\\x1b` or `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def of_machine(error: BaseException) -> bool:
    """Whether a disk is full, damaged or read-only. It says nothing of a run, which is made again if there is room."""
    return isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS, errno.EIO)


def first_line(error: BaseException) -> str:
    """What the system says of an error, else the first line of its message, else its type."""
    return (getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0])[:200]


def reason_of(error: BaseException, log: str = "") -> str:
    """One line for the record of a failed run, with the last line of a plugin's file that was running: `(mine.py:12)`.

    log: the file that has the traceback.
    """
    if isinstance(error, SystemExit):
        return f"the method called sys.exit({error.code})"
    text = " ".join(str(error).split())[:300]
    if isinstance(error, InputError):
        return text
    if isinstance(error, MemoryError) or any(words in text.lower() for words in ("out of memory", "allocate memory")):
        return f"out of memory: {text or type(error).__name__}"
    places = [place for place in (_in_plugin(error), log and f"traceback in {log}") if place]
    return f"{type(error).__name__}: {text}" + (f" ({'; '.join(places)})" if places else "")


def _in_plugin(error: BaseException) -> str:
    """`FILE:LINE`, where an error left the code of a plugin; empty if no plugin was running."""
    place, step = "", error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if _PLUGIN.match(step.tb_frame.f_globals.get("__name__") or ""):
            place = f"{Path(code.co_filename).name}:{step.tb_lineno}"
        step = step.tb_next
    return place
