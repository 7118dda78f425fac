"""The Prediction contract: what a run says about every test clip, and the one file it says it in.

Reports, cards and tests of significance read this file and nothing else, so what a reader must know
about the run (protocol, leaks, sampler, notes such as folds that fell back) travels inside it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ser_generalize.degradation import NONE
from ser_generalize.errors import InputError, listing
from ser_generalize.files import staged
from ser_generalize.labels import ACTED
from ser_generalize.protocols import tests_clips_again
from ser_generalize.tuning.recipe import NO_TUNING

FILE_NAME = "predictions.parquet"
PLAIN = "none"  # no adaptation
METADATA_KEY = b"ser_generalize"
COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("run", pa.string()),
    ("protocol", pa.string()),
    ("fold", pa.string()),
    ("seed", pa.int32()),
    ("clip_id", pa.string()),
    ("corpus", pa.string()),
    ("speaker", pa.string()),
    ("sex", pa.string()),
    ("age", pa.int32()),
    ("language", pa.string()),
    ("elicitation", pa.string()),
    ("label_source", pa.string()),
    ("label", pa.string()),
)  # and one float32 column p_<class> per class, in the order of the label set
# Of these there are few distinct values, so that millions of predictions fit into memory.
DICTIONARIES = [name for name, kind in COLUMNS if kind == pa.string() and name != "clip_id"]


@dataclass(frozen=True)
class About:
    """What a reader has to know to judge a run's predictions."""

    run: str
    protocol: str
    label_set: str
    classes: tuple[str, ...]
    encoder: str
    window: str
    head: str
    sampler: str
    train_on: str  # each: within every corpus; union: over all of them
    seeds: int  # how many times every fold was trained, each time from another seed
    adapt: str = PLAIN  # or what every table calls it, e.g. "speaker-adapted"
    loss: str = "ce"
    stop: str = "fixed"  # fixed: all epochs; early: where validation speakers say
    epochs: int = 0  # of the head, the median over folds; 0: it is not trained in epochs
    temperature: float = 1.0  # of the probabilities, the median over folds
    tune: str = NO_TUNING  # full: the encoder was fine-tuned; lora: adapters in it were
    tune_epochs: int = 0  # of it, the median over folds
    labels_from: str = ACTED
    degraded: str = NONE  # what was tested on
    augmented: tuple[str, ...] = ()  # what was trained on beside the store's own recordings
    alternatives: tuple[str, ...] = ()  # disputed mappings that were decided the other way
    dataset: str = ""  # its fingerprint: two runs of one name may have seen other clips
    corpora: tuple[str, ...] = ()  # "ravdess 1a2b3c4d5e6f": all clips of each, not only the tested
    leaks: tuple[str, ...] = ()  # what the protocol does not promise, e.g. ("speaker",)
    notes: tuple[str, ...] = field(default=())  # e.g. "2 of 12 folds fell back to no sampling: ..."


