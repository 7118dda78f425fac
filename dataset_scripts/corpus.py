"""What a loading script declares about its corpus, and the registry: the folder itself."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

import dataset_scripts
from ser_generalize.errors import one_of
from ser_generalize.schema import SourceClip

Parse = Callable[[Path], Iterator[SourceClip]]
TOOLS = {"build", "card", "corpus", "fabricate", "synthesis"}  # every other module is a corpus
AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".mp4"}


@dataclass(frozen=True)
class Corpus:
    """A corpus's data sheet; `labels` maps every native label to an emotion of the closed list."""

    name: str
    title: str
    home: str
    licence: str  # SPDX identifier, or "LicenseRef-..." with the terms at `licence_url`
    licence_url: str
    redistribution: Literal["public", "gated", "private"]
    citation: str  # BibTeX
    languages: tuple[str, ...]  # BCP 47
    elicitation: Literal["acted", "elicited", "natural"]
    label_source: Literal["acted", "perceived"]
    labels: Mapping[str, str]
    file_pattern: str  # regular expression that a whole file name of the corpus matches
    file_example: str
    expected_clips: Mapping[str, int]  # per native label, in a complete copy
    expected_speakers: int
    known_faults: tuple[str, ...] = field(default=())


def corpus_names() -> list[str]:
    """Return the names of all corpora that have a loading script."""
    modules = pkgutil.iter_modules(dataset_scripts.__path__)
    return sorted(module.name for module in modules if module.name not in TOOLS)


def load_script(name: str) -> tuple[Corpus, Parse]:
    """Return a corpus's data sheet and its parse function; an unknown name is an InputError."""
    module = _module(one_of("corpus", name, corpus_names()))
    return module.CORPUS, module.parse


def audio_files(root: Path) -> list[Path]:
    """Return every audio file below a folder, sorted; macOS's hidden `._x.wav` are not audio."""
    found = (path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"dataset_scripts.{name}")
