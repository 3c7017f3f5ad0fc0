"""What users are meant to see in one line: what they gave that is wrong, and what their machine has no room for."""

import errno
from unicodedata import category


class InputError(ValueError):
    """Something the user gave is wrong: one line that says what, where, and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """

    def __init__(self, message: object):
        # One line whatever the names in it hold, and nothing in it that a terminal would obey.
        super().__init__(printable(" ".join(str(message).split())))


def printable(text: str) -> str:
    """`text` with everything that is not shown (ends of lines, escape sequences, marks that turn the direction of
    writing, halves of characters) written out, as `\\x1b` or `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def of_machine(error: BaseException) -> bool:
    """Whether a disk is full, damaged or read-only. That is no property of a run, which is made when it is mended."""
    known = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
    return isinstance(error, OSError) and error.errno in known


def reason_of(error: BaseException) -> str:
    """One line for the record of a failed run."""
    if isinstance(error, SystemExit):
        return f"the method called sys.exit({error.code})"
    text = " ".join(str(error).split())[:300]
    if isinstance(error, InputError):
        return text
    if isinstance(error, MemoryError) or any(words in text.lower() for words in ("out of memory", "allocate memory")):
        return f"out of memory: {text or type(error).__name__}"
    return f"{type(error).__name__}: {text}"
