"""The door: `ser-generalize COMMAND ...`; a command's module is imported when it is asked for."""

import importlib
import sys
from collections.abc import Sequence

from ser_generalize import __version__
from ser_generalize.command import run_command
from ser_generalize.errors import one_of

COMMANDS = {
    "demo": "everything, on a fabricated corpus, in minutes, offline",
    "embed": "run every clip of a dataset through a frozen encoder",
    "train": "train and score a head on speakers it never heard",
    "benchmark": "the study: what it takes to generalise, part by part, in one report",
    "push": "publish a checkpoint, an embedding store or a report on the Hub",
    "predict": "say what a checkpoint hears in files, folders and recordings",
    "space": "try checkpoints in a browser, here or as a Space of the Hub",
    "report": "tables, intervals, figures and a page from finished runs",
}


def usage() -> str:
    """Return the text of `ser-generalize --help`."""
    lines = [f"  {name:<10}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ser-generalize COMMAND ...",
            "",
            "Speech emotion recognition that says how well it travels.",
            "",
            *lines,
            "",
            "`ser-generalize COMMAND --help` says more. Datasets are built by",
            "`python -m dataset_scripts.build --help`.",
            "",
            "example:",
            "  ser-generalize demo",
        ]
    )


def main() -> None:
    """Dispatch the command line and exit with the command's code."""
    argv = sys.argv[1:]
    if not argv or argv[0] in {"-h", "--help"}:
        print(usage())
    elif argv[0] in {"-V", "--version"}:
        print(f"ser-generalize {__version__}")
    else:
        sys.exit(_dispatch(argv))


def _dispatch(argv: Sequence[str]) -> int:
    name, *rest = argv
    prog = f"ser-generalize {name}" if name in COMMANDS else "ser-generalize"
    return run_command(prog, lambda given: _run(name, given), rest)


def _run(name: str, argv: Sequence[str]) -> None:
    module = one_of("command", name, COMMANDS)
    importlib.import_module(f"ser_generalize.{module}").main(argv)


if __name__ == "__main__":
    main()
