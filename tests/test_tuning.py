"""The loop that fine-tunes: what a step computes, what it trains, and how it is gone on with."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make_encoder import assert_close
from make_tuning import (
    CPU,
    LABELS,
    TRAIN,
    VALIDATION,
    features,
    micro_batch,
    model,
    recipe,
    tunable,
    tuning,
    waves,
)
from torch import Tensor

from ser_generalize.augment import Augmentation
from ser_generalize.checkpoint import load_checkpoint, save_checkpoint
from ser_generalize.errors import InputError
from ser_generalize.mixture import balanced_pairs
from ser_generalize.stopping import cross_entropy
from ser_generalize.tuning import loop
from ser_generalize.tuning.loop import Progress, Tuning
from ser_generalize.tuning.model import Tunable, merged, pad_waves, trained

ALL = np.arange(len(LABELS))
NOBODY = VALIDATION[:0]
MODES = ("full", "lora")


def weights(of: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in of.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_before_the_first_step_it_says_what_the_head_on_the_frozen_encoder_says(
    tiny_encoder: Path, mode: str
) -> None:
    start = tunable(tiny_encoder, mode)
    batch = pad_waves(waves(ALL), CPU)
    assert_close(start.features(*batch).detach().numpy(), features(tiny_encoder))
    whole = model(tiny_encoder)
    frozen = whole.head(torch.from_numpy(features(tiny_encoder))).detach().numpy()
    assert_close(start.predict(*batch).detach().numpy(), frozen)
    assert torch.equal(start.predict(*batch), whole(*batch).logits)


def test_gradients_are_those_of_the_loss(tiny_encoder: Path) -> None:
    start = tunable(tiny_encoder).double()
    batch, labels = pad_waves(waves(ALL[:4]), CPU), torch.from_numpy(LABELS[:4])

    def loss() -> Tensor:
        found = start.head(start.features(*batch).double())
        return torch.nn.functional.cross_entropy(found, labels)

    loss().backward()
    for name in ("encoder.conv1.weight", "encoder.layers.0.fc1.weight", "head.layer_scores"):
        weight = trained(start)[name]
        assert weight.grad is not None
        place = int(weight.grad.abs().argmax())
        ends = []
        for change in (1e-4, -1e-4):
            with torch.no_grad():
                weight.view(-1)[place] += change
                ends.append(loss().item())
                weight.view(-1)[place] -= change
        slope = (ends[0] - ends[1]) / 2e-4
        # What comes out of pooling is rounded to float32 there.
        assert weight.grad.view(-1)[place].item() == pytest.approx(slope, rel=0.03), name


def test_what_never_varies_within_a_clip_has_finite_gradients(tiny_encoder: Path) -> None:
    start = tunable(tiny_encoder)
    one_frame = np.full(320, 0.1, np.float32)
    start.predict(*pad_waves([one_frame, *waves(ALL[:1])], CPU)).sum().backward()
    gradients = [value.grad for value in trained(start).values() if value.grad is not None]
    assert len(gradients) > 20
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_recomputed_activations_give_the_same_gradients(tiny_encoder: Path) -> None:
    found = []
    for recompute in (False, True):
        start = tunable(tiny_encoder)
        start.recompute, start.augmentation = recompute, Augmentation()
        start.learn(micro_batch(ALL[:4])).square().sum().backward()
        found.append({n: v.grad for n, v in trained(start).items() if v.grad is not None})
    assert_same(*found)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_trained_on_becomes_likelier(tiny_encoder: Path, tmp_path: Path, mode: str) -> None:
    run = tuning(tiny_encoder, tmp_path / "state", recipe(mode, epochs=10), mode, validation=NOBODY)
    before = cross_entropy(run.predict(TRAIN), LABELS[TRAIN])
    assert len(run.run().losses) == 30
    assert cross_entropy(run.predict(TRAIN), LABELS[TRAIN]) < 0.95 * before


def test_only_adapters_and_the_head_are_trained_by_lora(tiny_encoder: Path, tmp_path: Path) -> None:
    run = tuning(tiny_encoder, tmp_path / "state", mode="lora", validation=NOBODY)
    before = weights(run.model)
    run.run()
    after = weights(run.model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    adapters = {name for name in before if ".lora_" in name}
    head = {name for name in before if name.startswith("head.")}
    assert changed == adapters | head - {"head.deviation"}
    blocks, products = 2, 6
    assert len(adapters) == 2 * blocks * products


def test_what_the_head_does_not_see_is_not_trained(tiny_encoder: Path) -> None:
    for mode in MODES:
        names = trained(tunable(tiny_encoder, mode, layers=(1,)))
        assert any("layers.0" in name for name in names)
        assert not [n for n in names if "layers.1" in n or n.startswith("encoder.layer_norm")]


def test_blocks_nearer_to_the_input_learn_more_slowly(tiny_encoder: Path, tmp_path: Path) -> None:
    how = recipe(layer_decay=0.5)
    run = tuning(tiny_encoder, tmp_path / "state", how)
    groups = run._optimiser.param_groups
    rates = {id(value): group["full"] for group in groups for value in group["params"]}
    found = {
        name: rates[id(value)] / how.learning_rate for name, value in trained(run.model).items()
    }
    assert found["encoder.layers.1.fc1.weight"] == found["encoder.layer_norm.weight"] == 1
    assert found["encoder.layers.0.fc1.weight"] == 0.5
    assert found["encoder.conv1.weight"] == 0.25


@pytest.mark.parametrize("mode", MODES)
def test_a_checkpoint_of_what_was_tuned_says_the_same(
    tiny_encoder: Path, tmp_path: Path, mode: str
) -> None:
    run = tuning(tiny_encoder, tmp_path / "state", mode=mode, validation=NOBODY)
    run.run()
    (tmp_path / "checkpoint").mkdir()
    save_checkpoint(tmp_path / "checkpoint", merged(run.model))
    loaded = load_checkpoint(str(tmp_path / "checkpoint"))
    assert_close(loaded(*pad_waves(waves(ALL), CPU)).logits.numpy(), run.predict(ALL), 1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_add_up_to_the_batch(tiny_encoder: Path, tmp_path: Path, mode: str) -> None:
    whole, parts = (
        tuning(tiny_encoder, tmp_path / f"{size}", mode=mode, micro_batch=size,
               augmentation=Augmentation())
        for size in (8, 2)
    )  # fmt: skip
    np.testing.assert_allclose(parts.run().losses, whole.run().losses, rtol=1e-2)
    assert_close(parts.predict(ALL), whole.predict(ALL), 2e-2)  # AdamW divides by tiny gradients


class KilledError(Exception):
    """What ends a run in the middle."""


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    tiny_encoder: Path, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuning(tiny_encoder, tmp_path / "whole", mode=mode, augmentation=Augmentation())
    expected = whole.run()
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    for step in (2, 5):  # once within an epoch of three steps, once just before one ends
        with pytest.raises(KilledError):
            interrupted(tiny_encoder, tmp_path / "parts", mode, step).run()
    rest = interrupted(tiny_encoder, tmp_path / "parts", mode, 1000)
    assert rest.run() == expected
    assert_same(weights(rest.model), weights(whole.model))


def interrupted(encoder: Path, state: Path, mode: str, last: int) -> Tuning:
    def on_step(progress: Progress) -> None:
        if progress.step == last:
            raise KilledError

    return tuning(encoder, state, mode=mode, augmentation=Augmentation(), on_step=on_step)


def test_validation_clips_choose_the_epoch(tiny_encoder: Path, tmp_path: Path) -> None:
    ruinous = recipe(learning_rate=30.0, head_learning_rate=30.0, layer_learning_rate=30.0)
    run = tuning(tiny_encoder, tmp_path / "state", ruinous)
    before = weights(run.model)
    done = run.run()
    assert (done.best_epoch, done.step, len(done.validation)) == (0, 9, 4)
    assert_same(weights(run.model), before)
    without = tuning(tiny_encoder, tmp_path / "other", ruinous, validation=NOBODY)
    assert without.run().best_epoch == 3
    assert not torch.equal(without.model.head.layer_scores, before["head.layer_scores"])
    assert (run.temperature() == 1.0, without.temperature()) == (False, 1.0)


def test_the_head_takes_no_common_move_of_the_embeddings_for_emotion(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    """Its mean follows, so that of what the training clips look like to it the mean stays."""
    run = tuning(tiny_encoder, tmp_path / "state", validation=NOBODY)

    def seen() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            found = run.model.features(*pad_waves(waves(TRAIN), CPU)).mean(0)
        return found, (found - run.model.head.mean) / run.model.head.deviation

    (before, start), _ = seen(), run.run()
    after, end = seen()
    assert ((after - before) / run.model.head.deviation).abs().mean() > 0.1
    assert_close(end, start, 1e-3)


def test_it_ends_after_the_epoch_asked_for_and_on_the_same_way(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    whole = tuning(tiny_encoder, tmp_path / "whole", validation=NOBODY).run()
    part = tuning(tiny_encoder, tmp_path / "part", replace(recipe(), until=2), validation=NOBODY)
    assert part.run().losses == whole.losses[:6]


def test_a_loss_that_is_no_number_names_the_fold(tiny_encoder: Path, tmp_path: Path) -> None:
    run = tuning(tiny_encoder, tmp_path / "state", validation=NOBODY)
    with torch.no_grad():
        run.model.encoder.conv1.bias.fill_(torch.nan)
    with pytest.raises(InputError, match="fold someone: the loss or its gradient is not a number"):
        run.run()
    assert not (tmp_path / "state").exists()


def test_small_classes_are_mixed_within_the_batch_as_smote_would(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    """Of the clips of a class as many stay real, for one of the largest class, as it has."""
    run = tuning(tiny_encoder, tmp_path / "state", recipe(epochs=200))
    counts, real, drawn = np.bincount(LABELS[TRAIN]), Counter[int](), Counter[int]()
    for step in range(200):
        (batch,) = run._micro_batches(step)
        labels = batch.label.numpy()
        np.testing.assert_array_equal(labels[::2], labels[1::2])
        drawn.update(labels.tolist())
        real.update(labels[batch.weight.numpy() == 0].tolist())
    assert max(drawn.values()) == min(drawn.values())
    for label, count in enumerate(counts):
        assert real[label] / drawn[label] == pytest.approx(count / counts.max(), abs=0.1)


def test_a_mixed_clip_lies_between_the_two_of_its_pair(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, seen = tunable(tiny_encoder), []
    monkeypatch.setattr(
        Tunable, "_logits", lambda _, features, seeds=None: seen.append(features.detach())
    )
    start.learn(micro_batch(ALL[:4]))
    start.learn(micro_batch(ALL[:4], [0.0, 0.25, 1.0, 0.0]))
    plain, mixed = seen
    assert_close(mixed[0], plain[0], 1e-6)
    assert_close(mixed[1], 0.75 * plain[1] + 0.25 * plain[0], 1e-6)
    assert_close(mixed[2], plain[3], 1e-6)


def test_masks_change_what_the_encoder_hears_in_training_alone(tiny_encoder: Path) -> None:
    start, batch = tunable(tiny_encoder), micro_batch(ALL[:10])  # more than are encoded at a time
    plain, heard = start.learn(batch).detach(), start.predict(batch.samples, batch.mask)
    start.augmentation = Augmentation(channels=0.5, frames=0.5)
    masked = start.learn(batch).detach()
    assert (masked != plain).any(dim=1).sum() >= 8  # a mask may be of no width
    assert torch.equal(start.learn(batch).detach(), masked)  # the clip's own seed says what
    assert torch.equal(start.predict(batch.samples, batch.mask), heard)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 99))
def test_pairs_are_balanced_and_of_one_class(labels: list[int], pairs: int, seed: int) -> None:
    given_labels = np.array(labels)
    found = balanced_pairs(given_labels, pairs, np.random.default_rng(seed))
    assert found.shape == (pairs, 2)
    classes = given_labels[found]
    np.testing.assert_array_equal(classes[:, 0], classes[:, 1])
    count = len(set(labels))
    for start in range(0, pairs - count + 1, count):
        assert len(set(classes[start : start + count, 0])) == count
    sizes = Counter(labels)
    for (one, other), (label, _) in zip(found, classes, strict=True):
        assert (one == other) == (sizes[label] == 1)
