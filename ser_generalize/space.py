"""`ser-generalize space`: the page to try checkpoints on, here or as a Space of the Hub.

The page itself lies in the folder `space`, beside this package in a checkout as in an installation.
"""

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ser_generalize import __version__
from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError
from ser_generalize.hub import Visibility, is_hub_id, render_card
from ser_generalize.repository import Content, Repository

BESIDE = Path(__file__).parents[1]
PAGE = BESIDE / "space"
PACKAGES = ("ser_generalize", "dataset_scripts", "hub_cards")  # go beside app.py: no release needed
KINDS = {".py", ".jinja", ".md", ".txt", ".css", ".typed"}
CARD, SETTINGS = "README.md", "settings.json"


def push_space(
    repo: str,
    checkpoints: Sequence[str] = (),
    organisation: str | None = None,
    benchmark: str | None = None,
    visibility: Visibility = "public",
) -> list[str]:
    """Publish the page as the Space ORG/NAME; return the paths that were sent or deleted.

    It offers `checkpoints`, ids of the Hub, and all models of `organisation` (by default ORG) that
    carry the tag. Raises InputError where one is a local folder, or the Hub refuses.
    """
    if not is_hub_id(repo):
        raise InputError(f"{repo} is no id of the Hub; give ORG/NAME")
    for name in (*checkpoints, *filter(None, [benchmark])):
        if not is_hub_id(name) or Path(name).exists():
            raise InputError(
                f"{name} is a folder of this machine, or nothing, and a Space reads from the Hub: "
                f"publish it with `ser-generalize push {name} ORG/NAME`, and give that id"
            )
    settings = {
        "checkpoints": list(checkpoints),
        "organisation": organisation or repo.partition("/")[0],
        "benchmark": benchmark,
    }
    repository = Repository(repo, "space", visibility)
    repository.check()
    repository.open()
    contents = repository.contents()
    ours = tuple(path for path in contents.files if path != ".gitattributes")
    return repository.replace(contents, ours, _files(settings), f"ser-generalize {__version__}")


def _files(settings: dict[str, Any]) -> dict[str, Content]:
    """Return what a Space holds: the page, the packages beside it, its card and its settings."""
    files: dict[str, Content] = {path.relative_to(PAGE).as_posix(): path for path in _sources(PAGE)}
    for package in PACKAGES:
        folder = BESIDE / package
        files |= {path.relative_to(BESIDE).as_posix(): path for path in _sources(folder)}
    files[SETTINGS] = f"{json.dumps(settings, indent=1)}\n".encode()
    files[CARD] = render_card(
        "space.md.jinja",
        gradio=version("gradio"),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        models=settings["checkpoints"],
        organisation=settings["organisation"],
        benchmark=settings["benchmark"],
        version=__version__,
    ).encode()
    return files


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the files of a package, without what running it left there."""
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix in KINDS)


def parser() -> CommandParser:
    """Return the command's parser."""
    command = CommandParser(
        "ser-generalize space",
        "Try checkpoints in a browser, on this machine; or publish that page as a Space.",
        "ser-generalize space --checkpoint runs/final/checkpoint",
    )
    add = command.add_argument
    add(
        "--checkpoint",
        nargs="+",
        default=[],
        metavar="C",
        help="folders that `train --final` made, or Hub ids; the first is shown first",
    )
    add(
        "--organisation",
        metavar="ORG",
        help="offer all public models of ORG with the tag ser-generalize (with --push: its ORG)",
    )
    add(
        "--benchmark",
        metavar="REPORT",
        help="the Benchmark tab: a folder that `benchmark` made, or the Hub id of one",
    )
    add("--host", help="address to listen at (default: 127.0.0.1, this machine alone)")
    add("--port", type=int, help="port (default: the first free one from 7860)")
    add("--push", metavar="ORG/NAME", help="publish it as this Space, and do not run it here")
    add("--private", action="store_true", help="for --push: only members of ORG see it")
    return command


def main(argv: Sequence[str]) -> None:
    """Parse the command line; run or publish the page."""
    arguments = parser().parse_args(argv)
    given = (arguments.checkpoint, arguments.organisation, arguments.benchmark)
    if arguments.push:
        visibility: Visibility = "private" if arguments.private else "public"
        sent = push_space(arguments.push, *given, visibility)
        done = f"{len(sent)} files sent or deleted" if sent else "nothing was new"
        print(f"space: the Space {arguments.push} ({visibility}), {done}")
        return
    if arguments.private:
        raise InputError("--private is for --push ORG/NAME")
    if not arguments.checkpoint and not arguments.organisation:
        raise InputError(
            "nothing to listen with: give --checkpoint RUN/checkpoint (`train --final` and `demo` "
            "make one) or --organisation ORG"
        )
    _page().serve(*given, host=arguments.host, port=arguments.port)


def _page() -> Any:
    """Import the page, whose modules find one another as they do in a Space."""
    try:
        importlib.import_module("gradio")
    except ModuleNotFoundError as error:
        raise InputError(
            "the page needs gradio: pip install -c constraints.txt 'ser-generalize[space]'"
        ) from error
    sys.path.insert(0, str(PAGE))
    return importlib.import_module("app")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize space", main, sys.argv[1:]))
