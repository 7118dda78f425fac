"""Resampling of a training part with imbalanced-learn, expressed as mixtures of real clips.

Every sampler used here returns clips or points on the line between two clips. So it is run on
one-hot rows, which name the clips, while its neighbour search looks the names up in the embedding
space: the one-hot rows that come back *are* the mixing weights.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from scipy import sparse

from ser_generalize.errors import one_of
from ser_generalize.mixture import BALANCED, MIXUP, Labels, Mixture, Rows, joined
from ser_generalize.neighbours import FoldNeighbours, Neighbours

NEIGHBOURS = 5  # of SMOTE (Chawla et al. 2002) and ADASYN (He et al. 2008)
BORDERLINE_NEIGHBOURS = 10

Wanted = dict[int, int]  # clips of a class after resampling
Near = Callable[[int], FoldNeighbours]  # a search for so many neighbours in the training part


def _smote(near: Near, seed: int, wanted: Wanted) -> SMOTE:
    neighbours = near(NEIGHBOURS + 1)
    return SMOTE(random_state=seed, k_neighbors=neighbours, sampling_strategy=wanted)


def _borderline(near: Near, seed: int, wanted: Wanted) -> BorderlineSMOTE:
    return BorderlineSMOTE(
        random_state=seed,
        k_neighbors=near(NEIGHBOURS + 1),
        m_neighbors=near(BORDERLINE_NEIGHBOURS + 1),
        sampling_strategy=wanted,
    )


def _adasyn(near: Near, seed: int, wanted: Wanted) -> ADASYN:
    neighbours = near(NEIGHBOURS + 1)
    return ADASYN(random_state=seed, n_neighbors=neighbours, sampling_strategy=wanted)


SYNTHESISERS: dict[str, Callable[[Near, int, Wanted], Any]] = {
    "smote": _smote,
    "borderline": _borderline,
    "adasyn": _adasyn,
}
REPEATERS = {"under": RandomUnderSampler, "over": RandomOverSampler}
PER_CORPUS = "smote-per-corpus"
BATCHES = (BALANCED, MIXUP)  # the training part stays as it is, its batches do not
SAMPLERS = ("none", *REPEATERS, *SYNTHESISERS, PER_CORPUS, *BATCHES)

NOTHING_GENERATED = "ADASYN could generate nothing, so no sampling was used"
PARTLY_GENERATED = "ADASYN could generate nothing for some of the classes, which stayed as they are"
NO_BORDER = "BorderlineSMOTE found no border clip in some of the classes, which stayed as they are"
FEW_LEFT = f"under-sampling left fewer than {NEIGHBOURS + 1} clips of every class"
# How ADASYN says that there is nothing to do: classes nearly balanced, or far from each other.
NOTHING_TO_DO = ("samples will be generated", "belong to the majority")


def resample(
    sampler: str, neighbours: Neighbours, rows: Rows, seed: int
) -> tuple[Mixture, str | None]:
    """Resample a training part; return the mixture and a note where the sampler did not do it all.

    `rows` are the training part's clips, as positions among those that `neighbours` knows; so are
    those of the mixture. A class that is too small to have neighbours is repeated, see
    `repeated_classes`, and one for which ADASYN or BorderlineSMOTE can generate nothing is used as
    it is.
    """
    one_of("sampler", sampler, SAMPLERS)
    if sampler == PER_CORPUS:
        parts = [resample("smote", neighbours, part, seed) for part in _by_corpus(neighbours, rows)]
        return joined([mixture for mixture, _ in parts]), next((n for _, n in parts if n), None)
    labels, one_hot = neighbours.labels[rows], sparse.identity(len(rows), format="csr")
    classes, counts = np.unique(labels, return_counts=True)
    if sampler in ("none", *BATCHES) or len(classes) < 2:
        plain = _mixture(rows, one_hot, labels)
        return replace(plain, batches=sampler) if sampler in BATCHES else plain, None
    if sampler in REPEATERS:
        drawn, resampled = REPEATERS[sampler](random_state=seed).fit_resample(one_hot, labels)
        few = sampler == "under" and counts.min() <= NEIGHBOURS
        return _mixture(rows, drawn, resampled), FEW_LEFT if few else None
    wanted = {int(name): int(counts.max()) for name in classes[counts < counts.max()]}
    repeated = {name: wanted.pop(name) for name in _too_small(labels)}

    def near(count: int) -> FoldNeighbours:
        return FoldNeighbours(neighbours, rows, count)

    drawn, resampled, note = _synthesise(sampler, one_hot, near, labels, seed, wanted)
    if repeated:
        repeater = RandomOverSampler(random_state=seed, sampling_strategy=repeated)
        drawn, resampled = repeater.fit_resample(drawn, resampled)
    return _mixture(rows, drawn, resampled), note


def repeated_classes(sampler: str, neighbours: Neighbours, rows: Rows) -> list[int]:
    """Return the classes whose clips are repeated because they have too few neighbours to mix with.

    SMOTE and its kin look for five neighbours within the class: with fewer, random over-sampling is
    what is left of them.
    """
    if sampler == PER_CORPUS:
        parts = _by_corpus(neighbours, rows)
    else:
        parts = [rows] if sampler in SYNTHESISERS else []
    return sorted({name for part in parts for name in _too_small(neighbours.labels[part])})


def _too_small(labels: Labels) -> list[int]:
    classes, counts = np.unique(labels, return_counts=True)
    return classes[(counts <= NEIGHBOURS) & (counts < counts.max())].tolist()


def _by_corpus(neighbours: Neighbours, rows: Rows) -> list[Rows]:
    corpora = neighbours.corpora[rows]
    return [rows[corpora == corpus] for corpus in np.unique(corpora)]


def _synthesise(
    sampler: str, one_hot: sparse.csr_matrix, near: Near, labels: Labels, seed: int,
    wanted: Wanted,
) -> tuple[sparse.csr_matrix, Labels, str | None]:  # fmt: skip
    if not wanted:
        return one_hot, labels, None
    if sampler == "adasyn":
        return _synthesise_adasyn(one_hot, near, labels, seed, wanted)
    made = SYNTHESISERS[sampler](near, seed, wanted)
    rows, resampled = made.fit_resample(one_hot, labels)
    short = any((resampled == name).sum() < count for name, count in wanted.items())
    return rows, resampled, NO_BORDER if short else None


def _synthesise_adasyn(
    one_hot: sparse.csr_matrix, near: Near, labels: Labels, seed: int, wanted: Wanted
) -> tuple[sparse.csr_matrix, Labels, str | None]:
    """Run ADASYN as it is; where one class stops it, run it on the classes that do not."""
    try:
        return *_adasyn(near, seed, wanted).fit_resample(one_hot, labels), None
    except (ValueError, RuntimeError) as error:
        _check_nothing_to_do(error)
    possible = {name: n for name, n in wanted.items() if _adasyn_can(one_hot, near, labels, name)}
    if not possible:
        return one_hot, labels, NOTHING_GENERATED
    rows, resampled = _adasyn(near, seed, possible).fit_resample(one_hot, labels)
    return rows, resampled, PARTLY_GENERATED


def _adasyn_can(one_hot: sparse.csr_matrix, near: Near, labels: Labels, name: int) -> bool:
    try:
        _adasyn(near, 0, {name: int(np.bincount(labels).max())}).fit_resample(one_hot, labels)
    except (ValueError, RuntimeError) as error:
        _check_nothing_to_do(error)
        return False
    return True


def _check_nothing_to_do(error: Exception) -> None:
    if not any(words in str(error) for words in NOTHING_TO_DO):
        raise error


def _mixture(clips: Rows, rows: sparse.csr_matrix, labels: Labels) -> Mixture:
    """Read the one or two of `clips` of every row, and their weights, off its one-hot form."""
    rows = sparse.csr_matrix(rows)
    rows.eliminate_zeros()
    rows.sort_indices()
    start, end = rows.indptr[:-1], rows.indptr[1:]
    assert set(np.unique(end - start)) <= {1, 2}, "a resampled row mixes one or two clips"
    weight = np.where(end - start == 2, rows.data[end - 1], 0.0).astype(np.float32)
    first, second = clips[rows.indices[start]], clips[rows.indices[end - 1]]
    return Mixture(first, second, weight, labels, labels)
