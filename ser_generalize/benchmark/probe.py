"""The corpus-identity probe: how well an embedding tells which corpus a clip is from.

A logistic regression learns the corpus of clips from the features that emotions are told by, and is
tested on speakers that it never heard. Whatever it gets right above chance, a head for emotions may
lean on as well, and that does not travel.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import softmax

from ser_generalize.benchmark.grid import folder_name
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.sections import POOLED
from ser_generalize.cell import Cell
from ser_generalize.command import progress_bar
from ser_generalize.data import Data, read_features
from ser_generalize.experiment import CLIP_COLUMNS
from ser_generalize.heads import LOGISTIC
from ser_generalize.linear import train_linear
from ser_generalize.mixture import Mixture, Rows
from ser_generalize.predictions import (
    FILE_NAME,
    About,
    Predictions,
    prediction_schema,
    read_predictions,
    write_predictions,
)
from ser_generalize.training import Job

FOLDS = 5
CLIPS = 400  # of a corpus at most: more would tell the same and take hours of the largest
SEED = 0
WHOSE = "corpora"  # what stands where other runs name their label set


def cell_of(study: Study) -> Cell:
    """Return the cell whose clips are told apart, whatever its protocol."""
    return study.cell(protocol="within", seeds=1)


def measure_probe(study: Study, folder: Path) -> None:
    """Train and test the probe, and write what it says of every clip; nothing of one corpus."""
    if len(study.corpora) < 2:
        return
    reader, cell = study.reader, cell_of(study)
    where = folder / f"probe-{folder_name(cell, reader)}"
    if not (where / FILE_NAME).is_file():
        write_predictions(where / FILE_NAME, _probe(cell, reader.data(cell)))


def read_probe(study: Study, folder: Path) -> Predictions | None:
    """Return what the probe says, its classes being corpora; None where it has not been run."""
    if not any(folder.glob("probe-*")):
        return None
    cell = cell_of(study)
    where = folder / f"probe-{folder_name(cell, study.reader)}"
    return read_predictions(where) if (where / FILE_NAME).is_file() else None


def _probe(cell: Cell, data: Data) -> Predictions:
    corpora, corpus = np.unique(data.column("corpus").astype(str), return_inverse=True)
    chosen = _chosen(corpus, data.column("speaker"))
    features = read_features(cell, data)
    rows = list[dict[str, object]]()
    about = _about(cell, data, tuple(corpora.tolist()))
    with progress_bar(FOLDS, "corpus probe", "fold") as bar:
        for number, (train, test) in enumerate(_folds(corpus, data.column("speaker"), chosen)):
            real, whose = np.zeros(len(train), np.float32), corpus[train]
            mixture = Mixture(train, train, real, whose, whose)
            job = Job(str(number), 0, mixture, train, test, test[:0])
            told = train_linear(LOGISTIC, features, job, len(corpora), weighted=True)
            rows += _rows(about, data, test, job.name, softmax(told.logits, axis=1))
            bar.update()
    return Predictions(about, pa.Table.from_pylist(rows, schema=prediction_schema(about)))


def _chosen(corpus: NDArray[np.int64], speakers: NDArray[np.object_]) -> Rows:
    """Return clips of known speakers, as many of every corpus as it has up to CLIPS."""
    generator = np.random.default_rng(SEED)
    known = speakers != np.array(None)
    of_each = [np.flatnonzero((corpus == one) & known) for one in range(corpus.max() + 1)]
    return np.sort(np.concatenate([generator.permutation(rows)[:CLIPS] for rows in of_each]))


def _folds(
    corpus: NDArray[np.int64], speakers: NDArray[np.object_], chosen: Rows
) -> Iterator[tuple[Rows, Rows]]:
    """Yield what is trained on and tested: no speaker is in both."""
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    groups = np.unique(speakers[chosen].astype(str), return_inverse=True)[1]
    folds = min(FOLDS, int(groups.max()) + 1)
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    for train, test in split.split(chosen, corpus[chosen], groups):
        yield chosen[train], chosen[test]


def _about(cell: Cell, data: Data, corpora: tuple[str, ...]) -> About:
    return About(
        run="corpus-identity probe",
        protocol=cell.protocol,
        label_set=WHOSE,
        classes=corpora,
        encoder=data.store.encoder,
        window=data.store.window,
        head=LOGISTIC,
        sampler="none",
        train_on="union",
        seeds=1,
        loss="weighted",
        dataset=data.fingerprint[:12],
        corpora=tuple(f"{name} {digest:.12}" for name, digest in sorted(data.corpora.items())),
        notes=(f"at most {CLIPS} clips of every corpus, drawn at random",),
    )


def _rows(
    about: About, data: Data, test: Rows, fold: str, said: NDArray[np.float32]
) -> Iterator[dict[str, object]]:
    """Yield a prediction for every clip; corpora are what is told, so all clips stand together."""
    clips = data.clips.select(test).select_columns(list(CLIP_COLUMNS))
    for clip, chances in zip(clips, said.tolist(), strict=True):
        yield {
            **clip,
            "run": about.run,
            "protocol": about.protocol,
            "fold": fold,
            "seed": 0,
            "label": clip["corpus"],
            "corpus": POOLED,
            **{f"p_{name}": chance for name, chance in zip(about.classes, chances, strict=True)},
        }
