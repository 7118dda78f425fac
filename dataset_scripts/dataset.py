"""What a build leaves: shards, folds, what was skipped, a summary, and the card of all corpora."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import sklearn.model_selection  # noqa: F401 # `folds` does when it is called

from dataset_scripts.card import (
    FOLDS,
    SKIPPED_FILE,
    SUMMARY_FILE,
    render,
    summaries,
    summarise,
)
from dataset_scripts.corpus import Corpus, Skipped
from dataset_scripts.folds import digest, fold_table
from dataset_scripts.parts import Contents, Part, read_parts
from dataset_scripts.recordings import Row, repetitions
from dataset_scripts.shards import plan_shards, write_shard
from ser_generalize.files import remove, staged

WRITERS = 2  # of shards; Parquet is written without Python's lock, and more find the disk busy


def write_dataset(
    corpus: Corpus, parts: Sequence[Part], unusable: list[Skipped], source: Path, out: Path
) -> tuple[int, list[Skipped]]:
    """Write all that a build leaves in `out`, from its parts.

    Returns the number of clips, and what was skipped: `unusable` and more. Where that is all,
    nothing is written.
    """
    found = _select(parts, read_parts(parts), unusable)
    if found.clips:
        _write(corpus, found, source, out)
    return len(found.clips), found.skipped


@dataclass(frozen=True)
class Selection:
    """What goes into a dataset, and what does not."""

    clips: list[Row]  # without their audio
    parts: list[tuple[Path, int]]  # files with the audio, and their numbers of rows
    sizes: list[int | None]  # bytes of the audio of all their rows, None of those left out
    skipped: list[Skipped]


def _select(parts: Sequence[Part], contents: Contents, unusable: list[Skipped]) -> Selection:
    reasons = repetitions(contents.rows)
    repeated = [Skipped(contents.paths[row], reason) for row, reason in reasons.items()]
    return Selection(
        [row for position, row in enumerate(contents.rows) if position not in reasons],
        [(part.target, count) for part, count in zip(parts, contents.counts, strict=True)],
        [None if row in reasons else size for row, size in enumerate(contents.sizes)],
        unusable + contents.skipped + repeated,
    )


def _write(corpus: Corpus, found: Selection, source: Path, out: Path) -> None:
    fold_file = out / FOLDS / f"{corpus.name}.parquet"
    # Card, shards and folds are complete on disk before any of them replaces what is there.
    with ExitStack() as stack:
        card = stack.enter_context(staged(out / "README.md"))
        folder = stack.enter_context(staged(out / corpus.name))
        folder.mkdir()
        threads = ThreadPoolExecutor(WRITERS)
        stack.callback(threads.shutdown, cancel_futures=True)
        shards = plan_shards(corpus.name, found.parts, found.sizes, folder)
        writing = threads.map(write_shard, shards)  # while folds are made of what is in memory
        folds = fold_table(found.clips)
        summary = summarise(corpus, found.clips, len(found.skipped)) | {"folds": digest(folds)}
        (folder / SKIPPED_FILE).write_text(_skipped_table(found.skipped, source), encoding="utf-8")
        (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        if folds.num_rows:
            pq.write_table(folds, stack.enter_context(staged(fold_file)))
        built = summaries(out, but=corpus.name) | {corpus.name: summary}
        card.write_text(render([built[name] for name in sorted(built)]), encoding="utf-8")
        list(writing)  # raises what a thread did
    if not folds.num_rows:
        remove(fold_file)


def _skipped_table(skipped: Sequence[Skipped], source: Path) -> str:
    lines = [f"{item.path.relative_to(source).as_posix()}\t{item.reason}" for item in skipped]
    return "\n".join(["path\treason", *sorted(lines)]) + "\n"
