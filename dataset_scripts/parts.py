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
from dataset_scripts.workers import Spread
from ser_generalize.audio import BadAudioError, encode_flac, pcm_sha256, read_pcm
from ser_generalize.command import progress_bar
from ser_generalize.files import staged
from ser_generalize.labels import EMOTIONS, FIVE, FOUR, in_label_set
from ser_generalize.schema import SAMPLING_RATE, SourceClip, clip_features

PART_CLIPS = 64  # what a kill costs each worker; a few megabytes
# Key of a part's metadata: all that its rows say but for the audio, as JSON, since reading that is
# many times faster than reading the columns.
CONTENTS = b"contents"
# What a part depends on beside its sources; the number changes with how clips are read or stored.
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

    counts: list[int]  # of rows in each part
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


def finish_parts(parts: Sequence[Part], spread: Spread, what: str) -> None:
    """Write every part that an earlier, killed build has not left behind whole."""
    missing = [part for part in parts if not _is_whole(part.target)]
    schema = clip_features().arrow_schema  # handed over: a worker need not import `datasets`
    with progress_bar(sum(len(part.files) for part in missing), what, "clip") as progress:
        for clips in spread(partial(_write_part, schema), missing):
            progress.update(clips)


def _is_whole(part: Path) -> bool:
    try:
        pq.read_metadata(part)
    except (FileNotFoundError, pa.ArrowInvalid):  # the latter after a power failure
        return False
    return True


def _write_part(schema: pa.Schema, part: Part) -> int:
    """Decode the clips of a part and write it; return their number. Runs in a worker."""
    rows: list[Row] = []
    paths: list[str] = []
    skipped: list[tuple[str, str]] = []
    for file, facts in zip(part.files, part.facts, strict=True):
        path = file.relative_to(part.source).as_posix()
        try:
            rows.append(facts | _audio(file, facts["clip_id"]))
            paths.append(path)
        except BadAudioError as error:
            skipped.append((path, str(error)))
        except OSError as error:
            skipped.append((path, f"cannot be read ({error.strerror or error})"))
    table = pa.Table.from_pylist(rows, schema=schema)
    sizes = [len(row.pop("audio")["bytes"]) for row in rows]
    contents = {"rows": rows, "paths": paths, "sizes": sizes, "skipped": skipped}
    with staged(part.target) as temporary:
        pq.write_table(
            table.replace_schema_metadata({CONTENTS: json.dumps(contents)}),
            temporary,
            use_dictionary=False,
            write_statistics=False,
            compression="none",  # FLAC is
        )
    return len(part.files)


def _audio(file: Path, clip_id: str) -> Row:
    """Return the columns of a row for which its file has to be read."""
    pcm, source_rate = read_pcm(file)
    return {
        "audio": {"bytes": encode_flac(pcm), "path": f"{clip_id.partition('/')[2]}.flac"},
        "duration": len(pcm) / SAMPLING_RATE,
        "source_sampling_rate": source_rate,
        "sha256": pcm_sha256(pcm),
    }


def read_parts(parts: Sequence[Part]) -> Contents:
    """Return what the parts hold but for the audio."""
    contents = Contents([], [], [], [], [])
    for part in parts:
        found = json.loads(pq.read_schema(part.target).metadata[CONTENTS])
        contents.counts.append(len(found["rows"]))
        contents.rows.extend(found["rows"])
        contents.paths.extend(part.source / path for path in found["paths"])
        contents.sizes.extend(found["sizes"])
        contents.skipped.extend(Skipped(part.source / path, why) for path, why in found["skipped"])
    return contents
