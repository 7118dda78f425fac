"""Heads that are fitted at once are scikit-learn's, weighted as epochs would draw the clips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

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
def test_they_are_scikit_learn_s(head: str, width: int, classes: int, balanced: bool) -> None:
    features, labels = clips(width, classes)
    train = np.arange(40)
    found = train_linear(head, features, job_of(labels, train), classes, balanced)
    values = standardised(features, train)
    expected = reference(head, values[train], labels[train], balanced).predict_proba(values)
    np.testing.assert_allclose(softmax(found.logits, axis=1), expected, atol=2e-4)


@pytest.mark.parametrize("head", LINEAR)
def test_copies_count_as_epochs_draw_them(head: str) -> None:
    features, labels = clips(6, count=120)  # 40 clips and two copies of each
    train, own = np.arange(30), labels[:40]
    job = job_of(own, train, copies=(40, 80))
    values = standardised(features, train)
    chosen = np.concatenate([train, train, train + 40, train + 80])  # two halves, two quarters
    if head == LOGISTIC:
        model = LogisticRegression(C=C, max_iter=STEPS)
        model.fit(values[chosen], np.tile(own[train], 4), np.full(120, 1 / 4))
    else:
        model = reference(head, values[chosen], np.tile(own[train], 4), balanced=False)
    found = softmax(train_linear(head, features, job, CLASSES).logits, axis=1)
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
