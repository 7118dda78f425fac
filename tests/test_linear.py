"""Heads that are fitted at once are scikit-learn's, weighted as epochs would draw the clips."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from ser_generalize import linear
from ser_generalize.calibration import calibration_error
from ser_generalize.errors import InputError
from ser_generalize.heads import LDA, LINEAR, LOGISTIC, Features
from ser_generalize.linear import SHRINKAGE, STEPS, C, train_linear
from ser_generalize.mixture import Labels, Mixture, Rows
from ser_generalize.training import Job

CLASSES = 3
WIDTHS = 4, 60  # fewer inputs than clips, and more


def clips(width: int, classes: int = CLASSES, count: int = 60) -> tuple[Features, Labels]:
    """Return features [clips, 2, width] of classes of unequal size."""
    generator = np.random.default_rng(width)
    labels = generator.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    features = generator.normal(size=(count, 2, width)) + labels[:, None, None] / 2
    return (features * generator.uniform(0.5, 2, (2, width)) + 3).astype(np.float32), labels


def job_of(labels: Labels, train: Rows, copies: tuple[int, ...] = ()) -> Job:
    """Return a job that is tested on all clips; `train` may repeat some."""
    own, real = labels[train], np.zeros(len(train), np.float32)
    mixture = Mixture(train, train, real, own, own, copies=copies)
    return Job("fold", 0, mixture, np.unique(train), np.arange(len(labels)), train[:0])


def standardised(features: Features, rows: Rows) -> np.ndarray:
    """Return all layers side by side, in deviations of some rows."""
    flat = features.reshape(len(features), -1).astype(np.float64)
    return (flat - flat[rows].mean(0)) / flat[rows].std(0)


def reference(
    head: str, values: np.ndarray, labels: Labels, balanced: bool
) -> LinearDiscriminantAnalysis | LogisticRegression:
    if head == LOGISTIC:
        weight = "balanced" if balanced else None
        model = LogisticRegression(C=C, max_iter=STEPS, class_weight=weight)
    else:
        classes = len(np.unique(labels))
        priors = np.full(classes, 1 / classes) if balanced else None
        model = LinearDiscriminantAnalysis("lsqr", shrinkage=SHRINKAGE, priors=priors)
    return model.fit(values, labels)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("head", LINEAR)
def test_they_are_scikit_learn_s(
    head: str, width: int, classes: int, balanced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "BLOCK", 7)
    features, labels = clips(width, classes)
    train = np.arange(40)
    found = train_linear(head, features, job_of(labels, train), classes, balanced)
    values = standardised(features, train)
    expected = reference(head, values[train], labels[train], balanced).predict_proba(values)
    np.testing.assert_allclose(softmax(found.logits, axis=1), expected, atol=2e-4)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("head", LINEAR)
def test_copies_count_as_epochs_draw_them(head: str, balanced: bool) -> None:
    features, labels = clips(6, count=120)  # 40 clips and two copies of each
    train, own = np.arange(30), labels[:40]
    job = job_of(own, train, copies=(40, 80))
    values = standardised(features, train)
    chosen = np.concatenate([train, train, train + 40, train + 80])  # two halves, two quarters
    if head == LOGISTIC:
        weight = "balanced" if balanced else None
        model = LogisticRegression(C=C, max_iter=STEPS, class_weight=weight)
        model.fit(values[chosen], np.tile(own[train], 4), np.full(120, 1 / 4))
    else:
        model = reference(head, values[chosen], np.tile(own[train], 4), balanced)
    found = softmax(train_linear(head, features, job, CLASSES, balanced).logits, axis=1)
    np.testing.assert_allclose(found, model.predict_proba(values[:40]), atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(WIDTHS), st.integers(0, 10**6), st.integers(1, 4))
def test_a_clip_that_is_repeated_counts_as_often(width: int, seed: int, times: int) -> None:
    """The mixtures of samplers repeat clips, which in LDA is the same as weights."""
    features, labels = clips(width)
    train = np.random.default_rng(seed).integers(0, 50, 40)
    once, often = (job_of(labels, np.repeat(train, count)) for count in (1, times))
    found = [train_linear(LDA, features, job, CLASSES).logits for job in (once, often)]
    np.testing.assert_allclose(*(softmax(one, axis=1) for one in found), atol=1e-3)


@pytest.mark.parametrize("head", LINEAR)
def test_what_it_says_is_what_its_parameters_say(head: str) -> None:
    features, labels = clips(60)
    there = np.flatnonzero(labels != 1)
    found = train_linear(head, features, job_of(labels, there), CLASSES)
    values = (features - found.parameters["mean"]) / found.parameters["deviation"]
    weight, bias = (found.parameters[f"linear.0.{name}"] for name in ("weight", "bias"))
    logits = values.reshape(len(values), -1) @ weight.T + bias
    np.testing.assert_allclose(softmax(found.logits, 1), softmax(logits, 1), atol=1e-5)
    assert (softmax(found.logits, axis=1)[:, 1] == 0).all()  # nobody of class 1 was heard


def test_one_clip_of_every_class_is_enough() -> None:
    features, labels = clips(60)
    train = np.array([np.flatnonzero(labels == label)[0] for label in range(CLASSES)])
    found = train_linear(LDA, features, job_of(labels, train), CLASSES)
    assert np.isfinite(found.logits).all()
    assert (found.logits[train].argmax(1) == labels[train]).all()


# How sure LDA is


def voices(speakers: int = 12, clips: int = 20) -> tuple[Features, Labels, np.ndarray]:
    """Return features of many inputs, classes and speakers; each speaker has a voice."""
    generator = np.random.default_rng(1)
    name = np.repeat([f"{number:02d}" for number in range(speakers)], clips).astype(object)
    labels = generator.integers(0, CLASSES, len(name))
    voice = generator.normal(size=(speakers, 2, 200))[np.repeat(np.arange(speakers), clips)]
    emotion = 0.1 * generator.normal(size=(CLASSES, 2, 200))[labels]
    features = emotion + voice / 2 + generator.normal(size=(len(name), 2, 200))
    return features.astype(np.float32), labels, name


def test_lda_is_as_sure_of_new_speakers_as_it_is_right() -> None:
    features, labels, name = voices()
    job = job_of(labels, np.flatnonzero(name < "08"))
    unheard = np.flatnonzero(name >= "08")
    found = train_linear(LDA, features, job, CLASSES, speakers=name)
    logits, truth = found.logits[unheard], labels[unheard]
    raw, sure = (
        calibration_error(softmax(logits / temperature, axis=1), truth)
        for temperature in (1, found.temperature)
    )
    assert found.temperature > 2 and sure < 0.15 < raw


def test_no_tested_clip_moves_the_temperature() -> None:
    features, labels, name = voices()
    train = np.flatnonzero(name < "08")
    found = []
    for noise in (0, 5):
        features[name >= "08"] += noise
        labels = np.where(name >= "08", (labels + noise) % CLASSES, labels)
        found.append(train_linear(LDA, features, job_of(labels, train), CLASSES, speakers=name))
    assert found[0].temperature == found[1].temperature


@pytest.mark.parametrize("copies", [(), (240,)])
def test_whoever_is_held_out_for_the_temperature_is_heard_in_no_mixture(
    copies: tuple[int, ...],
) -> None:
    """Rows that are all but a clip, mixed with another speaker's, would give its class away."""
    features, labels, name = voices()
    features = np.concatenate([features] * (1 + len(copies)))
    train = np.flatnonzero(name < "08")
    real = np.zeros(len(train), np.float32)
    own, other = labels[train], np.roll(train, 41)
    plain = Mixture(train, train, real, own, own, copies=copies)
    rows = [np.concatenate(pair) for pair in ((train, other), (train, train), (own, own))]
    weight = np.concatenate([real, real + 1 - 1e-3]).astype(np.float32)
    mixed = Mixture(rows[0], rows[1], weight, rows[2], rows[2], copies=copies)
    found = [
        train_linear(
            LDA, features, Job("fold", 0, mixture, train, train, train[:0]), CLASSES, speakers=name
        ).temperature
        for mixture in (plain, mixed)
    ]
    assert found[1] == pytest.approx(found[0], rel=0.3)


