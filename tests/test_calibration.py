"""Calibration and abstention: what they promise on scores whose truth is known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from ser_generalize.calibration import (
    calibrate,
    calibration_error,
    choose_threshold,
    fit_temperature,
    reliability,
    upper_limit,
)

CLASSES = 4


def draw(
    clips: int, temperature: float = 1.0, speakers: int = 20, seed: int = 0, spread: float = 3.0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return scores, labels drawn by their true probabilities, and speakers.

    The scores are those of the true probabilities times the temperature: too sure above 1.
    """
    rng = np.random.default_rng(seed)
    truth = spread * rng.normal(size=(clips, CLASSES))
    chances = softmax(truth, axis=1).cumsum(1)
    labels = np.minimum((rng.random((clips, 1)) > chances).sum(1), CLASSES - 1)
    names = np.array([f"s{number % speakers}" for number in range(clips)], dtype=object)
    return temperature * truth, labels, names


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    scores, labels, _ = draw(20_000, temperature)
    assert fit_temperature(scores, labels) == pytest.approx(temperature, rel=0.05)


def test_clips_of_a_class_that_was_not_trained_on_say_nothing_of_the_temperature() -> None:
    scores, labels, _ = draw(20_000, 2.5)
    scores = scores.astype(float)
    scores[:2000, 1] = -np.inf
    apart = np.arange(len(labels)) >= 2000
    mixed = apart | (labels != 1)
    found = fit_temperature(scores, labels)
    assert found == pytest.approx(fit_temperature(scores[mixed], labels[mixed]))
    assert found == pytest.approx(2.5, rel=0.05)
    assert fit_temperature(scores[:10], np.ones(10, dtype=int)) == 1


@given(st.integers(0, 1000), st.floats(0.3, 3))
@settings(max_examples=15, deadline=None)
def test_the_temperature_sees_scores_up_to_a_constant(seed: int, constant: float) -> None:
    scores, labels, _ = draw(300, 2.0, seed=seed)
    shifted = scores + constant * np.arange(len(scores))[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(
        fit_temperature(scores, labels), rel=1e-3
    )


def test_probabilities_are_calibrated_on_speakers_not_fitted_on() -> None:
    found = calibrate(*draw(8000, 2.5))
    assert found.error_before > 0.1
    assert found.error_after < 0.03
    assert found.temperature == pytest.approx(2.5, rel=0.1)


def test_a_speakers_own_clips_do_not_move_its_probabilities() -> None:
    scores, labels, speakers = draw(600, 2.0)
    own = speakers == "s3"
    lies = np.where(own, (labels + 1) % CLASSES, labels)
    before, after = calibrate(scores, labels, speakers), calibrate(scores, lies, speakers)
    assert (before.probabilities[own] == after.probabilities[own]).all()
    assert before.temperature != after.temperature


def test_reliability_counts_every_clip_once() -> None:
    scores, labels, _ = draw(500)
    chances = softmax(scores, axis=1)
    bins = reliability(chances, labels)
    assert sum(one.clips for one in bins) == 500
    right = sum(one.clips * one.accuracy for one in bins)
    assert right == pytest.approx((chances.argmax(1) == labels).sum())
    assert all(a.confidence < b.confidence for a, b in pairwise(bins))


def test_the_calibration_error_of_what_is_always_sure() -> None:
    chances = np.eye(2)[[0] * 10]
    assert calibration_error(chances, np.array([0] * 7 + [1] * 3)) == pytest.approx(0.3)


def test_the_promised_rate_holds_for_new_speakers() -> None:
    """The chance that it does not is 5 %; speakers differ a lot in how often they are misheard."""
    broken, answered, rate = 0, 0, 0.2
    for seed in range(100):
        confidence, wrong, names = heard(seed, speakers=24)
        threshold = choose_threshold(confidence, wrong, names, rate)
        if threshold is not None:
            answered += 1
            later, missed, _ = heard(10_000 + seed, speakers=400)
            broken += missed[later >= threshold].mean() > rate
    assert answered > 80, "or nothing was promised"
    assert broken <= 0.05 * answered


def heard(seed: int, speakers: int) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), 50)
    confidence = 0.25 + 0.75 * rng.random(len(speaker))
    difficulty = np.clip(rng.normal(1.0, 0.5, speakers), 0, 2)[speaker]
    return confidence, rng.random(len(speaker)) < difficulty * (1 - confidence), speaker.astype(str)


def test_answers_are_given_where_they_can_be() -> None:
    confidence, wrong, names = heard(0, speakers=60)
    strict, lax = (choose_threshold(confidence, wrong, names, rate) for rate in (0.2, 0.35))
    assert strict is not None and lax is not None
    assert lax < strict
    assert choose_threshold(confidence, wrong, names, rate=0.99) == 0.0  # every clip
    assert choose_threshold(confidence, wrong, names, rate=0.001) is None


def test_three_speakers_promise_nothing() -> None:
    confidence, wrong, names = heard(0, speakers=3)
    assert choose_threshold(confidence, wrong, names, rate=0.9) is None


def test_nobody_erring_is_no_proof() -> None:
    none, few, many = np.zeros(10), np.full(10, 3), np.full(10, 300)
    assert upper_limit(none, few, 0.05) > 0.05 > upper_limit(none, many, 0.05) > 0


def test_one_speaker_who_is_always_misheard_raises_the_limit() -> None:
    answered = np.full(10, 20)
    even, uneven = np.full(10, 2), np.array([20] + [0] * 9)
    assert even.sum() == uneven.sum()
    assert upper_limit(uneven, answered, 0.05) > upper_limit(even, answered, 0.05)


def test_what_abstention_is_worth_is_measured_on_others() -> None:
    found = calibrate(*draw(6000, speakers=30), rate=0.15).abstention
    assert found is not None
    assert 0 < found.answered < 1
    assert 0 < found.errors < 0.15
    assert calibrate(*draw(6000, spread=0.1), rate=0.15).abstention is None


def test_what_is_broken_on_others_is_not_promised() -> None:
    """Two out of five speakers are often misheard: some groups choose what another one breaks."""
    promised = 0
    for seed in range(30):
        scores, labels, speakers = draw(600, speakers=10, seed=seed)
        hard = np.isin(speakers, ["s1", "s6"]) & (np.arange(600) % 3 == 0)
        found = calibrate(scores, np.where(hard, (labels + 1) % CLASSES, labels), speakers, 0.25)
        if found.abstention:
            promised += 1
            assert found.abstention.errors <= 0.25
    assert promised > 0
