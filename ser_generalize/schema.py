"""The Clip: one row of the harmonised dataset, and what a loading script says about one file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_generalize.labels import EMOTIONS, FIVE, FOUR

if TYPE_CHECKING:
    import pyarrow as pa
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


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _class_label(names: Sequence[str]) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


# The columns of a Clip, as `datasets` writes features into files. Null is allowed everywhere but in
# clip_id, corpus and audio.
COLUMNS = {
    "clip_id": _value("string"),  # corpus/stable-name
    "corpus": _value("string"),
    "audio": {"sampling_rate": SAMPLING_RATE, "_type": "Audio"},  # 16-kHz mono FLAC bytes
    "emotion": _class_label(EMOTIONS),  # null where raters did not agree
    "label4": _class_label(FOUR),  # null outside the set
    "label5": _class_label(FIVE),
    "native_label": _value("string"),
    "label_source": _value("string"),  # acted | perceived
    "votes": {
        "feature": {"label": _value("string"), "count": _value("int32")},  # label: an emotion
        "_type": "List",
    },
    "speaker": _value("string"),  # corpus:id, null when unknown
    "sex": _value("string"),
    "age": _value("int32"),
    "language": _value("string"),
    "text_id": _value("string"),
    "transcript": _value("string"),
    "intensity": _value("string"),
    "elicitation": _value("string"),  # acted | elicited | natural | synthetic
    "vocalisation": _value("string"),
    "session": _value("string"),
    "official_split": _value("string"),
    "duration": _value("float64"),  # seconds at 16 kHz
    "source_sampling_rate": _value("int32"),  # Hz, as found on disk
    "sha256": _value("string"),  # of the decoded 16-kHz 16-bit PCM
    "licence": _value("string"),
}


@cache
def clip_features() -> "Features":
    """Return the columns of a Clip as `datasets` knows them."""
    from datasets import Features  # half a second to import

    return Features.from_dict(COLUMNS)


@cache
def clip_schema() -> "pa.Schema":
    """Return the columns of a Clip as they are stored: `clip_features().arrow_schema`.

    Whoever writes them need not import `datasets`.
    """
    import pyarrow as pa

    columns = {name: _stored(feature) for name, feature in COLUMNS.items()}
    features = {"info": {"features": COLUMNS}}
    return pa.schema(columns, {"huggingface": json.dumps(features)})


def _stored(feature: dict[str, Any]) -> "pa.DataType":
    """Return the type as which `datasets` stores a feature."""
    import pyarrow as pa

    match feature.get("_type"):
        case "Value":
            return pa.type_for_alias(feature["dtype"])
        case "ClassLabel":
            return pa.int64()
        case "Audio":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        case "List":
            return pa.list_(_stored(feature["feature"]))
    return pa.struct({name: _stored(inner) for name, inner in feature.items()})