def temperature_of(features: Features, labels: Labels, name: np.ndarray) -> float:
    job = job_of(labels, np.arange(len(labels)))
    return train_linear(LDA, features, job, CLASSES, speakers=name).temperature


def test_of_one_speaker_clips_are_held_out() -> None:
    features, labels, name = voices()
    one = np.full(len(name), None)
    assert temperature_of(features, labels, one) > 2


def test_a_class_that_a_single_speaker_has_is_not_judged_by_the_others() -> None:
    """What they say of it is that it does not exist, for which no temperature is high enough."""
    features, labels, name = voices()
    without = temperature_of(features, labels % 2, name)
    found = temperature_of(features, np.where(name == "03", 2, labels % 2), name)
    assert found == pytest.approx(without, rel=0.3)


@pytest.mark.parametrize("enough", [1, 100, 500])
def test_speakers_are_held_out_until_they_are_enough(
    enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels, name = voices()  # 240 clips in five groups of two or three speakers
    fits = list[int]()
    original = linear.discriminant_analysis

    def counted(values: np.ndarray, *given: Any) -> Any:
        fits.append(len(values))
        return original(values, *given)

    monkeypatch.setitem(linear.FITS, LDA, counted)
    monkeypatch.setattr(linear, "ENOUGH", enough)
    temperature_of(features, labels, name)
    assert fits[0] == 240 and len(fits) - 1 == {1: 1, 100: 2, 500: 5}[enough]
    assert sum(240 - rows for rows in fits[1:]) >= min(enough, 240)


@pytest.mark.parametrize("head", LINEAR)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_names_the_fold(head: str, value: float) -> None:
    features, labels = clips(60)
    features[3, 1, 5] = value
    with pytest.raises(
        InputError, match="fold fold cannot be fitted: look for embeddings that are not finite"
    ):
        train_linear(head, features, job_of(labels, np.arange(40)), CLASSES)