@dataclass(frozen=True)
class Predictions:
    """The predictions of one run, sorted by clip_id: one row per test clip and seed.

    Under a protocol that tests a clip by several models (`cross`), one per clip, fold and seed.
    Where it was read, columns of few distinct values are dictionaries.
    """

    about: About
    table: pa.Table

    def column(self, name: str) -> NDArray[np.object_]:
        """Return a column as an object array, null as None, shape [n]."""
        codes, values = self.codes(name)
        return np.array([*values, None], dtype=object)[codes]

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[Any]]:
        """Return a column as positions [n] in its distinct values, -1 for null, and these values.

        What names few things (all columns but the clip) is read, kept and counted by this.
        """
        column = self.table.column(name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        encoded = column.combine_chunks()
        codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        return codes, encoded.dictionary.to_pylist()

    @cached_property
    def clips_once(self) -> bool:
        """Whether no clip has two rows, which is soon known and spares what asks for more."""
        return pc.count_distinct(self.table["clip_id"]).as_py() == self.table.num_rows

    def labels(self) -> NDArray[np.int64]:
        """Return the true class of every clip as a position in `about.classes`, shape [n]."""
        codes, names = self.codes("label")
        position = {name: index for index, name in enumerate(self.about.classes)}
        return np.array([position.get(name, -1) for name in names], dtype=np.int64)[codes]

    def probabilities(self) -> NDArray[np.float32]:
        """Return the class probabilities, shape [n, classes]."""
        columns = [self.table.column(f"p_{name}").to_numpy() for name in self.about.classes]
        return np.stack(columns, axis=1)


def prediction_schema(about: About) -> pa.Schema:
    """Return the Parquet schema of a run's predictions, with `about` in its metadata."""
    fields = [*COLUMNS, *((f"p_{name}", pa.float32()) for name in about.classes)]
    metadata = {METADATA_KEY: json.dumps(asdict(about), sort_keys=True).encode()}
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=metadata)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the predictions atomically; the same predictions always give the same bytes."""
    table = predictions.table.cast(prediction_schema(predictions.about)).sort_by(
        [("clip_id", "ascending"), ("fold", "ascending"), ("seed", "ascending")]
    )
    with staged(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_predictions(run: Path) -> Predictions:
    """Read the predictions of a run folder.

    Raises InputError where the folder is no finished run or the file is not in the contract's form.
    """
    path = run / FILE_NAME
    if not path.is_file():
        raise InputError(f"{run} holds no {FILE_NAME}: give the --out folder of a finished `train`")
    try:
        table = pq.read_table(path, read_dictionary=DICTIONARIES)
        about = _about((table.schema.metadata or {})[METADATA_KEY])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a predictions file of this package ({error})") from error
    _check_columns(path, table, about)
    predictions = Predictions(about, table)
    _check_rows(path, predictions)
    return predictions


def read_about(run: Path) -> About:
    """Read what a finished run says of itself, and none of its predictions."""
    return _about(pq.read_schema(run / FILE_NAME).metadata[METADATA_KEY])


def _about(metadata: bytes) -> About:
    later = {"alternatives": (), "augmented": (), "corpora": ()}  # added since the first versions
    fields = {**later, **json.loads(metadata)}
    names = ("classes", "leaks", "notes", *later)
    lists = {name: tuple(fields[name]) for name in names}
    return About(**{**fields, **lists})


def _check_columns(path: Path, table: pa.Table, about: About) -> None:
    schema = prediction_schema(about)
    missing = set(schema.names) - set(table.column_names)
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    found = {field.name: _decoded(field.type) for field in table.schema}
    odd = [field.name for field in schema if found[field.name] != field.type]
    if odd:
        raise InputError(f"{path} holds something else in the columns {', '.join(odd)}")


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_rows(path: Path, predictions: Predictions) -> None:
    table = predictions.table
    strangers = set(pc.unique(table["label"]).to_pylist()) - set(predictions.about.classes)
    if strangers:
        raise InputError(
            f"{path} holds labels outside its label set: {', '.join(map(str, strangers))}"
        )
    holes = ~np.isfinite(predictions.probabilities()).all(axis=1)
    if holes.any():
        clips = table["clip_id"].filter(pa.array(holes)).to_pylist()
        raise InputError(f"{path} lacks probabilities of {listing(clips, 3)}")
    by_fold = ["fold"] if tests_clips_again(predictions.about.protocol) else []
    if repeated := repeated_clips(predictions, ["clip_id", *by_fold, "seed"]):
        raise InputError(f"{path} predicts clips more than once: {listing(repeated, 3)}")


def repeated_clips(predictions: Predictions, columns: Sequence[str]) -> list[str]:
    """Return the clips, sorted, of rows that are alike in some columns, the clip among them."""
    if predictions.clips_once:
        return []
    counts = predictions.table.select(columns).group_by(columns).aggregate([([], "count_all")])
    return sorted(set(counts.filter(pc.greater(counts["count_all"], 1))["clip_id"].to_pylist()))
