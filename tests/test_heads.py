"""Heads: deterministic, dropout and all; the layers are weighed; nothing is fitted on the test."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ser_generalize import heads
from ser_generalize.errors import InputError
from ser_generalize.heads import (
    Features,
    Head,
    Probabilities,
    clip_normalised,
    fit_scaler,
    parse_head,
    train_and_predict,
)
from ser_generalize.resampling import Labels, Mixture, resample

CPU = torch.device("cpu")
LAYERS, WIDTH, CLASSES = 3, 8, 3


def clips(per_class: int = 100, classes: int = CLASSES, seed: int = 0) -> tuple[Features, Labels]:
    """Return features of which layer 1 alone tells the classes, and the classes."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(classes), per_class))
    features = generator.normal(size=(len(labels), LAYERS, WIDTH))
    features[:, 1, :classes] += 3 * np.eye(classes)[labels]
    return features.astype(np.float32), labels


def fit(
    hidden: tuple[int, ...] | None,
    train: Features,
    labels: Labels,
    test: Features,
    seed: int = 0,
    classes: int = CLASSES,
    sampler: str = "none",
) -> Probabilities:
    mixture, _ = resample(sampler, train.reshape(len(train), -1), labels, seed)
    return train_and_predict(hidden, train, mixture, test, classes, seed, CPU, lambda: None)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("128", (128,)),
        ("4096,2048,1024,512", (4096, 2048, 1024, 512)),
        ("64, 32", (64, 32)),
        ("logistic", None),
    ],
)
def test_heads_that_exist(text: str, sizes: tuple[int, ...] | None) -> None:
    assert parse_head(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "128,0", "-4", "12.5", "128,", ",", "mlp", "Logistic"])
def test_heads_that_do_not_exist_are_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match=f"unknown head '{text}'.*128 or 4096.*logistic"):
        parse_head(text)


@pytest.mark.parametrize("hidden", [(32,), (32, 16), None], ids=str)
@pytest.mark.parametrize("sampler", ["none", "smote"])
def test_what_can_be_told_apart_is(hidden: tuple[int, ...] | None, sampler: str) -> None:
    train, labels = clips()
    test, expected = clips(seed=1)
    probabilities = fit(hidden, train, labels, test, sampler=sampler)
    assert probabilities.shape == (len(test), CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities >= 0).all()
    assert (probabilities.argmax(1) == expected).mean() > 0.85


@pytest.mark.parametrize("hidden", [(32,), None], ids=str)
def test_equal_whatever_else_is_training(hidden: tuple[int, ...] | None) -> None:
    train, labels = clips()
    test, _ = clips(seed=1)
    alone = [fit(hidden, train, labels, test, seed) for seed in range(4)]
    torch.manual_seed(99)  # nor does it matter what state torch's own generator is in
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda seed: fit(hidden, train, labels, test, seed), range(4)))
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (hidden is None) == np.array_equal(alone[0], alone[1])  # the seed of a head counts


def test_torch_s_own_generator_is_left_alone() -> None:
    train, labels = clips(per_class=7)
    before = torch.get_rng_state()
    fit((4,), train, labels, train)
    assert torch.equal(torch.get_rng_state(), before)


def trained_head(train: Features, labels: Labels, monkeypatch: pytest.MonkeyPatch) -> Head:
    """Return the head that `train_and_predict` trains and does not hand out."""
    made: list[Head] = []

    class Kept(Head):
        def __init__(self, *sizes: object) -> None:
            super().__init__(*sizes)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(heads, "Head", Kept)
    fit((32,), train, labels, train)
    return made[0]


def test_the_layer_that_informs_gains_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    head = trained_head(*clips(), monkeypatch)
    weights = head.layer_scores.softmax(0)
    assert weights.argmax() == 1
    assert weights[1] > 0.6  # from a third


def test_dropout_is_on_in_training_and_off_in_prediction() -> None:
    head = Head(LAYERS, WIDTH, (32,), CLASSES, seed=0)
    features = torch.from_numpy(clips()[0])
    assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_a_clip_is_predicted_alike_in_any_company() -> None:
    train, labels = clips()
    test, _ = clips(seed=1)
    together = fit((32,), train, labels, test)
    alone = np.concatenate([fit((32,), train, labels, clip[None]) for clip in test[:3]])
    np.testing.assert_allclose(alone, together[:3], rtol=1e-5)


