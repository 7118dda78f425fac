"""Nearest neighbours of a cell's clips, searched once and shared by all its folds.

A fold leaves out some clips. So the lists that are kept are longer than a sampler asks for: what is
left of them once the held-out clips are struck out is exact, and where too little is left, the
search is done again. Distances are scikit-learn's, in blocks: memory does not grow with the square
of the clips.
"""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

SPARE = 4  # times as many neighbours are kept as are asked for

Space = NDArray[np.float32]
Rows = NDArray[np.int64]
Labels = NDArray[np.int64]
Column = NDArray[np.object_]


@dataclass(frozen=True)
class Lists:
    """The nearest neighbours of some clips among themselves, nearest first, as places in `rows`."""

    rows: Rows
    nearest: NDArray[np.intp]  # [rows, kept]


class Neighbours:
    """The clips of a cell and the lists of their neighbours, each searched when first asked for.

    `space` [clips, features] is where distance is; it must not have been fitted on anything but
    single clips. `labels` [clips] are classes; `corpora` [clips] is needed where folds train on
    other corpora than their neighbours.
    """

    def __init__(self, space: Space, labels: Labels, corpora: Column | None = None) -> None:
        self.space, self.labels = space, labels
        names = np.zeros(len(labels)) if corpora is None else corpora
        self.corpora = np.unique(names, return_inverse=True)[1]
        self._found: dict[tuple[object, ...], Lists] = {}
        self._lock = Lock()  # folds are resampled by several threads

    def lists(self, rows: Rows, count: int) -> Lists:
        """Return lists for clips of one class or of several: of the cell's clips that are alike.

        That is, of the same class, where `rows` have one, and in the same corpora.
        """
        classes, corpora = np.unique(self.labels[rows]), np.unique(self.corpora[rows])
        one = int(classes[0]) if len(classes) == 1 else None
        key = (one, tuple(corpora.tolist()), count)
        with self._lock:
            if key not in self._found:
                self._found[key] = self._search(one, corpora, count * SPARE)
            return self._found[key]

    def _search(self, label: int | None, corpora: Rows, count: int) -> Lists:
        alike = np.isin(self.corpora, corpora)
        if label is not None:
            alike &= self.labels == label
        rows = np.flatnonzero(alike)
        return Lists(rows, search(self.space, rows, rows, min(count, len(rows))))


def search(space: Space, among: Rows, rows: Rows, count: int) -> NDArray[np.intp]:
    """Return the nearest clips of `rows`, [rows, count], as places in `among`, nearest first."""
    values = space if len(among) == len(space) else space[among]
    found = NearestNeighbors(n_neighbors=count).fit(values)
    asked = values if among is rows else space[rows]
    nearest: NDArray[np.intp] = found.kneighbors(asked, return_distance=False)
    return nearest


class FoldNeighbours:
    """What imbalanced-learn takes for a NearestNeighbors: it searches one fold's training part.

    Its clips are one-hot rows, which name the places of `rows`: the training part's clips.
    """

    def __init__(self, neighbours: Neighbours, rows: Rows, n_neighbors: int) -> None:
        self.neighbours, self.rows, self.n_neighbors = neighbours, rows, n_neighbors

    def __sklearn_clone__(self) -> "FoldNeighbours":
        return self  # imbalanced-learn clones what it is given; the lists must not be copied

    def fit(self, one_hot: sparse.csr_matrix) -> "FoldNeighbours":
        """Search among the named clips from now on."""
        self._among = self.rows[one_hot.indices]
        self._lists = self.neighbours.lists(self._among, self.n_neighbors)
        self._place = np.full(len(self.neighbours.space), -1)
        self._place[self._among] = np.arange(len(self._among))
        return self

    def kneighbors(self, one_hot: sparse.csr_matrix, return_distance: bool = True) -> Any:
        """Return the neighbours of the named clips, as scikit-learn's NearestNeighbors does."""
        rows = self.rows[one_hot.indices]
        nearest = self._nearest(rows)
        if not return_distance:
            return nearest
        space = self.neighbours.space
        apart = space[rows][:, None] - space[self._among[nearest]]
        return np.linalg.norm(apart, axis=-1), nearest

    def kneighbors_graph(self, one_hot: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return the neighbour graph of the named clips."""
        nearest = self.kneighbors(one_hot, return_distance=False)
        start = np.arange(len(nearest) + 1) * self.n_neighbors
        shape = (len(nearest), len(self._among))
        return sparse.csr_matrix((np.ones(nearest.size), nearest.ravel(), start), shape=shape)

    def _nearest(self, rows: Rows) -> NDArray[np.intp]:
        """Strike what the fold leaves out off the lists; search again where too few remain."""
        lists = self._lists
        listed = lists.rows[lists.nearest[np.searchsorted(lists.rows, rows)]]
        places = self._place[listed]
        there = places >= 0
        first = np.argsort(~there, axis=1, kind="stable")[:, : self.n_neighbors]
        nearest = np.take_along_axis(places, first, axis=1)
        short = there.sum(axis=1) < self.n_neighbors
        if short.any():
            again = search(self.neighbours.space, self._among, rows[short], self.n_neighbors)
            if nearest.shape[1] < self.n_neighbors:
                nearest = np.resize(nearest, (len(rows), self.n_neighbors))
            nearest[short] = again
        return nearest
