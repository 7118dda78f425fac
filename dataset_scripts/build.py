"""From a raw corpus tree to Parquet and a card, which plain `datasets.load_dataset` reads."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Thread

from dataset_scripts.card import FOLDS, SKIPPED_FILE, SUMMARY_FILE, counted
from dataset_scripts.corpus import Corpus, Skipped, as_found, corpus_names, load_script
from dataset_scripts.parts import Part, finish_parts, plan_parts
from dataset_scripts.tree import parse_tree
from dataset_scripts.workers import add_workers, processes
from ser_generalize.command import CommandParser, run_command
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.files import remove, writing

ALL = "all"


def build(name: str, source: Path, out: Path, workers: int | None = 1) -> tuple[int, list[Skipped]]:
    """Build one corpus into `out`; return the number of clips and what was skipped.

    Writes `out/<name>/*.parquet`, `skipped.tsv`, the corpus's folds `out/folds/<name>.parquet` and
    the card `out/README.md`, which then has one config per corpus built so far. The bytes depend on
    the raw corpus alone, not on `workers` (processes) or on where it lies. An earlier build of the
    same corpus is replaced; a build that fails leaves it as it was. One that was interrupted or
    killed leaves what it finished in the hidden folder `out/.<name>.parts`, and the next goes on
    from there.

    Raises InputError for a source folder that is missing, empty, of another corpus, or without one
    usable clip, and for an `out` that cannot be written or where something else would be replaced.
    """
    corpus, parse = load_script(name)
    _check_replaceable(out, out / name, source)
    corpus = as_found(corpus, source)
    staging = out / f".{name}.parts"
    try:
        with processes(workers) as spread:
            clips, unusable = parse_tree(corpus, parse, source)
            with writing(f"cannot write {out}"):
                staging.mkdir(parents=True, exist_ok=True)
                parts = plan_parts(corpus, clips, source, staging)
                _drop_others(staging, parts)
                # Its libraries take a second to import: here while workers read, and never in a
                # worker, which imports this module too.
                libraries = ("dataset_scripts.dataset",)
                Thread(target=import_module, args=libraries, daemon=True).start()
                finish_parts(parts, spread, f"build {name}")
                from dataset_scripts.dataset import write_dataset

                clips_built, skipped = write_dataset(corpus, parts, unusable, source, out)
                remove(staging)
    finally:
        for folder in (out / FOLDS, out):  # a refused build leaves no empty folder
            with contextlib.suppress(OSError):
                folder.rmdir()
    if not clips_built:
        raise InputError(_nothing_usable(corpus, source, skipped))
    return clips_built, skipped


def _check_replaceable(out: Path, target: Path, source: Path) -> None:
    """Refuse an output folder where the raw corpus, or anything but a build, would be deleted."""
    for folder in (out, target):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give another folder with --out")
    if source.resolve() == out.resolve():
        raise InputError(f"--out {out} is --source: a dataset is no part of the raw corpus")
    if source.resolve().is_relative_to(target.resolve()):
        raise InputError(f"--out {out} would replace --source {source}; give another folder")
    if target.is_dir() and any(target.iterdir()) and not (target / SUMMARY_FILE).is_file():
        raise InputError(f"{target} is no earlier build and would be replaced; give another --out")


def _drop_others(staging: Path, parts: Sequence[Part]) -> None:
    """Remove what a killed build left of sources that are different now."""
    wanted = {part.target for part in parts}
    for path in staging.iterdir():
        if path not in wanted:
            remove(path)


def _nothing_usable(corpus: Corpus, source: Path, skipped: Sequence[Skipped]) -> str:
    reasons = listing((f"{item.path.name}: {item.reason}" for item in skipped), limit=3)
    files = counted(len(skipped), "file")
    return f"{corpus.title}: of {files} in {source} none is usable ({reasons})"


def build_all(
    sources: Mapping[str, Path], out: Path, workers: int | None, fetch: bool = False
) -> Iterator[tuple[str, int, list[Skipped]]]:
    """Build several corpora, name by name; yield each name with what `build` returns.

    With `fetch`, what may be downloaded is downloaded first. Raises InputError after the last one
    if some could not be built; the others are.
    """
    failed: dict[str, str] = {}
    for name, source in sources.items():
        try:
            if fetch:
                _fetch(name, source, out)
            yield name, *build(name, source, out, workers)
        except (InputError, OSError) as error:
            if len(sources) == 1:
                raise
            failed[name] = str(error)
    if failed:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
        raise InputError(f"{len(failed)} of {len(sources)} corpora were not built: {reasons}")


def _fetch(name: str, source: Path, out: Path) -> None:
    """Download a corpus; one that has a form to sign is taken as it lies in its folder."""
    from dataset_scripts.download import download  # its clients are of no use to workers

    corpus, _ = load_script(name)
    _check_replaceable(out, out / name, source)
    if corpus.archives or not source.is_dir():
        download(corpus, source)


def _sources(corpora: Sequence[str], source: Path, fetch: bool) -> dict[str, Path]:
    """Return the raw tree of each corpus; those of `all` that are not there are named and left.

    With `fetch`, what may be downloaded need not be there.
    """
    for name in corpora:
        one_of("corpus", name, [*corpus_names(), ALL])
    if len(corpora) == 1 and ALL not in corpora:
        return {corpora[0]: source}
    named = corpus_names() if ALL in corpora else corpora
    trees = {name: source / name for name in named}
    if ALL not in corpora:
        return trees
    found = {
        name: tree
        for name, tree in trees.items()
        if tree.is_dir() or (fetch and load_script(name)[0].archives)
    }
    if not found:
        raise InputError(
            f"--source {source} has no folder of a corpus; `all` looks for {listing(named, 99)}"
        )
    if absent := trees.keys() - found:
        print(f"not below {source}, left out: {', '.join(sorted(absent))}")
    return found


def main(argv: Sequence[str]) -> None:
    """Parse the command line and build."""
    parser = CommandParser(
        "python -m dataset_scripts.build",
        "Build raw corpora into Parquet shards and a dataset card. A build that was interrupted "
        "goes on when the same command is run again.",
        "python -m dataset_scripts.build ravdess --source ~/corpora/ravdess --out data",
    )
    parser.add_argument("corpus", nargs="+",
                        help=f"one or more of: {', '.join(corpus_names())}; or `all`")  # fmt: skip
    parser.add_argument("--source", type=Path, required=True,
                        help="folder of the raw corpus; of several, a folder with one sub-folder "
                        "per corpus, called as above")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write or extend")
    parser.add_argument("--download", action="store_true",
                        help="fetch what is open to anybody into --source first")  # fmt: skip
    add_workers(parser)
    arguments = parser.parse_args(argv)
    fetch = arguments.download
    sources = _sources(arguments.corpus, arguments.source, fetch)
    for name, clips, skipped in build_all(sources, arguments.out, arguments.workers, fetch):
        _report(name, clips, skipped, arguments.out / name)


def _report(name: str, clips: int, skipped: Sequence[Skipped], folder: Path) -> None:
    print(f"{name}: {counted(clips, 'clip')} in {folder}")
    if skipped:
        examples = listing((f"{item.path.name} ({item.reason})" for item in skipped), limit=3)
        files = counted(len(skipped), "file")
        print(f"{name}: {files} skipped, listed in {folder / SKIPPED_FILE}: {examples}")
    if fewer := _fewer_than_expected(folder):
        print(f"{name}: {fewer}")


def _fewer_than_expected(folder: Path) -> str | None:
    """Return how a build falls short of a complete copy, None if it does not or none exists."""
    summary = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    fewer = [label for label in summary["labels"] if label["clips"] < label["expected"]]
    if not fewer or summary["elicitation"] == "synthetic":
        return None
    found, complete = (
        sum(label[what] for label in summary["labels"]) for what in ("clips", "expected")
    )
    labels = (f"{label['native']} {label['clips']:,} of {label['expected']:,}" for label in fewer)
    return f"{found:,} of the {complete:,} clips of a complete copy; fewer are {listing(labels)}"


if __name__ == "__main__":
    sys.exit(run_command("build", main, sys.argv[1:]))
