"""Mixtures: how an epoch draws from them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from ser_generalize.batches import class_weights
from ser_generalize.mixture import BALANCED, MIXUP, SHUFFLED, Mixture, joined


def mixture(sizes: list[int], batches: str) -> Mixture:
    """Return real clips, 1000 times their class being their positions."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rows = 1000 * labels + np.arange(len(labels))
    return Mixture(rows, rows, np.zeros(len(rows), np.float32), labels, labels, batches)


def drawn(sizes: list[int], batches: str, seed: int = 0) -> Mixture:
    return mixture(sizes, batches).epoch(np.random.default_rng(seed))


def test_an_epoch_sees_every_row_once_in_another_order_each_time() -> None:
    first, second = (drawn([9, 30], SHUFFLED, seed) for seed in (0, 1))
    assert sorted(first.first) == sorted(second.first) == sorted(mixture([9, 30], SHUFFLED).first)
    assert list(first.first) != list(second.first)
    np.testing.assert_array_equal(first.label, first.first // 1000)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 9))
def test_balanced_batches_hold_as_many_clips_of_every_class(sizes: list[int], seed: int) -> None:
    found = drawn(sizes, BALANCED, seed)
    assert len(found.label) == sum(sizes)  # an epoch costs what it always costs
    np.testing.assert_array_equal(found.label, found.first // 1000)
    for start in range(0, sum(sizes) - len(sizes) + 1, len(sizes)):
        assert sorted(found.label[start : start + len(sizes)]) == list(range(len(sizes)))
    for name, size in enumerate(sizes):  # none comes again before all have come
        times = np.unique(found.first[found.label == name], return_counts=True)[1]
        assert times.size == 0 or times.max() - (times.min() if times.size == size else 0) <= 1


def test_mixup_mixes_clips_of_any_class() -> None:
    found = drawn([300, 500], MIXUP)
    assert sorted(found.first) == sorted(found.second)
    np.testing.assert_array_equal(found.label, found.first // 1000)
    np.testing.assert_array_equal(found.second_label, found.second // 1000)
    assert (found.label != found.second_label).mean() == pytest.approx(2 * 0.375 * 0.625, abs=0.05)
    assert found.weight.mean() == pytest.approx(0.5, abs=0.05)
    assert ((found.weight > 0.1) & (found.weight < 0.9)).mean() < 0.4  # most are near a real clip
    target = found.target(3)
    np.testing.assert_allclose(target.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(
        target[np.arange(800), found.second_label][found.label != found.second_label],
        found.weight[found.label != found.second_label],
        atol=1e-6,
    )


def test_joined_mixtures_keep_their_rows() -> None:
    one, two = mixture([2, 1], SHUFFLED), replace(mixture([1], SHUFFLED), weight=np.ones(1, "f4"))
    both = joined([one, two])
    assert both.first.tolist() == [*one.first, *two.first]
    assert both.weight.tolist() == [0, 0, 0, 1]


def test_class_weights_are_scikit_learn_s() -> None:
    labels = np.repeat([0, 1, 3], [5, 20, 9])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    np.testing.assert_allclose(class_weights(labels, 5)[[0, 1, 3]], expected, rtol=1e-6)
