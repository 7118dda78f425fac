"""The config `folds`: on which folds this project scores, for those who score without its code."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataset_scripts.recordings import Row
from ser_generalize.labels import LABEL_SETS, NATIVE
from ser_generalize.protocols import Clips, IndivisibleError, make_folds

# Those that say something of a corpus by itself.
PROTOCOLS = ("loso", "session", "within", "official", "emobox", "text")
# What is in no part is trained on; `unused` is what a protocol keeps out of every part. `labels` is
# the label set: which speakers share a fold depends on how many of their clips are inside it.
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "labels", "protocol", "fold", "part")]
)


def fold_table(rows: Sequence[Row]) -> pa.Table:
    """Return the folds of one corpus's clips, label sets and protocols below one another.

    `rows` are Clips in the order of their ids. There are none of a label set of which the corpus
    has fewer than two classes, and none of a protocol that cannot divide its clips.
    """
    parts = [
        part
        for labels in (*LABEL_SETS, NATIVE)
        for clips in [_clips(rows, labels)]
        if len(clips.label.names) > 1  # else there is nothing to tell apart
        for protocol in PROTOCOLS
        for part in _parts(clips, labels, protocol)
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *parts])


def digest(table: pa.Table) -> str | None:
    """Return the identity of some folds for the card's YAML (see `card`), None of no folds."""
    if not table.num_rows:
        return None
    state = hashlib.sha256()
    for column in table.columns:
        texts = column.combine_chunks()
        lines = pc.binary_join(pa.ListArray.from_arrays([0, len(texts)], texts), "\n")
        state.update(lines[0].as_buffer())
    return state.hexdigest()[:16]


def _clips(rows: Sequence[Row], labels: str) -> Clips:
    """Return the clips inside a label set, with their classes of it."""
    column = "native_label" if labels == NATIVE else f"label{len(LABEL_SETS[labels])}"
    inside = [row for row in rows if row[column] is not None]
    found = [row[column] for row in inside]
    classes = found if labels == NATIVE else [LABEL_SETS[labels][label] for label in found]
    names = {field.name for field in fields(Clips)} - {"label"}
    return Clips.of({name: [row[name] for row in inside] for name in names} | {"label": classes})


def _parts(clips: Clips, labels: str, protocol: str) -> Iterator[pa.Table]:
    try:
        folds = make_folds(protocol, clips)
    except IndivisibleError:
        return
    ids = np.array(clips.clip_id.names, dtype=object)[clips.clip_id.codes]
    for fold in folds:
        unused = np.ones(len(clips), dtype=bool)
        for kept in (fold.train, fold.validation, fold.test):
            unused[kept] = False
        parts = {"test": fold.test, "validation": fold.validation, "unused": unused.nonzero()[0]}
        for part, rows in parts.items():
            said = (pa.repeat(text, len(rows)) for text in (labels, protocol, fold.name, part))
            yield pa.table([pa.array(ids[rows], pa.string()), *said], schema=SCHEMA)
