"""What a module of this package says about its corpus: which recordings there are, and how made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from dataset_scripts.fabrication.containers import Container
from dataset_scripts.synthesis.channel import Channel


@dataclass(frozen=True)
class Take:
    """One file to fabricate: where it goes, who speaks and how, and what the corpus says of it."""

    path: str  # within the corpus's folder
    speaker: str | None  # the corpus's own identifier, None where nobody knows
    sex: str  # female | male
    emotion: str  # of the closed list; how it is spoken, whatever raters make of it
    text: str  # ARPAbet
    container: Container = field(default_factory=Container)
    language: str | None = "en"  # BCP 47, None where the corpus does not say
    transcript: str | None = None
    intensity: float = 1.0  # 0 is neutral, 1 the textbook
    vocalisation: str = "speech"  # speech | burst
    votes: tuple[tuple[str, int], ...] = ()  # (emotion, raters)
    undecided: bool = False  # the raters did not agree on an emotion
    copy_of: str | None = None  # the path of the take that this file repeats, byte for byte


def no_tables(_tree: Path, _takes: Sequence[Take]) -> None:
    """Write nothing: everything is in the file names."""


@dataclass(frozen=True)
class Tree:
    """A corpus: how much of it there is, how it was recorded, its takes and its tables.

    `takes(speakers, clips)` never has more takes than the corpus has, and those of smaller numbers
    are among those of larger ones. `tables(tree, takes)` writes what lies beside the recordings,
    traps included.
    """

    speakers: int
    clips: int  # per speaker and emotion, at most
    channel: Channel
    takes: Callable[[int, int], Iterable[Take]]
    tables: Callable[[Path, Sequence[Take]], None] = no_tables


def grid(
    speakers: Sequence[str], shares: Mapping[str, float], clips: int
) -> Iterator[tuple[str, str, int]]:
    """Yield (speaker, label, number from 0) of every take.

    `shares` has every label's number of clips relative to the others', as in the corpus; each has
    one clip at least.
    """
    for speaker, (label, share) in product(speakers, shares.items()):
        yield from ((speaker, label, number) for number in range(max(1, round(clips * share))))


def write(path: Path, text: str, encoding: str = "utf-8", newline: str = "\n") -> None:
    """Write a table, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding, newline=newline)


def apple_double(path: Path) -> None:
    """Write the hidden file that macOS leaves beside `path` in archives: it is no recording."""
    hidden = path.with_name(f"._{path.name}")
    hidden.write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ".ljust(120, b"\0"))
