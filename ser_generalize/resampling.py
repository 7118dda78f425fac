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

from ser_generalize.errors import one_of

NEIGHBOURS = 5  # of SMOTE (Chawla et al. 2002) and ADASYN (He et al. 2008)
BORDERLINE_NEIGHBOURS = 10

Space = NDArray[np.float32]
Labels = NDArray[np.int64]
Wanted = dict[int, int]  # clips of a class after resampling


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


def _smote(space: Space, seed: int, wanted: Wanted) -> SMOTE:
    neighbours = RowNeighbours(space, NEIGHBOURS + 1)
    return SMOTE(random_state=seed, k_neighbors=neighbours, sampling_strategy=wanted)


def _borderline(space: Space, seed: int, wanted: Wanted) -> BorderlineSMOTE:
    return BorderlineSMOTE(
        random_state=seed,
        k_neighbors=RowNeighbours(space, NEIGHBOURS + 1),
        m_neighbors=RowNeighbours(space, BORDERLINE_NEIGHBOURS + 1),
        sampling_strategy=wanted,
    )


def _adasyn(space: Space, seed: int, wanted: Wanted) -> ADASYN:
    neighbours = RowNeighbours(space, NEIGHBOURS + 1)
    return ADASYN(random_state=seed, n_neighbors=neighbours, sampling_strategy=wanted)


SYNTHESISERS: dict[str, Callable[[Space, int, Wanted], Any]] = {
    "smote": _smote,
    "borderline": _borderline,
    "adasyn": _adasyn,
}
REPEATERS = {"under": RandomUnderSampler, "over": RandomOverSampler}
SAMPLERS = ("none", *REPEATERS, *SYNTHESISERS)

NOTHING_GENERATED = "ADASYN could generate nothing, so no sampling was used"
PARTLY_GENERATED = "ADASYN could generate nothing for some of the classes, which stayed as they are"
NO_BORDER = "BorderlineSMOTE found no border clip in some of the classes, which stayed as they are"
FEW_LEFT = f"under-sampling left fewer than {NEIGHBOURS + 1} clips of every class"
# How ADASYN says that there is nothing to do: classes nearly balanced, or far from each other.
NOTHING_TO_DO = ("samples will be generated", "belong to the majority")


def resample(sampler: str, space: Space, labels: Labels, seed: int) -> tuple[Mixture, str | None]:
    """Resample a training part; return the mixture and a note where the sampler did not do it all.

    `space` is where neighbours are searched, shape [clips, features]; it must not have been fitted
    on anything but single clips. `labels` has shape [clips]; classes that it lacks are no trouble.
    A class too small to have neighbours is repeated, see `repeated_classes`, and one for which
    ADASYN or BorderlineSMOTE can generate nothing is used as it is.
    """
    one_of("sampler", sampler, SAMPLERS)
    one_hot = sparse.identity(len(labels), format="csr")
    classes, counts = np.unique(labels, return_counts=True)
    if sampler == "none" or len(classes) < 2:
        return _mixture(one_hot, labels), None
    if sampler in REPEATERS:
        rows, resampled = REPEATERS[sampler](random_state=seed).fit_resample(one_hot, labels)
        few = sampler == "under" and counts.min() <= NEIGHBOURS
        return _mixture(rows, resampled), FEW_LEFT if few else None
    wanted = {int(name): int(counts.max()) for name in classes[counts < counts.max()]}
    repeated = {name: wanted.pop(name) for name in repeated_classes(sampler, labels)}
    rows, resampled, note = _synthesise(sampler, one_hot, space, labels, seed, wanted)
    if repeated:
        repeater = RandomOverSampler(random_state=seed, sampling_strategy=repeated)
        rows, resampled = repeater.fit_resample(rows, resampled)
    return _mixture(rows, resampled), note


def repeated_classes(sampler: str, labels: Labels) -> list[int]:
    """Return the classes whose clips are repeated because they have too few neighbours to mix with.

    SMOTE and its kin look for five neighbours within the class: with fewer, random over-sampling is
    what is left of them.
    """
    classes, counts = np.unique(labels, return_counts=True)
    small = (counts <= NEIGHBOURS) & (counts < counts.max())
    return classes[small].tolist() if sampler in SYNTHESISERS else []


def _synthesise(
    sampler: str, one_hot: sparse.csr_matrix, space: Space, labels: Labels, seed: int,
    wanted: Wanted,
) -> tuple[sparse.csr_matrix, Labels, str | None]:  # fmt: skip
    if not wanted:
        return one_hot, labels, None
    if sampler == "adasyn":
        return _synthesise_adasyn(one_hot, space, labels, seed, wanted)
    made = SYNTHESISERS[sampler](space, seed, wanted)
    rows, resampled = made.fit_resample(one_hot, labels)
    short = any((resampled == name).sum() < count for name, count in wanted.items())
    return rows, resampled, NO_BORDER if short else None


def _synthesise_adasyn(
    one_hot: sparse.csr_matrix, space: Space, labels: Labels, seed: int, wanted: Wanted
) -> tuple[sparse.csr_matrix, Labels, str | None]:
    """Run ADASYN as it is; where one class stops it, run it on the classes that do not."""
    try:
        return *_adasyn(space, seed, wanted).fit_resample(one_hot, labels), None
    except (ValueError, RuntimeError) as error:
        _check_nothing_to_do(error)
    possible = {name: n for name, n in wanted.items() if _adasyn_can(one_hot, space, labels, name)}
    if not possible:
        return one_hot, labels, NOTHING_GENERATED
    rows, resampled = _adasyn(space, seed, possible).fit_resample(one_hot, labels)
    return rows, resampled, PARTLY_GENERATED


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
