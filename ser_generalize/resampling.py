"""Resampling of a training part with imbalanced-learn, expressed as mixtures of real clips.

Every sampler used here returns clips or points on the line between two clips. So it is run on
one-hot rows, which name the clips, while its neighbour search looks the names up in the embedding
space: the one-hot rows that come back *are* the mixing weights. Nothing synthetic is stored, a
mixture means the same in every layer, and every row says which real clips it came from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from ser_generalize.errors import InputError, listing, one_of

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


def _adasyn(space: Space, seed: int, wanted: dict[int, int] | str = "auto") -> ADASYN:
    neighbours = RowNeighbours(space, NEIGHBOURS + 1)
    return ADASYN(random_state=seed, n_neighbors=neighbours, sampling_strategy=wanted)


SAMPLERS: dict[str, Callable[[Space, int], Any] | None] = {
    "none": None,
    "under": lambda _, seed: RandomUnderSampler(random_state=seed),
    "over": lambda _, seed: RandomOverSampler(random_state=seed),
    "smote": _smote,
    "borderline": _borderline,
    "adasyn": _adasyn,
}
# BorderlineSMOTE's 10 neighbours are of any class, so two classes with 5 neighbours have them.
NEED_NEIGHBOURS = {"smote", "borderline", "adasyn"}

NOTHING_GENERATED = "ADASYN could generate nothing, so no sampling was used"
PARTLY_GENERATED = "ADASYN could generate nothing for some of the classes, which stayed as they are"
NO_BORDER = "BorderlineSMOTE found no border clip in some of the classes, which stayed as they are"
# How ADASYN says that there is nothing to do: classes nearly balanced, or far from each other.
NOTHING_TO_DO = ("samples will be generated", "belong to the majority")


def resample(sampler: str, space: Space, labels: Labels, seed: int) -> tuple[Mixture, str | None]:
    """Resample a training part; return the mixture and a note where the sampler did not do it all.

    `space` is where neighbours are searched, shape [clips, features]; it must not have been fitted
    on anything but single clips. `labels` has shape [clips], and `check_class_sizes` has let it
    pass. A class for which ADASYN or BorderlineSMOTE can generate nothing is used as it is.
    """
    make = SAMPLERS[one_of("sampler", sampler, SAMPLERS)]
    one_hot = sparse.identity(len(labels), format="csr")
    if make is None:
        return _mixture(one_hot, labels), None
    if sampler == "adasyn":
        return _resample_adasyn(one_hot, space, labels, seed)
    rows, resampled = make(space, seed).fit_resample(one_hot, labels)
    unequal = len(set(np.unique(resampled, return_counts=True)[1])) > 1
    return _mixture(rows, resampled), NO_BORDER if unequal else None


def _resample_adasyn(
    one_hot: sparse.csr_matrix, space: Space, labels: Labels, seed: int
) -> tuple[Mixture, str | None]:
    """Run ADASYN as it is; where one class stops it, run it on the classes that do not."""
    try:
        return _mixture(*_adasyn(space, seed).fit_resample(one_hot, labels)), None
    except (ValueError, RuntimeError) as error:
        _check_nothing_to_do(error)
    classes, counts = np.unique(labels, return_counts=True)
    wanted = {name: int(counts.max()) for name in classes[counts < counts.max()]}
    possible = {name: n for name, n in wanted.items() if _adasyn_can(one_hot, space, labels, name)}
    if not possible:
        return _mixture(one_hot, labels), NOTHING_GENERATED
    rows, resampled = _adasyn(space, seed, possible).fit_resample(one_hot, labels)
    return _mixture(rows, resampled), PARTLY_GENERATED


def _adasyn_can(one_hot: sparse.csr_matrix, space: Space, labels: Labels, name: int) -> bool:
    try:
        _adasyn(space, 0, {name: int(np.bincount(labels).max())}).fit_resample(one_hot, labels)
    except (ValueError, RuntimeError) as error:
        _check_nothing_to_do(error)
        return False
    return True


def _check_nothing_to_do(error: Exception) -> None:
    if not any(words in str(error) for words in NOTHING_TO_DO):
        raise error


def check_class_sizes(sampler: str, counts: Mapping[str, int], fold: str) -> None:
    """Raise InputError where a training part has too few classes or clips to train or resample.

    `counts` has the number of clips of every class.
    """
    one_of("sampler", sampler, SAMPLERS)
    counts = {name: count for name, count in counts.items() if count}
    without = f"without the test speakers of fold {fold}"
    if len(counts) < 2:
        raise InputError(
            f"training needs two classes, but {without} there is only {listing(counts)}; "
            "choose another label set or add corpora"
        )
    instead = "use --sampler over, under or none, or add corpora"
    smallest = min(counts, key=lambda name: counts[name])
    if sampler in NEED_NEIGHBOURS and counts[smallest] <= NEIGHBOURS:
        raise InputError(
            f"sampler {sampler} needs {NEIGHBOURS + 1} clips of every class to train on, but "
            f"{without} there are {counts[smallest]} of class {smallest!r}; {instead}"
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
