"""Resampling: every sampler is imbalanced-learn's own, told in mixtures of real clips."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from numpy.typing import NDArray

from ser_generalize import neighbours, resampling
from ser_generalize.errors import InputError
from ser_generalize.mixture import Labels, Mixture
from ser_generalize.neighbours import Neighbours, Space
from ser_generalize.resampling import (
    BATCHES,
    FEW_LEFT,
    NEIGHBOURS,
    NO_BORDER,
    NOTHING_GENERATED,
    PARTLY_GENERATED,
    PER_CORPUS,
    SAMPLERS,
    repeated_classes,
)

THEIRS = {
    "under": RandomUnderSampler,
    "over": RandomOverSampler,
    "smote": SMOTE,
    "borderline": BorderlineSMOTE,
    "adasyn": ADASYN,
}
SYNTHETIC = ("smote", "borderline", "adasyn")
UNCHANGED = ("none", *BATCHES)

# (clips of every class, features, type): usual, many classes, more features than clips, and one.
PARTS = [
    ((40, 25, 12), 6, np.float64),
    ((90, 31, 60, 17), 4, np.float32),
    ((30, 14, 9, 8, 7), 300, np.float32),
    ((22, 6), 1, np.float32),
]


def resample(sampler: str, space: Space, labels: Labels, seed: int) -> tuple[Mixture, str | None]:
    """Resample a training part that is all that there is."""
    rows = np.arange(len(labels))
    return resampling.resample(sampler, Neighbours(space, labels), rows, seed)


def too_small(sampler: str, labels: Labels) -> list[int]:
    shared = Neighbours(np.zeros((len(labels), 1), np.float32), labels)
    return repeated_classes(sampler, shared, np.arange(len(labels)))


def part(sizes: tuple[int, ...], features: int, kind: type, seed: int = 0) -> tuple[Space, Labels]:
    """Return overlapping classes in random order."""
    generator = np.random.default_rng([seed, *sizes, features])
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    space = generator.normal(size=(len(labels), features)) + 0.3 * labels[:, None]
    return space.astype(kind), labels


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("shape", PARTS, ids=str)
@pytest.mark.parametrize("sampler", THEIRS)
def test_equal_to_imbalanced_learn(
    sampler: str, shape: tuple[tuple[int, ...], int, type], seed: int
) -> None:
    space, labels = part(*shape, seed=seed)
    theirs, their_labels = THEIRS[sampler](random_state=seed).fit_resample(space, labels)
    mixture, note = resample(sampler, space, labels, seed)
    np.testing.assert_array_equal(mixture.label, their_labels)
    np.testing.assert_allclose(mixture.of(space), theirs, rtol=0, atol=2e-6)
    assert note is None or (sampler == "borderline" and note == NO_BORDER)


@given(
    sizes=st.lists(st.integers(6, 40), min_size=2, max_size=5),
    features=st.integers(1, 60),
    sampler=st.sampled_from(sorted(SAMPLERS)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rows_are_convex_mixtures_of_two_given_clips_of_one_class(
    sizes: list[int], features: int, sampler: str, seed: int
) -> None:
    space, labels = part(tuple(sizes), features, np.float32)
    mixture, _ = resample(sampler, space, labels, seed)
    assert mixture.weight.dtype == np.float32
    assert ((mixture.weight >= 0) & (mixture.weight <= 1)).all()
    np.testing.assert_array_equal(labels[mixture.first], mixture.label)
    np.testing.assert_array_equal(labels[mixture.second], mixture.label)
    real = mixture.first == mixture.second
    assert not mixture.weight[real].any()
    assert real.all() or sampler in (*SYNTHETIC, PER_CORPUS)
    if sampler != "under":  # every clip is there, first and once, before what was added
        np.testing.assert_array_equal(mixture.first[: len(labels)], np.arange(len(labels)))
        assert real[: len(labels)].all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_how_many_clips_of_every_class_there_are_afterwards(sampler: str) -> None:
    sizes = (50, 30, 12)
    mixture, _ = resample(sampler, *part(sizes, 5, np.float32), seed=3)
    found = [Counter(mixture.label.tolist())[name] for name in range(3)]
    if sampler == "adasyn":  # it rounds the share of every clip
        assert found[0] == 50
        assert all(abs(count - 50) < size for count, size in zip(found[1:], sizes[1:], strict=True))
    else:
        expected = {name: [*sizes] for name in UNCHANGED} | {"under": [12, 12, 12]}
        assert found == expected.get(sampler, [50, 50, 50])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_decides_and_the_input_stays_as_it_was(sampler: str) -> None:
    space, labels = part((50, 30, 12), 5, np.float32)
    before = space.copy(), labels.copy()
    first, again, other = (resample(sampler, space, labels, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.of(space), again.of(space))
    differs = not np.array_equal(first.of(space), other.of(space))
    assert differs == (sampler not in UNCHANGED)
    np.testing.assert_array_equal(space, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_mixture_means_the_same_in_any_features_of_the_clips(sampler: str) -> None:
    space, labels = part((30, 18, 11), 5, np.float32)
    mixture, _ = resample(sampler, space, labels, seed=0)
    layers = np.stack([space, -2 * space], axis=1)  # [clips, layers, width]
    np.testing.assert_allclose(mixture.of(layers)[:, 1], -2 * mixture.of(space), rtol=1e-5)
    assert mixture.of(layers).dtype == np.float32


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_classes_and_repeated_clips_are_no_trouble(sampler: str) -> None:
    space, labels = part((12, 12, 8), 4, np.float32)
    twice, both = np.concatenate([space, space]), np.concatenate([labels, labels])
    mixture, _ = resample(sampler, twice, both, seed=0)
    assert np.isfinite(mixture.of(twice)).all()


def nearly_balanced() -> tuple[Space, Labels]:
    return part((60, 59), 4, np.float32)


def separable() -> tuple[Space, Labels]:
    space, labels = part((40, 20), 3, np.float32)
    return space + 100 * labels[:, None].astype(np.float32), labels


@pytest.mark.parametrize(
    ("make", "error"), [(nearly_balanced, ValueError), (separable, RuntimeError)]
)
def test_adasyn_that_can_generate_nothing_is_noted(
    make: Callable[[], tuple[Space, Labels]], error: type[Exception]
) -> None:
    space, labels = make()
    with pytest.raises(error):  # what imbalanced-learn does with it
        ADASYN(random_state=0).fit_resample(space, labels)
    mixture, note = resample("adasyn", space, labels, seed=0)
    assert note == NOTHING_GENERATED
    np.testing.assert_array_equal(mixture.of(space), space)
    np.testing.assert_array_equal(mixture.label, labels)


def test_adasyn_goes_on_with_the_classes_that_it_can_do() -> None:
    space, labels = part((60, 59, 20), 4, np.float32)  # IEMOCAP is like that
    mixture, note = resample("adasyn", space, labels, seed=7)
    alone = ADASYN(random_state=7, sampling_strategy={2: 60}).fit_resample(space, labels)
    assert note == PARTLY_GENERATED
    np.testing.assert_array_equal(mixture.label, alone[1])
    np.testing.assert_allclose(mixture.of(space), alone[0], rtol=0, atol=2e-6)


def test_adasyn_hides_no_other_error() -> None:
    space, labels = part((20, 9), 4, np.float32)
    space[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        resample("adasyn", space, labels, seed=0)


def test_borderline_without_a_border_is_noted() -> None:
    space, labels = separable()
    mixture, note = resample("borderline", space, labels, seed=0)
    assert note == NO_BORDER
    np.testing.assert_array_equal(mixture.label, labels)


@pytest.mark.parametrize("sampler", SYNTHETIC)
def test_the_smallest_classes_that_have_neighbours_are_synthesised(sampler: str) -> None:
    for sizes in ((6, 6), (7, 6), (20, 6), (6, 6, 7)):
        assert not too_small(sampler, part(sizes, 3, np.float32)[1])
        mixture, _ = resample(sampler, *part(sizes, 3, np.float32), seed=0)
        assert len(mixture.label) >= sum(sizes)


@pytest.mark.parametrize("sampler", SYNTHETIC)
@pytest.mark.parametrize("sizes", [(30, 0, 5, 12), (9, 1), (5, 2), (1, 1), (40, 3, 0, 2), (6, 5)])
def test_a_class_without_enough_neighbours_is_repeated(
    sampler: str, sizes: tuple[int, ...]
) -> None:
    space, labels = part(sizes, 4, np.float32)
    small = [name for name, size in enumerate(sizes) if 0 < size < min(NEIGHBOURS + 1, max(sizes))]
    assert too_small(sampler, labels) == small
    mixture, _ = resample(sampler, space, labels, seed=2)
    counts = np.bincount(mixture.label, minlength=len(sizes))
    assert [counts[name] for name in small] == [max(sizes)] * len(small)
    repeated = np.isin(mixture.label, small)
    assert not mixture.weight[repeated].any()
    assert set(mixture.first[repeated]) == set(np.flatnonzero(np.isin(labels, small)))


@pytest.mark.parametrize("sampler", ["smote", "borderline"])
def test_repeating_one_class_leaves_the_others_as_they_would_be(sampler: str) -> None:
    space, labels = part((40, 20, 3), 4, np.float32)
    alone = THEIRS[sampler](random_state=1, sampling_strategy={1: 40}).fit_resample(space, labels)
    mixture, _ = resample(sampler, space, labels, seed=1)
    np.testing.assert_allclose(mixture.of(space)[: len(alone[0])], alone[0], rtol=0, atol=2e-6)
    assert set(mixture.label[len(alone[0]) :]) == {2}


def test_under_sampling_to_a_handful_is_noted() -> None:
    assert resample("under", *part((30, 5), 3, np.float32), seed=0)[1] == FEW_LEFT
    assert resample("under", *part((30, 6), 3, np.float32), seed=0)[1] is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_single_class_stays_as_it_is(sampler: str) -> None:
    space, _ = part((7,), 3, np.float32)
    mixture, note = resample(sampler, space, np.full(7, 2), seed=0)
    np.testing.assert_array_equal(mixture.of(space), space)
    assert note is None


def test_an_unknown_sampler_lists_the_valid_ones() -> None:
    valid = "none, under, over, smote, borderline, adasyn, smote-per-corpus, balanced, mixup"
    with pytest.raises(InputError, match=f"unknown sampler 'smoke'; choose one of: {valid}"):
        resample("smoke", *part((9, 9), 2, np.float32), seed=0)


def test_neighbours_are_searched_in_the_space_and_not_among_the_names() -> None:
    """Two clumps of one class: no mixture crosses the gap, which one-hot names do not know of."""
    generator = np.random.default_rng(0)
    small = np.concatenate([generator.normal(0, 1, (10, 3)), generator.normal(500, 1, (10, 3))])
    space = np.concatenate([small, generator.normal(250, 300, (60, 3))]).astype(np.float32)
    labels = np.repeat([0, 1], [20, 60])
    mixture, _ = resample("smote", space, labels, seed=0)
    synthetic = (mixture.label == 0) & (mixture.first != mixture.second)
    assert synthetic.sum() > 20
    assert ((mixture.first < 10) == (mixture.second < 10))[synthetic].all()


def folds_of(clips: int, groups: int) -> Iterator[NDArray[np.int64]]:
    """Yield training parts that leave out one group of clips each; the first leaves out most."""
    group = np.random.default_rng(5).integers(0, groups, clips)
    group[: clips // 2] = 0
    for name in range(groups):
        yield np.flatnonzero(group != name)


@pytest.mark.parametrize("sampler", SYNTHETIC)
@pytest.mark.parametrize("shape", [*PARTS, ((300, 120, 80), 40, np.float32)], ids=str)
def test_folds_that_share_their_neighbours_equal_imbalanced_learn_fold_by_fold(
    sampler: str, shape: tuple[tuple[int, ...], int, type]
) -> None:
    """The first fold leaves so many clips out that lists run short and the search is done again."""
    space, labels = part(*shape)
    shared = Neighbours(space, labels)
    for seed, rows in enumerate(folds_of(len(labels), 5)):
        if too_small(sampler, labels[rows]):
            continue
        theirs = THEIRS[sampler](random_state=seed).fit_resample(space[rows], labels[rows])
        mixture, _ = resampling.resample(sampler, shared, rows, seed)
        np.testing.assert_array_equal(mixture.label, theirs[1])
        np.testing.assert_allclose(mixture.of(space), theirs[0], rtol=0, atol=2e-6)
        assert set(mixture.first) | set(mixture.second) <= set(rows)


def test_the_search_is_done_once_for_all_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    space, labels = part((400, 200, 100), 20, np.float32)
    shared, searched, original = Neighbours(space, labels), [], neighbours.search

    def watched(space: Space, among: Labels, rows: Labels, count: int) -> Any:
        searched.append(len(rows))
        return original(space, among, rows, count)

    monkeypatch.setattr(neighbours, "search", watched)
    for held_out in range(10):
        rows = np.flatnonzero(np.arange(len(labels)) % 10 != held_out)
        resampling.resample("smote", shared, rows, seed=0)
    assert searched == [200, 100]  # the two classes that are filled up, whole, and nothing again


def test_smote_per_corpus_is_smote_in_each() -> None:
    space, labels = part((90, 50, 30), 5, np.float32)
    corpora = np.array(["a", "b"], dtype=object)[np.arange(len(labels)) % 2]
    rows = np.flatnonzero(np.arange(len(labels)) % 7 != 3)
    mixture, note = resampling.resample(PER_CORPUS, Neighbours(space, labels, corpora), rows, 4)
    theirs = [
        SMOTE(random_state=4).fit_resample(space[here], labels[here])
        for here in (rows[corpora[rows] == name] for name in ("a", "b"))
    ]
    np.testing.assert_allclose(
        mixture.of(space), np.concatenate([one[0] for one in theirs]), rtol=0, atol=2e-6
    )
    np.testing.assert_array_equal(mixture.label, np.concatenate([one[1] for one in theirs]))
    assert (corpora[mixture.first] == corpora[mixture.second]).all()
    assert note is None


def test_a_class_that_one_corpus_has_little_of_is_repeated_there() -> None:
    space, labels = part((40, 20), 3, np.float32)
    corpora = np.array(["a"] * len(labels), dtype=object)
    corpora[np.flatnonzero(labels == 1)[:3]] = "b"
    corpora[np.flatnonzero(labels == 0)[:10]] = "b"
    shared, rows = Neighbours(space, labels, corpora), np.arange(len(labels))
    assert repeated_classes(PER_CORPUS, shared, rows) == [1]
    assert repeated_classes("smote", shared, rows) == []
    mixture, _ = resampling.resample(PER_CORPUS, shared, rows, seed=0)
    here = corpora[mixture.first] == "b"
    assert np.bincount(mixture.label[here]).tolist() == [10, 10]
    assert not mixture.weight[here].any()
