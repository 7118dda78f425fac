"""From a raw corpus tree to Parquet and a card, which plain `datasets.load_dataset` reads."""

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_scripts.card import SUMMARY_FILE, counted, render, summaries, summarise
from dataset_scripts.corpus import (
    Corpus,
    Parse,
    Skipped,
    as_found,
    audio_files,
    corpus_names,
    load_script,
)
from ser_generalize.audio import BadAudioError, encode_flac, pcm_sha256, read_pcm
from ser_generalize.command import CommandParser, progress_bar, run_command
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.files import staged, writing
from ser_generalize.labels import EMOTIONS, FIVE, FOUR, in_label_set
from ser_generalize.schema import SAMPLING_RATE, SourceClip, clip_features

SHARD_BYTES = 450_000_000
# The Hub's viewer reads one row group at a time; a hundred short clips are a few megabytes.
ROW_GROUP = 100
SKIPPED_FILE = "skipped.tsv"

Row = dict[str, Any]
Found = tuple[Path, Row]


def build(name: str, source: Path, out: Path) -> tuple[int, list[Skipped]]:
    """Build one corpus into `out`; return the number of clips and what was skipped.

    Writes `out/<name>/*.parquet`, `skipped.tsv` and the card `out/README.md`, which then has one
    config per corpus built so far. An earlier build of the same corpus is replaced; a build that
    fails leaves `out` as it was.

    Raises InputError for a source folder that is missing, empty, of another corpus, or without one
    usable clip, and for an `out` that cannot be written or where something else would be replaced.
    """
    corpus, parse = load_script(name)
    _check_replaceable(out, out / name, source)
    corpus = as_found(corpus, source)
    try:
        with writing(f"cannot write {out}"):  # an `out` that cannot be is said before the work
            out.mkdir(parents=True, exist_ok=True)
        rows, skipped = _collect(corpus, parse, source)
        with writing(f"cannot write {out}"):
            _write(corpus, rows, skipped, source, out)
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()  # succeeds on an empty folder only, which is what a failed build leaves
    return len(rows), skipped


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


def _collect(corpus: Corpus, parse: Parse, source: Path) -> tuple[list[Row], list[Skipped]]:
    if not source.is_dir():
        raise InputError(f"--source {source} is not a folder")
    sources = list(parse(source))
    if not sources:
        raise InputError(_nothing_found(corpus, source))
    unusable = [item for item in sources if isinstance(item, Skipped)]
    found, unreadable = _read(corpus, [item for item in sources if isinstance(item, SourceClip)])
    rows, repeated = _keep_each_recording_once(found)
    skipped = unusable + unreadable + repeated
    if not rows:
        reasons = listing((f"{item.path.name}: {item.reason}" for item in skipped), limit=3)
        files = counted(len(sources), "file")
        raise InputError(f"{corpus.title}: of {files} in {source} none is usable ({reasons})")
    return rows, skipped


def _nothing_found(corpus: Corpus, source: Path) -> str:
    files = audio_files(source)
    if not files:
        return f"no audio file below {source}; give the folder that holds {corpus.title}"
    others = (other for other in corpus_names() if other != corpus.name)
    guesses = [other for other in others if next(iter(load_script(other)[1](source)), None)]
    hint = f"; it looks like {' or '.join(guesses)}" if guesses else ""
    return (
        f"no {corpus.title} file (such as {corpus.file_example}) among "
        f"{counted(len(files), 'audio file')} below {source}, the first is {files[0].name}{hint}"
    )


def _read(corpus: Corpus, sources: Sequence[SourceClip]) -> tuple[list[Found], list[Skipped]]:
    found: list[Found] = []
    skipped: list[Skipped] = []
    with progress_bar(len(sources), f"build {corpus.name}", "clip") as progress:
        for clip in sources:
            try:
                found.append((clip.path, _row(corpus, clip)))
            except BadAudioError as error:
                skipped.append(Skipped(clip.path, str(error)))
            except OSError as error:
                skipped.append(Skipped(clip.path, f"cannot be read ({error.strerror or error})"))
            progress.update()
    return found, skipped


def _row(corpus: Corpus, clip: SourceClip) -> Row:
    pcm, source_rate = read_pcm(clip.path)
    emotion = corpus.labels[clip.native_label]
    label4, label5 = (
        in_label_set(corpus.name, emotion, clip.vocalisation, classes) for classes in (FOUR, FIVE)
    )
    return {
        "clip_id": f"{corpus.name}/{clip.name}",
        "corpus": corpus.name,
        "audio": {"bytes": encode_flac(pcm), "path": f"{clip.name}.flac"},
        "emotion": None if emotion is None else EMOTIONS.index(emotion),
        "label4": None if label4 is None else FOUR.index(label4),
        "label5": None if label5 is None else FIVE.index(label5),
        "native_label": clip.native_label,
        "label_source": corpus.label_source,
        "votes": [{"label": label, "count": count} for label, count in clip.votes],
        "speaker": _prefixed(corpus, clip.speaker),
        "sex": clip.sex,
        "age": clip.age,
        "language": clip.language,
        "text_id": _prefixed(corpus, clip.text),
        "transcript": clip.transcript,
        "intensity": clip.intensity,
        "elicitation": clip.elicitation or corpus.elicitation,
        "vocalisation": clip.vocalisation,
        "session": _prefixed(corpus, clip.session),
        "official_split": clip.official_split,
        "duration": len(pcm) / SAMPLING_RATE,
        "source_sampling_rate": source_rate,
        "sha256": pcm_sha256(pcm),
        "licence": corpus.licence,
    }


