"""Augmentation: what is drawn for a training clip, and that chance comes from the generator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_encoder import sound

from ser_generalize.augment import Augmentation, crop

AUGMENTATION = Augmentation()
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(1_600, 24_000)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(lengths, st.integers(1, 30_000), seeds)
def test_a_crop_is_a_stretch_of_the_clip(samples: int, wanted: int, seed: int) -> None:
    wave = np.arange(samples, dtype=np.float32)
    part = crop(wave, wanted, rng(seed))
    assert len(part) == min(samples, wanted)
    np.testing.assert_array_equal(part, part[0] + np.arange(len(part)))


def test_crops_reach_both_ends() -> None:
    wave = np.arange(4, dtype=np.float32)
    found = {tuple(crop(wave, 3, rng(seed))) for seed in range(20)}
    assert found == {(0, 1, 2), (1, 2, 3)}


@settings(deadline=None)
@given(st.integers(1, 128), st.integers(1, 1500), seeds)
def test_masks_hide_whole_channels_and_frames_and_nothing_else(
    channels: int, frames: int, seed: int
) -> None:
    mel = torch.rand((channels, frames), generator=torch.Generator().manual_seed(seed))
    before = mel.clone()
    masked = AUGMENTATION.mel(mel, torch.Generator().manual_seed(seed))
    assert torch.equal(masked, AUGMENTATION.mel(mel, torch.Generator().manual_seed(seed)))
    assert torch.equal(mel, before)
    quiet = masked == mel.min()
    hidden = quiet.all(1)[:, None] | quiet.all(0)
    assert torch.equal(masked[~hidden], mel[~hidden])
    limits = AUGMENTATION.masks * AUGMENTATION.channels, AUGMENTATION.masks * AUGMENTATION.frames
    if min(channels, frames) > 1:
        assert quiet.all(1).sum() <= limits[0] * channels + 1
        assert quiet.all(0).sum() <= limits[1] * frames + 1


def test_masks_differ_from_draw_to_draw() -> None:
    mel, generator = torch.rand(80, 300), torch.Generator().manual_seed(0)
    drawn = [AUGMENTATION.mel(mel, generator) for _ in range(20)]
    shares = [float((one == mel.min()).float().mean()) for one in drawn]
    assert len(set(shares)) > 10
    assert 0.05 < np.mean(shares) < 0.4


@settings(max_examples=30, deadline=None)
@given(lengths, seeds)
def test_the_same_generator_changes_a_clip_in_the_same_way(samples: int, seed: int) -> None:
    wave = sound(0, samples=samples)
    before = wave.copy()
    changed = AUGMENTATION.wave(wave, rng(seed))
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(changed, AUGMENTATION.wave(wave, rng(seed)))
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    longest = AUGMENTATION.speed / (1 - AUGMENTATION.speed) * samples + 2
    assert abs(len(changed) - samples) <= longest


def test_most_clips_are_changed_and_some_are_not() -> None:
    wave = sound(0.2)
    changed = [not np.array_equal(AUGMENTATION.wave(wave, rng(seed)), wave) for seed in range(200)]
    assert np.mean(changed) == pytest.approx(7 / 8, abs=0.07)
