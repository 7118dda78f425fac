"""The config `folds`: on which folds this project scores, for those who score without its code."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dataset_scripts.recordings import Row
from ser_generalize.errors import InputError
from ser_generalize.labels import LABEL_SETS, NATIVE
from ser_generalize.protocols import leave_one_speaker_out

NATIVE_COLUMN = "native_label"
FOLDS = "folds"  # the config, and its folder with a file for every corpus
# Test and validation rows; what is in neither is trained on. `labels` is the label set: which
# speakers share a fold depends on how many of their clips are inside it.
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "labels", "protocol", "fold", "part")]
)


def fold_table(rows: Sequence[Row]) -> pa.Table:
    """Return the folds of one corpus's clips, all label sets below one another.

    `rows` are Clips in the order of their ids. A label set under which the corpus has fewer than
    two speakers or two classes has no rows.
    """
    found = [row for labels in (*LABEL_SETS, NATIVE) for row in _loso(rows, labels)]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def digest(table: pa.Table) -> str | None:
    """Return the identity of some folds for the card's YAML (see `card`), None of no folds."""
    if not table.num_rows:
        return None
    return hashlib.sha256(json.dumps(table.to_pydict()).encode()).hexdigest()[:16]


def _loso(rows: Sequence[Row], labels: str) -> list[Row]:
    column = NATIVE_COLUMN if labels == NATIVE else f"label{len(LABEL_SETS[labels])}"
    inside = [row for row in rows if row[column] is not None]
    corpora, speakers, hashes = (
        np.array([row[name] for row in inside], dtype=object)
        for name in ("corpus", "speaker", "sha256")
    )
    if len({row[column] for row in inside}) < 2:  # nothing to tell apart
        return []
    try:
        folds = leave_one_speaker_out(corpora, speakers)
    except InputError:  # fewer than two known speakers: the protocol has no fold here
        return []
    for fold in folds:
        fold.check(speakers, hashes)
    common = {"labels": labels, "protocol": "loso", "part": "test"}
    return [
        {"clip_id": inside[position]["clip_id"], "fold": fold.name, **common}
        for fold in folds
        for position in fold.test
    ]
