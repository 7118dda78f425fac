"""`ser-generalize push`: an embedding store as a dataset of the Hub, where terms allow it.

Embeddings are made of recordings, so the terms of every corpus hold for them as for its audio.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataset_scripts.card import SIZES, hub_licence
from dataset_scripts.corpus import Corpus, corpus_names, load_script
from ser_generalize import __version__
from ser_generalize.command import CommandParser, run_command
from ser_generalize.embeddings import CARD, MANIFEST, StoreKey, read_manifest, store_files
from ser_generalize.errors import InputError
from ser_generalize.hub import Visibility, check_redistribution, is_hub_id, render_card
from ser_generalize.repository import Content, Repository


def push_store(store: Path, repo: str, visibility: Visibility = "public") -> list[str]:
    """Publish a finished store as the dataset ORG/NAME; return the paths sent or deleted.

    What is there already is not sent again, and the store is there whole or as it was before.
    Raises InputError where a corpus may not go into a repository that visible.
    """
    if not is_hub_id(repo):
        raise InputError(f"{repo} is no id of the Hub; give ORG/NAME")
    key, manifest = read_manifest(store)
    sheets = {name: _sheet(name, held) for name, held in manifest["corpora"].items()}
    terms = [(name, sheet.redistribution if sheet else "private") for name, sheet in sheets.items()]
    check_redistribution(repo, visibility, terms)
    files: dict[str, Content] = {path.name: path for path in store_files(store)}
    files[CARD] = _card(key, manifest, sheets).encode()
    repository = Repository(repo, "dataset", visibility)
    repository.check()
    repository.open()
    contents = repository.contents()
    message = f"Embeddings of {manifest['clips']} clips by {key.encoder}"
    return repository.replace(contents, tuple(_shards_there(contents.files)), files, message)


def _sheet(corpus: str, held: Mapping[str, Any]) -> Corpus | None:
    """Return the data sheet of a corpus whose clips are what it describes, None where unknown."""
    if corpus not in corpus_names():
        return None
    sheet, _ = load_script(corpus)
    return sheet if held["licences"] == [sheet.licence] else None


def _shards_there(paths: Mapping[str, Any]) -> list[str]:
    """Return the shards of the Hub: those that the store does not have are deleted there."""
    return [path for path in paths if path.endswith(".arrow")]


def _card(key: StoreKey, manifest: Mapping[str, Any], sheets: Mapping[str, Corpus | None]) -> str:
    licences = {name for held in manifest["corpora"].values() for name in held["licences"]}
    return render_card(
        "store.md.jinja",
        key=key,
        corpora=manifest["corpora"],
        sheets=sheets,
        clips=manifest["clips"],
        skipped=len(manifest["skipped"]),
        licences=sorted({hub_licence(name) for name in licences}),
        size_category=next((n for limit, n in SIZES if manifest["clips"] < limit), "1M<n<10M"),
        version=__version__,
    )


def parser() -> CommandParser:
    """Return the command's parser."""
    command = CommandParser(
        "ser-generalize push",
        "Publish an embedding store on the Hub, where the terms of its corpora allow it.",
        "ser-generalize push embeddings ORG/NAME --gated",
    )
    command.add_argument("path", type=Path, help="store made by `ser-generalize embed`")
    command.add_argument("repo", metavar="ORG/NAME", help="dataset to make or to bring up to date")
    seen = command.add_mutually_exclusive_group()
    seen.add_argument("--gated", action="store_true", help="users accept the terms first")
    seen.add_argument("--private", action="store_true", help="only members of ORG see it")
    return command


def main(argv: Sequence[str]) -> None:
    """Parse the command line and push."""
    arguments = parser().parse_args(argv)
    if not (arguments.path / MANIFEST).is_file():
        raise InputError(
            f"{arguments.path} is no finished embedding store (no {MANIFEST}); give a folder made "
            "by `ser-generalize embed`"
        )
    visibility: Visibility = (
        "private" if arguments.private else "gated" if arguments.gated else "public"
    )
    sent = push_store(arguments.path, arguments.repo, visibility)
    done = f"{len(sent)} files sent or deleted" if sent else "nothing was new"
    print(f"push: {arguments.path} is the dataset {arguments.repo} ({visibility}), {done}")


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize push", main, sys.argv[1:]))
