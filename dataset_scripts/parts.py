"""Parts of a corpus: what a worker decodes goes to a file of its own, which survives a kill."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dataset_scripts.corpus import Corpus, Skipped
from dataset_scripts.recordings import Row
from dataset_scripts.workers import spread
from ser_generalize.audio import BadAudioError, encode_flac, pcm_sha256, read_pcm
from ser_generalize.command import progress_bar
from ser_generalize.files import staged
from ser_generalize.labels import EMOTIONS, FIVE, FOUR, in_label_set
from ser_generalize.schema import SAMPLING_RATE, SourceClip, clip_features

PART_CLIPS = 64  # what a kill costs each worker; a few megabytes
SKIPPED = b"skipped"  # key of the reasons in a part's metadata: [[path, reason], ...]
# Beside the columns of a Clip: where it was found below the source, and the size of its FLAC.
EXTRA_COLUMNS = (pa.field("path", pa.string()), pa.field("flac_bytes", pa.int64()))
# What a finished part depends on beside its sources. Change the number when this file changes.
FORMAT = [1, *(f"{name} {version(name)}" for name in ("soundfile", "soxr", "av", "pyarrow"))]


@dataclass(frozen=True)
class Part:
    """Some clips of a corpus: their files, what is known of each before it is read, the target."""

    target: Path  # its name is the digest of all that the part depends on
    source: Path
    files: tuple[Path, ...]
    facts: tuple[Row, ...]


@dataclass(frozen=True)
class Contents:
    """What parts hold but for the audio: one row, path and size of the FLAC in bytes per clip."""

    rows: list[Row]
    paths: list[Path]
    sizes: list[int]
    skipped: list[Skipped]


def plan_parts(corpus: Corpus, clips: Sequence[SourceClip], source: Path, out: Path) -> list[Part]:
    """Split a corpus into parts that will lie in `out`, in the order of the clips' names."""
    clips = sorted(clips, key=lambda clip: (clip.name, clip.path))
    return [
        _plan_part(corpus, clips[start : start + PART_CLIPS], source, out)
        for start in range(0, len(clips), PART_CLIPS)
    ]


def _plan_part(corpus: Corpus, clips: Sequence[SourceClip], source: Path, out: Path) -> Part:
    facts = tuple(_facts(corpus, clip) for clip in clips)
    held = [
        [clip.path.relative_to(source).as_posix(), *_state(clip.path), fact]
        for clip, fact in zip(clips, facts, strict=True)
    ]
    digest = hashlib.sha256(json.dumps([FORMAT, held]).encode()).hexdigest()
    return Part(out / f"{digest[:32]}.parquet", source, tuple(clip.path for clip in clips), facts)


def _state(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except OSError:  # reading it will say what is wrong
        return ()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns  # ctime: it may have become readable


def _facts(corpus: Corpus, clip: SourceClip) -> Row:
    """Return what a row says of its clip without its audio."""
    emotion = corpus.labels[clip.native_label]
    label4, label5 = (
        in_label_set(corpus.name, emotion, clip.vocalisation, classes) for classes in (FOUR, FIVE)
    )
    return {
        "clip_id": f"{corpus.name}/{clip.name}",
        "corpus": corpus.name,
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
        "elicitation": _elicitation(corpus, clip),
        "vocalisation": clip.vocalisation,
        "session": _prefixed(corpus, clip.session),
        "official_split": clip.official_split,
        "licence": corpus.licence,
    }


def _elicitation(corpus: Corpus, clip: SourceClip) -> str:
    """Return how a clip came about: fabricated ones are not what the corpus says of its own."""
    if corpus.elicitation == "synthetic":
        return corpus.elicitation
    return clip.elicitation or corpus.elicitation


def _prefixed(corpus: Corpus, identifier: str | None) -> str | None:
    return None if identifier is None else f"{corpus.name}:{identifier}"


def finish_parts(parts: Sequence[Part], workers: int, what: str) -> None:
    """Write every part that an earlier, killed build has not left behind whole."""
    missing = [part for part in parts if not _is_whole(part.target)]
    schema = part_schema()  # handed over: a worker need not import `datasets` for it
    with (
        progress_bar(sum(len(part.files) for part in missing), what, "clip") as progress,
        spread(partial(_write_part, schema), missing, workers) as written,
    ):
        for clips in written:
            progress.update(clips)


def part_schema() -> pa.Schema:
    """Return the columns of a part: those of a Clip, then EXTRA_COLUMNS."""
    schema = clip_features().arrow_schema
    for field in EXTRA_COLUMNS:
        schema = schema.append(field)
    return schema


def _is_whole(part: Path) -> bool:
    try:
        pq.read_metadata(part)
    except (FileNotFoundError, pa.ArrowInvalid):  # the latter after a power failure
        return False
    return True


def _write_part(schema: pa.Schema, part: Part) -> int:
    """Decode the clips of a part and write it; return their number. Runs in a worker."""
    rows: list[Row] = []
    skipped: list[tuple[str, str]] = []
    for file, facts in zip(part.files, part.facts, strict=True):
        path = file.relative_to(part.source).as_posix()
        try:
            rows.append({**facts, **_audio(file, facts["clip_id"]), "path": path})
        except BadAudioError as error:
            skipped.append((path, str(error)))
        except OSError as error:
            skipped.append((path, f"cannot be read ({error.strerror or error})"))
    table = pa.Table.from_pylist(rows, schema=schema)
    table = table.replace_schema_metadata({**schema.metadata, SKIPPED: json.dumps(skipped)})
    with staged(part.target) as temporary:
        pq.write_table(table, temporary, compression="none")  # FLAC is compressed
    return len(part.files)


def _audio(file: Path, clip_id: str) -> Row:
    """Return the columns of a row for which its file has to be read."""
    pcm, source_rate = read_pcm(file)
    flac = encode_flac(pcm)
    return {
        "audio": {"bytes": flac, "path": f"{clip_id.partition('/')[2]}.flac"},
        "duration": len(pcm) / SAMPLING_RATE,
        "source_sampling_rate": source_rate,
        "sha256": pcm_sha256(pcm),
        "flac_bytes": len(flac),
    }


def read_parts(parts: Sequence[Part]) -> Contents:
    """Return what the parts hold but for the audio."""
    contents = Contents([], [], [], [])
    extra = [field.name for field in EXTRA_COLUMNS]
    columns = [name for name in clip_features() if name != "audio"]
    for part in parts:
        table = pq.read_table(part.target, columns=[*columns, *extra])
        contents.rows.extend(table.select(columns).to_pylist())
        paths, sizes = (table.column(name).to_pylist() for name in extra)
        contents.paths.extend(part.source / path for path in paths)
        contents.sizes.extend(sizes)
        for path, reason in json.loads(table.schema.metadata[SKIPPED]):
            contents.skipped.append(Skipped(part.source / path, reason))
    return contents
