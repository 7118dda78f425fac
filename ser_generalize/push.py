"""`ser-generalize push`: a checkpoint, an embedding store or a report to the Hub.

The first two are made of recordings, so the terms of every corpus hold for them as for its audio.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dataset_scripts.card import SIZES
from dataset_scripts.corpus import Corpus, corpus_names, load_script
from ser_generalize import __version__
from ser_generalize.benchmark.folder import RESULTS
from ser_generalize.benchmark.publish import push_report
from ser_generalize.command import CommandParser, run_command
from ser_generalize.embeddings import CARD, MANIFEST, StoreKey, read_manifest, store_files
from ser_generalize.errors import InputError
from ser_generalize.hub import (
    Visibility,
    add_visibility,
    check_redistribution,
    chosen_visibility,
    hub_licence,
    is_hub_id,
    render_card,
)
from ser_generalize.repository import Content, Repository
from ser_generalize.silent_clips import CLIPS, clips_without_audio


def push_store(
    store: Path, repo: str, visibility: Visibility = "public", dataset: str | None = None
) -> list[str]:
    """Publish a finished store as the dataset ORG/NAME; return the paths sent or deleted.

    With the `dataset` that it was made of, the repository also holds those clips without their
    audio, a config per corpus, so that others can train on it alone. What is there already is not
    sent again, and the store is there whole or as it was before. Raises InputError where a corpus
    may not go into a repository that visible, and where the dataset is not that of the store.
    """
    if not is_hub_id(repo):
        raise InputError(f"{repo} is no id of the Hub; give ORG/NAME")
    key, manifest = read_manifest(store)
    sheets = _check_terms(repo, visibility, manifest["corpora"])
    files: dict[str, Content] = {path.name: path for path in store_files(store)}
    clips = clips_without_audio(store, dataset) if dataset else {}
    files |= clips
    files[CARD] = _card(key, manifest, sheets, clips).encode()
    repository = Repository(repo, "dataset", visibility)
    repository.check()
    repository.open()
    contents = repository.contents()
    message = f"Embeddings of {manifest['clips']} clips by {key.encoder}"
    mine = (*_shards_there(contents.files), f"{CLIPS}/")
    return repository.replace(contents, mine, files, message)


def push_checkpoint(folder: Path, repo: str, visibility: Visibility = "public") -> list[str]:
    """Publish a checkpoint as the model ORG/NAME; return the paths sent or deleted.

    Its card then says how to load it from there. What else the repository holds stays, but for
    evaluation results of earlier pushes. Raises InputError as `push_store` does.
    """
    from ser_generalize.checkpoint import local_checkpoint, read_config  # torch takes seconds
    from ser_generalize.model_card import EVAL_RESULTS, PLACEHOLDER

    if not is_hub_id(repo):
        raise InputError(f"{repo} is no id of the Hub; give ORG/NAME")
    training = read_config(local_checkpoint(folder))["training"]
    _check_terms(repo, visibility, training["corpora"])
    paths = [*sorted(folder.glob("[!.]*")), folder / EVAL_RESULTS]
    files: dict[str, Content] = {
        path.relative_to(folder).as_posix(): path for path in paths if path.is_file()
    }
    files[CARD] = (folder / CARD).read_text("utf-8").replace(PLACEHOLDER, repo).encode()
    repository = Repository(repo, "model", visibility)
    repository.check()
    repository.open()
    message = f"{training['run']}, ser-generalize {training['version']}"
    return repository.replace(repository.contents(), (EVAL_RESULTS,), files, message)


def _check_terms(
    repo: str, visibility: Visibility, corpora: Mapping[str, Mapping[str, Any]]
) -> dict[str, Corpus | None]:
    """Return the corpora's data sheets; raise InputError where one may not be seen by so many."""
    sheets = {name: _sheet(name, held) for name, held in corpora.items()}
    terms = [(name, sheet.redistribution if sheet else "private") for name, sheet in sheets.items()]
    check_redistribution(repo, visibility, terms)
    return sheets


def _sheet(corpus: str, held: Mapping[str, Any]) -> Corpus | None:
    """Return the data sheet of a corpus whose clips are what it describes, None where unknown."""
    if corpus not in corpus_names():
        return None
    sheet, _ = load_script(corpus)
    return sheet if held["licences"] == [sheet.licence] else None


def _shards_there(paths: Mapping[str, Any]) -> list[str]:
    """Return the shards of the Hub: those that the store does not have are deleted there."""
    return [path for path in paths if path.endswith(".arrow")]


def _card(
    key: StoreKey,
    manifest: Mapping[str, Any],
    sheets: Mapping[str, Corpus | None],
    clips: Iterable[str],
) -> str:
    licences = {name for held in manifest["corpora"].values() for name in held["licences"]}
    return render_card(
        "store.md.jinja",
        key=key,
        corpora=manifest["corpora"],
        sheets=sheets,
        labelled=[Path(path).stem for path in clips],
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
        "Publish a checkpoint, an embedding store or a study's report on the Hub, where the terms "
        "of its corpora allow it.",
        "ser-generalize push runs/final/checkpoint ORG/NAME --gated",
    )
    command.add_argument(
        "path",
        type=Path,
        help="checkpoint of `train --final`, store of `embed`, or report of `benchmark`",
    )
    command.add_argument(
        "repo", metavar="ORG/NAME", help="model or dataset to make or bring up to date"
    )
    command.add_argument(
        "--dataset", metavar="ID_OR_DIR", help="of a store: publish its clips' labels as well"
    )
    add_visibility(command)
    return command


def main(argv: Sequence[str]) -> None:
    """Parse the command line and push."""
    arguments = parser().parse_args(argv)
    visibility = chosen_visibility(arguments)
    kind, push = _kind(arguments.path)
    if arguments.dataset:
        if push is not push_store:
            raise InputError(f"--dataset is for an embedding store; {arguments.path} is a {kind}")
        push = partial(push_store, dataset=arguments.dataset)
    sent = push(arguments.path, arguments.repo, visibility)
    done = f"{len(sent)} files sent or deleted" if sent else "nothing was new"
    print(f"push: {arguments.path} is the {kind} {arguments.repo} ({visibility}), {done}")


def _kind(path: Path) -> tuple[str, Callable[[Path, str, Visibility], list[str]]]:
    """Return what a folder becomes on the Hub, and how it gets there."""
    if (path / MANIFEST).is_file():
        return "dataset", push_store
    if (path / "config.json").is_file():  # a run folder has one too, and is told what to give
        return "model", push_checkpoint
    if (path / RESULTS).is_file():
        return "dataset", push_report
    raise InputError(
        f"{path} is no finished embedding store (no {MANIFEST}) of `ser-generalize embed`, no "
        "checkpoint (no config.json) of `ser-generalize train --final` and no report (no "
        f"{RESULTS}) of `ser-generalize benchmark`"
    )


if __name__ == "__main__":
    sys.exit(run_command("ser-generalize push", main, sys.argv[1:]))