def _prefixed(corpus: Corpus, identifier: str | None) -> str | None:
    return None if identifier is None else f"{corpus.name}:{identifier}"


def _keep_each_recording_once(found: Sequence[Found]) -> tuple[list[Row], list[Skipped]]:
    """Drop repeated recordings, keeping the first, and all copies where they contradict another."""
    copies: dict[str, list[Found]] = defaultdict(list)
    for path, row in found:
        copies[row["sha256"]].append((path, row))
    kept: dict[str, Row] = {}
    skipped: list[Skipped] = []
    for same in copies.values():
        if reason := _contradiction([row for _, row in same]):
            skipped += [Skipped(path, reason) for path, _ in same]
            continue
        (path, first), *others = same
        skipped += [
            Skipped(copy, f"the same recording as {first['clip_id']}") for copy, _ in others
        ]
        if first["clip_id"] in kept:
            skipped.append(Skipped(path, f"another recording is called {first['clip_id']} too"))
        else:
            kept[first["clip_id"]] = first
    return sorted(kept.values(), key=lambda row: row["clip_id"]), skipped


def _contradiction(same: Sequence[Row]) -> str | None:
    for column in ("native_label", "speaker"):
        if len({row[column] for row in same}) > 1:
            claims = ", ".join(f"{row['clip_id']}: {row[column]}" for row in same)
            return f"one recording with more than one {column.replace('_', ' ')} ({claims})"
    return None


def _write(
    corpus: Corpus, rows: list[Row], skipped: list[Skipped], source: Path, out: Path
) -> None:
    shards = list(_shards(rows))
    # Shards and card are complete on disk before either replaces what is there.
    with staged(out / "README.md") as card, staged(out / corpus.name) as folder:
        folder.mkdir()
        for number, shard in enumerate(shards):
            table = pa.Table.from_pylist(shard, schema=clip_features().arrow_schema)
            path = folder / f"{corpus.name}-{number:05d}-of-{len(shards):05d}.parquet"
            pq.write_table(table, path, row_group_size=ROW_GROUP, use_content_defined_chunking=True)
        (folder / SKIPPED_FILE).write_text(_skipped_table(skipped, source), encoding="utf-8")
        summary = summarise(corpus, rows, len(skipped))
        (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n")
        built = summaries(out) | {corpus.name: summary}
        card.write_text(render([built[name] for name in sorted(built)]), encoding="utf-8")


def _shards(rows: list[Row]) -> Iterator[list[Row]]:
    shard: list[Row] = []
    size = 0
    for row in rows:
        if shard and size + len(row["audio"]["bytes"]) > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(row)
        size += len(row["audio"]["bytes"])
    yield shard


def _skipped_table(skipped: list[Skipped], source: Path) -> str:
    lines = [f"{item.path.relative_to(source).as_posix()}\t{item.reason}" for item in skipped]
    return "\n".join(["path\treason", *sorted(lines)]) + "\n"


def main(argv: Sequence[str]) -> None:
    """Parse the command line and build."""
    parser = CommandParser(
        "python -m dataset_scripts.build",
        "Build a raw corpus into Parquet shards and a dataset card.",
        "python -m dataset_scripts.build ravdess --source ~/corpora/ravdess --out data",
    )
    parser.add_argument("corpus", help=f"one of: {', '.join(corpus_names())}")
    parser.add_argument("--source", type=Path, required=True, help="folder of the raw corpus")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write or extend")
    arguments = parser.parse_args(argv)
    one_of("corpus", arguments.corpus, corpus_names())
    clips, skipped = build(arguments.corpus, arguments.source, arguments.out)
    folder = arguments.out / arguments.corpus
    print(f"{arguments.corpus}: {counted(clips, 'clip')} in {folder}")
    if skipped:
        examples = listing((f"{item.path.name} ({item.reason})" for item in skipped), limit=3)
        files = counted(len(skipped), "file")
        print(f"{arguments.corpus}: {files} skipped, listed in {folder / SKIPPED_FILE}: {examples}")


if __name__ == "__main__":
    sys.exit(run_command("build", main, sys.argv[1:]))
