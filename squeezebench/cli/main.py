"""The command line: what all commands share. Each command imports what it needs when it runs."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from typing import NoReturn

from squeezebench import __version__
from squeezebench.base.errors import InputError, of_machine, printable, shortened
from squeezebench.base.suggestions import near_matches
from squeezebench.cli import board, pipeline, results, single
from squeezebench.cli.data import add_commands as add_data_commands
from squeezebench.cli.log_file import copied_to

BAD_INPUT = 2
UNKNOWN = re.compile(r"argument (command|action): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)  # argparse's
NAMED = r"[\w-]+"


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Wrong input prints one line and returns 2."""
    words = sys.argv[1:] if arguments is None else arguments
    if empty := _empty(words):
        print(f"squeezebench: {empty}", file=sys.stderr)
        return BAD_INPUT
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages for large tensors; before its import
    try:
        options = _parser().parse_args(words)
    except InputError as error:
        print(f"squeezebench: {error}", file=sys.stderr)
        return BAD_INPUT
    with copied_to(getattr(options, "log", None)):
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        return _status(options)


def _empty(words: list[str]) -> str:
    """What is wrong with an empty argument, as a shell makes it of an unset variable: a path would be the folder that
    the command is called in. No argument of any command may be empty."""
    for before, word in zip(["", *words], words, strict=False):
        if not word:
            return f"{before if before.startswith('--') else 'an argument'}: is empty; give a value"
        if word.startswith("--") and word.endswith("="):
            return f"{word[:-1]}: is empty; give a value"
    return ""


def _status(options: argparse.Namespace) -> int:
    """Run the command; an error is one line and a status."""
    try:
        status = options.command(options) or 0
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"squeezebench: {error}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None and not of_machine(error):
            raise
        print(shortened(printable(f"squeezebench: {error.filename or 'a file'}: {error.strerror}")), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("squeezebench: interrupted; finished runs are kept, call again to go on", file=sys.stderr)
        return 130


class _Once(argparse.Action):
    """Stores a value as argparse does, and refuses a second one, of which the first would be lost without a word."""

    given = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values, option_string=None):
        if self.given:
            raise InputError(f"{option_string}: is given twice")
        self.given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **about) -> None:
        super().__init__(**about)
        self.register("action", None, _Once)

    def error(self, message: str) -> NoReturn:
        """Quote no more of the arguments than an InputError does; suggest a command that is near."""
        if unknown := UNKNOWN.fullmatch(message):
            noun, name, known = unknown.groups()
            message = f"unknown {noun} {name!r}; {near_matches(name, re.findall(NAMED, known))}"
        super().error(shortened(printable(message)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="squeezebench", description="A benchmark of compressed RNNs")
    parser.add_argument("--version", action="version", version=f"squeezebench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, function, text: str, *, plugins: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        if plugins:
            command.add_argument("--plugins", action="append", default=[], help="plugin file, or folder of them")
        return command

    single.add_commands(add)
    pipeline.add_commands(add)
    data = commands.add_parser("data", help="fetch, check and prepare the video data sets")
    add_data_commands(data.add_subparsers(required=True, metavar="action"))
    results.add_commands(add)
    board.add_commands(add)
    return parser
