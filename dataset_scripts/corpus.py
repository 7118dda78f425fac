"""What a loading script declares about its corpus, and the registry: the folder itself."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Literal

import dataset_scripts
from ser_generalize.errors import InputError, one_of
from ser_generalize.schema import SourceClip


@dataclass(frozen=True)
class Skipped:
    """A file of a raw corpus that becomes no clip, and why; it may be one that is not there."""

    path: Path
    reason: str


Parse = Callable[[Path], Iterator[SourceClip | Skipped]]
# Every other module is a corpus.
TOOLS = {
    "build", "card", "corpus", "dataset", "download", "fabricate", "fabrication", "findings",
    "folds", "manifest", "parts", "publish", "recordings", "shards", "synthesis", "tree", "unpack",
    "verify", "workers",
}  # fmt: skip
FABRICATED = "FABRICATED.txt"  # in the root of a tree that `fabricate` made
AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".mp4"}


@dataclass(frozen=True)
class Archive:
    """A file that anybody may download without signing anything, and how to know it again."""

    url: str
    checksum: str | None = None  # "md5:..." or "sha256:...", where the publisher gives one
    size: int | None = None  # bytes, where the publisher gives it


@dataclass(frozen=True)
class Corpus:
    """A corpus's data sheet.

    `labels` maps every native label to an emotion of the closed list, or to None where the label
    says that no emotion was agreed on.
    """

    name: str
    title: str
    home: str
    licence: str  # SPDX identifier, or "LicenseRef-..." with the terms at `licence_url`
    licence_url: str
    redistribution: Literal["public", "gated", "private"]
    access: str  # how to get the recordings, one sentence of Markdown
    citation: str  # BibTeX
    languages: tuple[str, ...]  # BCP 47
    elicitation: Literal["acted", "elicited", "natural", "synthetic"]
    label_source: Literal["acted", "perceived"]
    labels: Mapping[str, str | None]
    file_pattern: str  # regular expression of a whole file name; old copies have `.WAV` too
    file_example: str
    expected_clips: Mapping[str, int]  # per native label, in a complete copy
    expected_speakers: int
    expected_speaker_clips: Mapping[str, int] = field(default_factory=dict)  # empty: not published
    archives: tuple[Archive, ...] = ()  # empty: there is a form to sign, or no stable address
    known_faults: tuple[str, ...] = field(default=())


def corpus_names() -> list[str]:
    """Return the names of all corpora that have a loading script."""
    modules = pkgutil.iter_modules(dataset_scripts.__path__)
    return sorted(module.name for module in modules if module.name not in TOOLS)


def load_script(name: str) -> tuple[Corpus, Parse]:
    """Return a corpus's data sheet and its parse function; an unknown name is an InputError."""
    module = _module(one_of("corpus", name, corpus_names()))
    return module.CORPUS, module.parse


def as_found(corpus: Corpus, root: Path) -> Corpus:
    """Return the data sheet of the tree at hand: a fabricated one is not the corpus it imitates.

    Its clips say `synthetic`, wherever they go; its card cites nobody's recordings.
    """
    if not (root / FABRICATED).is_file():
        return corpus
    return replace(
        corpus,
        title=f"Fabricated speech in the layout of {corpus.title}",
        licence="CC0-1.0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        redistribution="private",
        citation="@misc{fabricated, title = {Speech synthesised by ser-generalize}}",
        elicitation="synthetic",
        known_faults=("No human speech: what it shows of emotion was put there by formula.",),
    )


def audio_files(root: Path) -> list[Path]:
    """Return every audio file below a folder, sorted, hidden ones left out.

    macOS's `._x.wav` are not audio, and a hidden folder may be an archive half unpacked.
    """
    found = (path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(path for path in found if path.is_file() and not _hidden(path, root))


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def read_table(path: Path) -> bytes:
    """Return the content of a corpus's table, or raise an InputError that says why not."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror or error})") from error


def words(transcript: str) -> str | None:
    """Return the bare words of a transcript, by which the same words are known as one text.

    Case, punctuation and notes in square brackets do not count; None where no word is left.
    """
    spoken = re.sub(r"\[[^\]]*\]", " ", transcript.casefold())
    return " ".join(re.findall(r"\w+", re.sub("['’]", "", spoken))) or None


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"dataset_scripts.{name}")
