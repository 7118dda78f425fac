"""How every command of the project parses its arguments, fails and exits."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from ser_generalize.errors import InputError

PATIENCE = 20.0  # seconds


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line, and whose help ends with an example."""

    def __init__(self, prog: str, description: str, example: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise an InputError, where argparse would print its usage and exit."""
        raise InputError(f"{message} (see `{self.prog} --help`)")


def run_command(name: str, main: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Run `main(argv)` and return the exit code: 0, 2 for an expected mistake, 130 for Ctrl-C."""
    first = is_first_process()
    try:
        main(argv)
    except (InputError, OSError) as error:
        if first:
            print(f"{name}: {_one_line(error)}", file=sys.stderr)
        else:  # a launcher ends all processes with the first that fails: let the other one speak
            time.sleep(PATIENCE)
        return 2
    except KeyboardInterrupt:
        if first:
            print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return 0


def is_first_process() -> bool:
    """Return whether to speak: of a launch one process does, not every one."""
    return os.environ.get("RANK", "0") == "0"


def _one_line(error: InputError | OSError) -> str:
    """Return an error's line; what the disk or the system refuses is an expected mistake too."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read or written ({error.strerror})"
    return " ".join(str(error).split())


def progress_bar(total: int | None, what: str, unit: str, show: bool = True) -> "tqdm[Any]":
    """Return a progress bar with rate and time left; in a log file it reports every 10 s only."""
    if not show:
        return tqdm(disable=True)
    interval = 0.1 if sys.stderr.isatty() else 10.0
    scale = unit == "B"  # bytes are shown as MB and GB
    # TQDM_DISABLE hides it.
    return tqdm(total=total, desc=what, unit=unit, unit_scale=scale, mininterval=interval)