@pytest.mark.parametrize("hidden", [(32,), None], ids=str)
@pytest.mark.parametrize("constant", [0.0, 22.3])
def test_a_feature_that_never_varied_in_training_decides_nothing(
    hidden: tuple[int, ...] | None, constant: float
) -> None:
    train, labels = clips()
    test, expected = clips(seed=1)
    train[:, :, -1], test[:, :, -1] = constant, constant
    plain = fit(hidden, train, labels, test)
    assert np.isfinite(plain).all()
    test[:, :, -1] += 0.01  # it does now, by very little
    moved = fit(hidden, train, labels, test)
    np.testing.assert_allclose(moved, plain, atol=0.02)
    assert (moved.argmax(1) == expected).mean() > 0.85


def test_standardisation_survives_a_constant_in_many_clips() -> None:
    """The float32 mean of many equal numbers is another number, so their deviation is not 0."""
    features = np.full((30_000, 1, 2), 22.3, dtype=np.float32)
    features[::2, 0, 1] = -1
    scaled = fit_scaler(features)(features + np.array([0.5, 0], dtype=np.float32))
    assert np.abs(scaled).max() < 2
    assert scaled.dtype == np.float32


def test_standardisation_is_scikit_learn_s() -> None:
    features, _ = clips()
    flat = features.reshape(len(features), -1)
    np.testing.assert_allclose(
        fit_scaler(features)(features).reshape(flat.shape),
        StandardScaler().fit_transform(flat),
        atol=1e-5,
    )


@pytest.mark.parametrize("hidden", [(32,), None], ids=str)
def test_a_class_that_training_lacks_is_predicted_for_nobody(
    hidden: tuple[int, ...] | None,
) -> None:
    train, labels = clips()
    there = labels != 1
    probabilities = fit(hidden, train[there], labels[there], train, sampler="smote")
    assert probabilities.shape == (len(train), CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert not (probabilities.argmax(1) == 1).any()
    assert (probabilities.argmax(1) == labels)[there].mean() > 0.9


def test_logistic_is_scikit_learn_s() -> None:
    train, labels = clips()
    test, _ = clips(seed=1)
    scaler = StandardScaler().fit(train.reshape(len(train), -1))
    model = LogisticRegression(C=heads.LOGISTIC_C, max_iter=heads.LOGISTIC_STEPS)
    model.fit(scaler.transform(train.reshape(len(train), -1)), labels)
    expected = model.predict_proba(scaler.transform(test.reshape(len(test), -1)))
    np.testing.assert_allclose(fit(None, train, labels, test), expected, atol=1e-4)


@pytest.mark.parametrize("hidden", [(32,), None], ids=str)
@pytest.mark.parametrize("weight", [0, 1])
def test_the_head_hears_the_mixture_and_nothing_else(
    hidden: tuple[int, ...] | None, weight: int
) -> None:
    """Clips of class 2 take part with no weight: neither they nor their class are learned."""
    train, labels = clips()
    heard, silent = np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)
    pair = heard, np.resize(silent, len(heard))
    weights = np.full(len(heard), weight, dtype=np.float32)
    mixture = Mixture(pair[weight], pair[1 - weight], weights, labels[heard])
    found = train_and_predict(hidden, train, mixture, train, CLASSES, 0, CPU, lambda: None)
    assert not (found.argmax(1) == 2).any()
    assert (found.argmax(1) == labels)[heard].mean() > 0.85


@pytest.mark.parametrize("hidden", [(4,), None], ids=str)
def test_progress_counts_every_epoch(hidden: tuple[int, ...] | None) -> None:
    train, labels = clips(per_class=4)
    mixture, _ = resample("none", train.reshape(len(train), -1), labels, 0)
    epochs: list[int] = []
    train_and_predict(hidden, train, mixture, train, CLASSES, 0, CPU, lambda: epochs.append(1))
    assert len(epochs) == heads.EPOCHS


def test_clip_normalisation_looks_at_one_clip_and_layer_at_a_time() -> None:
    generator = np.random.default_rng(0)
    pooled = generator.normal(3, 2, size=(5, LAYERS, 2, 16)).astype(np.float16)
    pooled[:, 2] *= 200  # single units of Whisper reach 500
    pooled[4, 0, 0] = 7  # and some may not vary at all

    def moments(values: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = values.reshape(5, LAYERS, 2, 16)[:4]
        return np.stack([parts.mean(-1), parts.std(-1)])

    found = clip_normalised(pooled)
    assert found.shape == (5, LAYERS, 32)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(moments(found)[0], 0, atol=1e-4)
    np.testing.assert_allclose(moments(found)[1], 1, atol=1e-4)
    np.testing.assert_array_equal(clip_normalised(pooled[2:3]), found[2:3])
