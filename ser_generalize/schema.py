"""The Clip: one row of the harmonised dataset, and what a loading script says about one file."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ser_generalize.labels import EMOTIONS, FIVE, FOUR

if TYPE_CHECKING:
    from datasets import Features

SAMPLING_RATE = 16_000


@dataclass(frozen=True)
class SourceClip:
    """One audio file of a raw corpus and what its name and the corpus's tables say about it.

    `name` is unique within the corpus and stable across copies of it; speaker, text and session are
    the corpus's own identifiers, which `build` prefixes with the corpus so that none is ever bare.
    `votes` are (emotion of the closed list, number of raters); the number is None where the corpus
    names the winners without it.
    """

    path: Path
    name: str
    native_label: str
    speaker: str | None
    language: str  # BCP 47
    sex: str | None = None  # female | male
    age: int | None = None  # years
    text: str | None = None
    transcript: str | None = None
    intensity: str | None = None
    session: str | None = None
    official_split: str | None = None
    vocalisation: str = "speech"  # speech | burst
    votes: tuple[tuple[str, int | None], ...] = ()
    elicitation: str | None = None  # None: as the data sheet says of the corpus


@cache
def clip_features() -> "Features":
    """Return the columns of a Clip; null is allowed everywhere but in clip_id, corpus and audio."""
    from datasets import Audio, ClassLabel, Features, List, Value  # half a second to import

    return Features(
        {
            "clip_id": Value("string"),  # corpus/stable-name
            "corpus": Value("string"),
            "audio": Audio(sampling_rate=SAMPLING_RATE),  # 16-kHz mono FLAC bytes
            "emotion": ClassLabel(names=list(EMOTIONS)),  # null where raters did not agree
            "label4": ClassLabel(names=list(FOUR)),  # null outside the set
            "label5": ClassLabel(names=list(FIVE)),
            "native_label": Value("string"),
            "label_source": Value("string"),  # acted | perceived
            "votes": List({"label": Value("string"), "count": Value("int32")}),  # label: an emotion
            "speaker": Value("string"),  # corpus:id, null when unknown
            "sex": Value("string"),
            "age": Value("int32"),
            "language": Value("string"),
            "text_id": Value("string"),
            "transcript": Value("string"),
            "intensity": Value("string"),
            "elicitation": Value("string"),  # acted | elicited | natural | synthetic
            "vocalisation": Value("string"),
            "session": Value("string"),
            "official_split": Value("string"),
            "duration": Value("float64"),  # seconds at 16 kHz
            "source_sampling_rate": Value("int32"),  # Hz, as found on disk
            "sha256": Value("string"),  # of the decoded 16-kHz 16-bit PCM
            "licence": Value("string"),
        }
    )
