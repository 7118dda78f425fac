"""Resampling of a training part with imbalanced-learn, expressed as mixtures of real clips.

Every sampler used here returns clips or points on the line between two clips. So it is run on
one-hot rows, which name the clips, while its neighbour search looks the names up in the embedding
space: the one-hot rows that come back *are* the mixing weights. Nothing synthetic is stored, a
mixture means the same in every layer, and every row says which real clips it came from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from ser_generalize.errors import InputError, one_of

NEIGHBOURS = 5  # of SMOTE (Chawla et al. 2002) and ADASYN (He et al. 2008)
BORDERLINE_NEIGHBOURS = 10

Space = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """Resampled rows: row r is (1 - weight[r]) * first[r] + weight[r] * second[r], class label[r].

    `first` and `second` are positions in the training part; a real clip has weight 0.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]
    label: Labels

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the resampled rows of any features of the training part, shape [rows, ...]."""
        weight = self.weight.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weight) * values[self.first] + weight * values[self.second]


class RowNeighbours:
    """Nearest neighbours of one-hot rows, which name positions in `space`, where distance is."""

    def __init__(self, space: Space, n_neighbors: int) -> None:
        self.space = space
        self.n_neighbors = n_neighbors

    def __sklearn_clone__(self) -> "RowNeighbours":
        return self  # imbalanced-learn clones the object it is given; the space must not be copied

    def fit(self, one_hot: sparse.csr_matrix) -> "RowNeighbours":
        """Search among the named rows from now on."""
        self._search = NearestNeighbors(n_neighbors=self.n_neighbors)
        self._search.fit(self.space[one_hot.indices])
        return self

    def kneighbors(self, one_hot: sparse.csr_matrix, return_distance: bool = True) -> Any:
        """Return the neighbours of the named rows, as scikit-learn's NearestNeighbors does."""
        return self._search.kneighbors(self.space[one_hot.indices], return_distance=return_distance)

    def kneighbors_graph(self, one_hot: sparse.csr_matrix) -> Any:
        """Return the neighbour graph of the named rows."""
        return self._search.kneighbors_graph(self.space[one_hot.indices])


def _smote(space: Space, seed: int) -> SMOTE:
    return SMOTE(random_state=seed, k_neighbors=RowNeighbours(space, NEIGHBOURS + 1))


def _borderline(space: Space, seed: int) -> BorderlineSMOTE:
    return BorderlineSMOTE(
        random_state=seed,
        k_neighbors=RowNeighbours(space, NEIGHBOURS + 1),
        m_neighbors=RowNeighbours(space, BORDERLINE_NEIGHBOURS + 1),
    )


def _adasyn(space: Space, seed: int) -> ADASYN:
    return ADASYN(random_state=seed, n_neighbors=RowNeighbours(space, NEIGHBOURS + 1))


SAMPLERS: dict[str, Callable[[Space, int], Any] | None] = {
    "none": None,
    "under": lambda _, seed: RandomUnderSampler(random_state=seed),
    "over": lambda _, seed: RandomOverSampler(random_state=seed),
    "smote": _smote,
    "borderline": _borderline,
    "adasyn": _adasyn,
}
NEED_NEIGHBOURS = {"smote": NEIGHBOURS, "borderline": BORDERLINE_NEIGHBOURS, "adasyn": NEIGHBOURS}


def resample(sampler: str, space: Space, labels: Labels, seed: int) -> tuple[Mixture, str | None]:
    """Resample a training part; return the mixture and a note where the sampler could do nothing.

    `space` is where neighbours are searched, shape [clips, features]; it must not have been fitted
    on anything but single clips. `labels` has shape [clips]. ADASYN raises where it can generate
    nothing (classes nearly balanced, or no neighbour of another class): such a part is used as it
    is, and the note says so.
    """
    make = SAMPLERS[one_of("sampler", sampler, SAMPLERS)]
    one_hot = sparse.identity(len(labels), format="csr")
    if make is None:
        return _mixture(one_hot, labels), None
    try:
        rows, resampled = make(space, seed).fit_resample(one_hot, labels)
    except (ValueError, RuntimeError) as error:
        nothing_to_do = any(word in str(error) for word in ("generated", "majority"))
        if sampler != "adasyn" or not nothing_to_do:
            raise
        return _mixture(one_hot, labels), "ADASYN could generate nothing, so no sampling was used"
    return _mixture(rows, resampled), None


def check_class_sizes(sampler: str, counts: dict[str, int], fold: str) -> None:
    """Raise InputError where a class has too few clips in a training part for the sampler."""
    one_of("sampler", sampler, SAMPLERS)
    absent = [name for name, count in counts.items() if count == 0]
    if absent and sampler != "none":
        counts = {name: count for name, count in counts.items() if count}
    needed = NEED_NEIGHBOURS.get(sampler, 0) + 1
    smallest = min(counts, key=lambda name: counts[name])
    if counts[smallest] < needed:
        raise InputError(
            f"sampler {sampler} needs {needed} clips of every class to train on, but without the "
            f"test speakers of fold {fold} there are {counts[smallest]} of class {smallest!r}; "
            "use --sampler over, under or none, or add corpora"
        )


def _mixture(rows: sparse.csr_matrix, labels: Labels) -> Mixture:
    """Read the one or two clips of every row, and their weights, off its one-hot form."""
    rows = sparse.csr_matrix(rows)
    rows.eliminate_zeros()
    rows.sort_indices()
    start, end = rows.indptr[:-1], rows.indptr[1:]
    assert set(np.unique(end - start)) <= {1, 2}, "a resampled row mixes one or two clips"
    first, second = rows.indices[start], rows.indices[end - 1]
    weight = np.where(end - start == 2, rows.data[end - 1], 0.0)
    return Mixture(
        first.astype(np.int64), second.astype(np.int64), weight.astype(np.float32), labels
    )
