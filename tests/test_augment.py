"""Degradations: each does what it promises, alike for a clip in every run, safely on odd clips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_encoder import sound
from numpy.typing import NDArray

from ser_generalize.augment import (
    KINDS,
    Samples,
    add_noise,
    add_reverb,
    change_gain,
    change_speed,
    degrade,
    parse_degradation,
    telephone,
)
from ser_generalize.errors import InputError

RATE = 16_000
EVERY = ("noise:10", "reverb:0.5", "telephone", "mp3:32", "opus:12", "gain:-20", "speed:1.1")
lengths = st.integers(1_600, 24_000)
seeds = st.integers(0, 2**32 - 1)


def power(wave: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hertz: float, samples: int = RATE) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def test_every_kind_is_tested() -> None:
    assert [name.partition(":")[0] for name in EVERY] == list(KINDS)


@settings(deadline=None, max_examples=20)
@given(lengths, st.floats(-5, 40), seeds)
def test_noise_is_as_far_below_the_clip_as_asked(samples: int, snr: float, seed: int) -> None:
    wave = sound(0, samples=samples)
    noise = add_noise(wave, snr, rng(seed)).astype(np.float64) - wave
    assert 10 * np.log10(power(wave) / power(noise)) == pytest.approx(snr, abs=0.01)


def test_noise_has_as_much_power_in_every_octave() -> None:
    wave = sound(20)
    spectrum = np.abs(np.fft.rfft(add_noise(wave, 0, rng()) - wave)) ** 2
    hertz = len(wave) // RATE
    octaves = [spectrum[low * hertz : 2 * low * hertz].sum() for low in (125, 500, 2000)]
    assert max(octaves) < 1.2 * min(octaves)


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_a_click_in_a_room_falls_by_60_db_in_the_time_asked_for(seconds: float) -> None:
    click = np.zeros(2 * RATE, dtype=np.float32)
    click[0] = 1
    energy = np.square(add_reverb(click, seconds, rng()).astype(np.float64))[1:]
    falling = 10 * np.log10(np.cumsum(energy[::-1])[::-1] / energy.sum())  # Schroeder 1965
    fall_25 = np.argmax(falling < -30) - np.argmax(falling < -5)  # T25 of the tail
    assert fall_25 / RATE * 60 / 25 == pytest.approx(seconds, rel=0.1)


def test_a_line_carries_the_middle_of_a_voice_and_not_its_ends() -> None:
    kept = {
        hertz: power(telephone(tone(hertz), 0, rng())) / power(tone(hertz))
        for hertz in (100, 1000, 2500, 5000)
    }
    assert kept[1000] == pytest.approx(1, abs=0.05) and kept[2500] == pytest.approx(1, abs=0.1)
    assert kept[100] < 1e-3 and kept[5000] < 1e-3


@pytest.mark.parametrize(("name", "least"), [("mp3:64", 15), ("opus:64", 15)])
def test_a_good_codec_leaves_a_tone_where_it_was(name: str, least: float) -> None:
    wave = tone(440, 2 * RATE)
    error = degrade(name, "clip", wave)[RATE // 2 : -RATE // 2] - wave[RATE // 2 : -RATE // 2]
    assert 10 * np.log10(power(wave) / power(error)) > least  # a shift would leave none of it


def test_a_low_rate_leaves_less_of_a_clip_than_a_high_one() -> None:
    wave = sound(2)
    for codec in ("mp3", "opus"):
        errors = [power(degrade(f"{codec}:{rate}", "clip", wave) - wave) for rate in (8, 16, 64)]
        assert errors[0] > errors[1] > errors[2]


@settings(deadline=None, max_examples=20)
@given(lengths, st.floats(-30, 30))
def test_gain_is_in_decibels_of_power(samples: int, decibels: float) -> None:
    wave = sound(0, samples=samples)
    louder = change_gain(wave, decibels, rng())
    assert 10 * np.log10(power(louder) / power(wave)) == pytest.approx(decibels, abs=1e-3)


@settings(deadline=None, max_examples=20)
@given(lengths, st.floats(0.8, 1.25))
def test_speed_changes_length_and_pitch_together(samples: int, factor: float) -> None:
    faster = change_speed(tone(1000, samples), factor, rng())
    assert len(faster) == pytest.approx(samples / factor, abs=2)
    loudest = np.argmax(np.abs(np.fft.rfft(faster * np.hanning(len(faster)))))
    assert loudest * RATE / len(faster) == pytest.approx(factor * 1000, abs=2 * RATE / samples)


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 8_000), st.sampled_from(EVERY))
def test_a_clip_is_degraded_alike_every_time_and_never_in_place(samples: int, name: str) -> None:
    wave = sound(0, samples=samples)
    before = wave.copy()
    changed = degrade(name, "corpus/clip", wave)
    np.testing.assert_array_equal(wave, before)
    np.testing.assert_array_equal(changed, degrade(name, "corpus/clip", wave))
    assert changed.dtype == np.float32 and np.isfinite(changed).all() and abs(changed).max() <= 1
    assert name.startswith("speed") or len(changed) == samples


def test_two_clips_are_not_in_the_same_noise() -> None:
    wave = sound(1)
    assert not np.array_equal(degrade("noise:10", "one", wave), degrade("noise:10", "two", wave))


@pytest.mark.parametrize("name", EVERY)
def test_silence_and_nothing_stay_what_they_are(name: str) -> None:
    for samples in (0, 1, 5_000):
        silence = np.zeros(samples, dtype=np.float32)
        np.testing.assert_array_equal(degrade(name, "clip", silence), silence)


@pytest.mark.parametrize("name", ["", "hum", "noise", "noise:", "noise:loud", "noise:900",
                                  "telephone:3", "reverb:nan", "speed:0"])  # fmt: skip
def test_an_unknown_degradation_names_those_that_are_known(name: str) -> None:
    with pytest.raises(InputError, match=r"noise:N, N -20 to 60 dB .*; telephone; mp3:N") as error:
        parse_degradation(name)
    assert repr(name) in str(error.value)
