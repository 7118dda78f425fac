"""Parts of a corpus: what a worker decodes goes to a file of its own, which survives a kill.

A part is one line of JSON, which says all of its clips but their audio, and then their FLACs, one
after the other. Such a file is written and read at the speed of the disk, and a worker that writes
one has neither pyarrow nor `datasets` to import, which would take longer than decoding does.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dataset_scripts.corpus import Corpus, Skipped
from dataset_scripts.recordings import Row
from dataset_scripts.workers import Spread
from ser_generalize.audio import BadAudioError, encode_flac, pcm_sha256, read_pcm
from ser_generalize.command import progress_bar
from ser_generalize.files import staged
from ser_generalize.labels import EMOTIONS, FIVE, FOUR, in_label_set
from ser_generalize.schema import SAMPLING_RATE, SourceClip

PART_CLIPS = 64  # what a kill costs each worker; a few megabytes
# What a part depends on beside its sources; the number changes with how clips are read or stored.
FORMAT = [2, *(f"{name} {version(name)}" for name in ("soundfile", "soxr", "av"))]


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
    return Part(out / f"{digest[:32]}.clips", source, tuple(clip.path for clip in clips), facts)


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
    with progress_bar(sum(len(part.files) for part in missing), what, "clip") as progress:
        for clips in spread(_write_part, missing):
            progress.update(clips)


def _is_whole(part: Path) -> bool:
    try:
        with part.open("rb") as file:
            header = file.readline()
            found = part.stat().st_size - len(header)
            return found == sum(json.loads(header)["sizes"])
    except (FileNotFoundError, ValueError):  # the latter after a power failure
        return False


def _write_part(part: Part) -> int:
    """Decode the clips of a part and write it; return their number. Runs in a worker."""
    contents: dict[str, list[Any]] = {"rows": [], "paths": [], "sizes": [], "skipped": []}
    audio: list[bytes] = []
    for file, facts in zip(part.files, part.facts, strict=True):
        path = file.relative_to(part.source).as_posix()
        try:
            flac, heard = _read_clip(file)
        except BadAudioError as error:
            contents["skipped"].append((path, str(error)))
        except OSError as error:
            contents["skipped"].append((path, f"cannot be read ({error.strerror or error})"))
        else:
            audio.append(flac)
            contents["rows"].append(facts | heard)
            contents["paths"].append(path)
            contents["sizes"].append(len(flac))
    with staged(part.target) as temporary, temporary.open("wb") as output:
        output.write(json.dumps(contents).encode() + b"\n")
        output.writelines(audio)
    return len(part.files)


def _read_clip(file: Path) -> tuple[bytes, Row]:
    """Return a clip as FLAC, and the columns of a row for which its file has to be read."""
    pcm, source_rate = read_pcm(file)
    return encode_flac(pcm), {
        "duration": len(pcm) / SAMPLING_RATE,
        "source_sampling_rate": source_rate,
        "sha256": pcm_sha256(pcm),
    }


def read_parts(parts: Sequence[Part]) -> Contents:
    """Return what the parts hold but for the audio."""
    contents = Contents([], [], [], [], [])
    for part in parts:
        with part.target.open("rb") as file:
            found = json.loads(file.readline())
        contents.counts.append(len(found["rows"]))
        contents.rows.extend(found["rows"])
        contents.paths.extend(part.source / path for path in found["paths"])
        contents.sizes.extend(found["sizes"])
        contents.skipped.extend(Skipped(part.source / path, why) for path, why in found["skipped"])
    return contents


def read_rows(part: Path) -> Iterator[Row]:
    """Yield the rows of a part, with their audio."""
    with part.open("rb") as file:
        found = json.loads(file.readline())
        for row, size in zip(found["rows"], found["sizes"], strict=True):
            name = row["clip_id"].partition("/")[2]
            yield row | {"audio": {"bytes": file.read(size), "path": f"{name}.flac"}}
