"""Reading for many cells: clips, embeddings and folds that several cells share are read once."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from datasets import Dataset, concatenate_datasets

from ser_generalize.adapt import CORPUS
from ser_generalize.cell import ALL_LANGUAGES, FIXED, Cell
from ser_generalize.data import Data, make_folds, read_data, read_features
from ser_generalize.dataset import check_once, corpus_names, load_clips
from ser_generalize.groups import Material
from ser_generalize.heads import BOTH, DEFAULT_HEAD
from ser_generalize.launch import joined
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import EACH, Fold
from ser_generalize.training import CROSS_ENTROPY


class Reader:
    """What cells are made of; the embeddings and folds of the latest cell are kept for the next.

    Ask for cells of the same clips one after the other, see `order`.
    """

    def __init__(self) -> None:
        self._corpora: dict[tuple[str, str], Dataset] = {}
        self._data: dict[Cell, Data] = {}
        self._material: Material | None = None
        self._folds: tuple[Cell, list[Fold]] | None = None

    @cached_property
    def device(self) -> torch.device:
        """Where this process trains."""
        return joined().device

    def clips(self, dataset: str, corpora: Sequence[str] | None) -> Dataset:
        """Return the clips of some corpora, as `dataset.load_clips`."""
        corpora = corpus_names(dataset) if corpora is None else corpora
        for name in corpora:
            if (dataset, name) not in self._corpora:
                self._corpora[dataset, name] = load_clips(dataset, [name])
        clips = concatenate_datasets([self._corpora[dataset, name] for name in corpora])
        check_once(dataset, clips["clip_id"])
        return clips

    def data(self, cell: Cell) -> Data:
        """Return the clips and classes of a cell, as `data.read_data`."""
        alike = _of_data(cell)
        if alike not in self._data:
            self._data[alike] = read_data(alike, self.clips)
        return self._data[alike]

    def folds(self, cell: Cell) -> list[Fold]:
        """Return the folds of a cell, as `data.make_folds`."""
        alike = _of_folds(cell)
        if self._folds is None or self._folds[0] != alike:
            self._folds = alike, make_folds(alike, self.data(cell))
        return self._folds[1]

    def material(self, cell: Cell) -> Material:
        """Return what the heads of a cell are made of, its embeddings among it."""
        data, last = self.data(cell), self._material
        if last is not None and last.data is data and _of_features(last.cell) == _of_features(cell):
            self._material = last.under(cell)
        else:
            self._material = last = None  # memory for one of them is enough
            self._material = Material(cell, data, read_features(cell, data), self.device)
        return self._material


def order(cell: Cell) -> tuple[str, ...]:
    """Return a key by which cells that share clips, and of those the ones that share folds, meet.

    Those of few corpora come first: they say soonest whether all is well.
    """
    shared = _of_data(cell)
    return (
        f"{len(shared.corpora):03d}",
        repr(shared),
        repr(_of_features(cell)),
        repr(_of_folds(cell)),
        repr(cell),
    )


def _of_features(cell: Cell) -> tuple[object, ...]:
    """Return what of a cell decides the features of its clips, the store being the same."""
    return cell.layers, cell.pooling


def _of_data(cell: Cell) -> Cell:
    """Return the plainest cell that has the same clips and classes."""
    return replace(
        _of_folds(cell),
        protocol="loso",
        train_on=EACH,
        languages=cell.chosen_languages or (ALL_LANGUAGES,),
    )


def _of_folds(cell: Cell) -> Cell:
    """Return the plainest cell that has the same folds."""
    return replace(
        cell,
        sampler="none",
        head=DEFAULT_HEAD,
        loss=CROSS_ENTROPY,
        stop=FIXED,
        seeds=1,
        adapt=PLAIN if cell.adapt == PLAIN else CORPUS,  # adapted: the clips outside as well
        layers=(),
        pooling=BOTH,
    )
