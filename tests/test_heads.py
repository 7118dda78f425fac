"""Heads: their names, the features they hear, and the noise that is theirs alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from torch import nn

from ser_generalize.errors import InputError
from ser_generalize.heads import (
    Dropout,
    Features,
    HeadStack,
    clip_normalised,
    fit_scaler,
    logits,
    make_features,
    parse_head,
    random_bits,
)

LAYERS = 3


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("128", (128,)),
        ("4096,2048,1024,512", (4096, 2048, 1024, 512)),
        ("64, 32", (64, 32)),
        ("logistic", None),
        ("lda", None),
    ],
)
def test_heads_that_exist(text: str, sizes: tuple[int, ...] | None) -> None:
    assert parse_head(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "128,0", "-4", "12.5", "128,", ",", "mlp", "Logistic"])
def test_heads_that_do_not_exist_are_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match=f"unknown head '{text}'.*128 or 4096.*logistic"):
        parse_head(text)


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


def scaled(features: Features, values: Features) -> Features:
    """Return values standardised as all of some features ask for."""
    rows = torch.arange(len(features))
    return fit_scaler(torch.from_numpy(features), rows)(torch.from_numpy(values)).numpy()


def test_standardisation_survives_a_constant_in_many_clips() -> None:
    """The float32 mean of many equal numbers is another number, so their deviation is not 0."""
    features = np.full((30_000, 1, 2), 22.3, dtype=np.float32)
    features[::2, 0, 1] = -1
    found = scaled(features, features + np.array([0.5, 0], dtype=np.float32))
    assert np.abs(found).max() < 2
    assert found.dtype == np.float32


def test_standardisation_is_scikit_learn_s_on_the_rows_asked_for() -> None:
    features = np.random.default_rng(0).normal(5, 3, (1300, LAYERS, 4)).astype(np.float32)
    rows = np.flatnonzero(np.arange(1300) % 3)
    flat = features.reshape(1300, -1)
    scaler = fit_scaler(torch.from_numpy(features), torch.from_numpy(rows))
    np.testing.assert_allclose(
        scaler(torch.from_numpy(features)).reshape(flat.shape),
        StandardScaler().fit(flat[rows]).transform(flat),
        atol=1e-5,
    )


def test_random_bits_are_fair_and_independent() -> None:
    seeds = torch.tensor([0, 1, 2, 2**32 - 1])
    bits = random_bits(seeds, torch.tensor([0, 0, 0, 0]), 100_000).double()
    assert bits.shape == (4, 100_000)
    assert set(bits.unique().tolist()) == {0, 1}
    assert (bits.mean(1) - 0.5).abs().max() < 0.007  # 4.4 standard deviations
    signs = 2 * bits - 1
    among = (signs @ signs.T / 100_000).fill_diagonal_(0)
    assert among.abs().max() < 0.014
    for lag in (1, 8, 64, 4096):  # nor does a bit tell another of its stream
        assert (signs[:, lag:] * signs[:, :-lag]).mean(1).abs().max() < 0.015


def test_random_bits_are_a_stream_that_can_be_entered_anywhere() -> None:
    seeds = torch.tensor([5, 6])
    whole = random_bits(seeds, torch.tensor([0, 0]), 64 * 9)
    later = random_bits(seeds, torch.tensor([4, 7]), 64 * 2)
    assert torch.equal(later[0], whole[0, 64 * 4 : 64 * 6])
    assert torch.equal(later[1], whole[1, 64 * 7 :])
    assert torch.equal(random_bits(seeds, torch.tensor([0, 0]), 70), whole[:, :70])


def test_dropout_drops_half_and_doubles_the_rest() -> None:
    hidden = torch.ones(2, 40, 50)
    dropout = Dropout(torch.tensor([1, 2]), torch.tensor([3, 3]), (50, 50), 40)
    first, second = dropout(0, hidden), dropout(1, hidden)
    assert set(first.unique().tolist()) == {0, 2}
    assert first.mean() == pytest.approx(1, abs=0.06)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(dropout(0, hidden), first)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)], ids=str)
def test_a_head_of_the_stack_is_the_torch_head_of_its_parameters(hidden: tuple[int, ...]) -> None:
    sizes = (10, *hidden, 4)
    stack = HeadStack(LAYERS, sizes, [7, 8], torch.device("cpu"))
    stack.tensors["layer_scores"] += torch.arange(LAYERS)
    inputs = torch.randn(2, LAYERS, 5, 10, generator=torch.Generator().manual_seed(0))
    found = logits(stack.tensors, inputs)
    for head in range(2):
        arrays = stack.parameters(head)
        weights = torch.from_numpy(arrays["layer_scores"]).softmax(0)
        values = torch.einsum("l,lcw->cw", weights, inputs[head])
        for index, (wide, narrow) in enumerate(pairwise(sizes)):
            linear = nn.Linear(wide, narrow)
            state = {name: arrays[f"linear.{index}.{name}"] for name in ("weight", "bias")}
            linear.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})
            values = linear(values.relu() if index else values)
        torch.testing.assert_close(found[head], values, atol=1e-5, rtol=1e-5)


def test_a_head_begins_as_its_seed_says_whatever_is_beside_it() -> None:
    alone = HeadStack(LAYERS, (10, 16, 4), [8], torch.device("cpu"))
    beside = HeadStack(LAYERS, (10, 16, 4), [7, 8], torch.device("cpu"))
    for name, array in alone.parameters(0).items():
        np.testing.assert_array_equal(array, beside.parameters(1)[name])
    assert np.abs(beside.parameters(0)["linear.0.weight"]).max() <= 10**-0.5


def test_functionals_keep_their_units_and_are_alike_once_standardised() -> None:
    """Normalised clip by clip, the formants in Hz would leave nothing of the jitter."""
    draws = np.random.default_rng(0).normal(size=(200, 1, 1, 2))
    functionals = (draws * [300, 0.01] + [1500, 0.03]).astype(np.float16)
    features = make_features(functionals, ("functional",))
    np.testing.assert_array_equal(features, functionals.reshape(200, 1, 2).astype(np.float32))
    found = scaled(features, features)
    assert np.corrcoef(found[:, 0, 1], draws[:, 0, 0, 1])[0, 1] > 0.99
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-3)


@pytest.mark.parametrize(("pooling", "kept"), [("mean", [0]), ("std", [1]), ("both", [0, 1])])
def test_pooling_takes_one_statistic_of_every_layer_or_both(pooling: str, kept: list[int]) -> None:
    pooled = np.random.default_rng(0).normal(size=(3, LAYERS, 2, 5)).astype(np.float16)
    found = make_features(pooled, ("mean", "std"), pooling)
    np.testing.assert_array_equal(found, clip_normalised(pooled[:, :, kept]))


def test_a_pooling_that_was_not_embedded_is_refused() -> None:
    with pytest.raises(InputError, match=r"--pooling std: .* hold functional; use --pooling both"):
        make_features(np.zeros((1, 1, 1, 88), np.float16), ("functional",), "std")
