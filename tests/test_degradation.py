"""Degradations: each does what its name says, by measurement, and the same every time."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_encoder import sound
from numpy.typing import NDArray

from ser_generalize.degradation import (
    KINDS,
    add_noise,
    change_gain,
    change_speed,
    parse_degradation,
)
from ser_generalize.errors import InputError

RATE = 16_000
EVERY = [
    f"{name}:{severity:g}" if kind.unit else name
    for name, kind in KINDS.items()
    for severity in kind.examples or (0,)
]
lengths = st.integers(1_600, 24_000)
Wave = NDArray[np.floating]


def power(wave: Wave) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def decibels(first: Wave, second: Wave) -> float:
    return 10 * np.log10(power(first) / power(second))


def degraded(name: str, wave: Wave, clip_id: str = "corpus/clip") -> NDArray[np.float32]:
    return parse_degradation(name)(wave.astype(np.float32), clip_id)


def band(wave: Wave, low: float, high: float) -> float:
    """Energy between two frequencies."""
    spectrum = np.abs(np.fft.rfft(wave.astype(np.float64))) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    return float(spectrum[(hertz >= low) & (hertz < high)].sum())


def hiss(seconds: float) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))).astype(np.float32)


@given(lengths, st.floats(-5, 40), st.text(max_size=5))
def test_noise_is_as_far_below_the_clip_as_its_name_says(
    samples: int, snr: float, clip_id: str
) -> None:
    wave = sound(0, samples=samples)
    snr = float(f"{snr:g}")
    noise = degraded(f"noise:{snr:g}", wave, clip_id).astype(np.float64) - wave
    assert decibels(wave, noise) == pytest.approx(snr, abs=0.02)


def test_noise_has_as_much_power_in_every_octave_and_none_where_speech_has_none() -> None:
    wave = sound(20)
    noise = add_noise(wave, 0, np.random.default_rng(0)).astype(np.float64) - wave
    octaves = [band(noise, low, 2 * low) for low in (125, 500, 2000)]
    assert max(octaves) < 1.2 * min(octaves)
    assert band(noise, 0, 49) < 1e-4 * min(octaves)


def test_every_severity_is_heard_in_the_same_noise_and_every_clip_in_its_own() -> None:
    wave = sound(1)
    quiet, loud = (degraded(f"noise:{snr}", wave) - wave for snr in (20, 0))
    assert np.corrcoef(quiet, loud)[0, 1] > 0.999
    other = degraded("noise:0", wave, "corpus/another") - wave
    assert abs(np.corrcoef(loud, other)[0, 1]) < 0.2


@pytest.mark.parametrize("seconds", [0.3, 0.8])
def test_the_sound_of_a_room_falls_by_60_db_in_its_rt60(seconds: float) -> None:
    click = np.zeros(int(1.5 * RATE))
    click[0] = 1.0
    response = degraded(f"reverb:{seconds}", click).astype(np.float64)
    left = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])  # Schroeder 1965; no direct sound
    first, last = (int(np.argmax(left < left[0] - drop)) for drop in (5, 35))
    assert 2 * (last - first) / RATE == pytest.approx(seconds, rel=0.1)
    assert response[0] ** 2 == pytest.approx(np.sum(response[1:] ** 2), rel=1e-3)


def test_a_room_keeps_the_level() -> None:
    assert decibels(degraded("reverb:0.8", sound(2)), sound(2)) == pytest.approx(0, abs=0.01)


def test_a_telephone_lets_its_band_through_and_little_else() -> None:
    wave = hiss(4)
    heard = degraded("telephone", wave)
    kept = [band(heard, *ends) / band(wave, *ends) for ends in ((400, 1000), (1000, 3300))]
    assert kept == pytest.approx([1, 1], abs=0.1)
    lost = [band(heard, *ends) / band(wave, *ends) for ends in ((0, 200), (3600, 4000))]
    assert max(lost) < 0.02  # what is there is the noise of 8 bits
    assert band(heard, 4200, 8000) < 1e-3 * band(wave, 4200, 8000)
    line = heard - degraded("telephone", wave * np.float32(0.5)) * 2  # steps are not linear
    assert 20 < decibels(heard, line) < 45


@pytest.mark.parametrize(("worse", "better"), [("mp3:16", "mp3:64"), ("opus:8", "opus:48")])
def test_a_codec_is_heard_the_less_the_more_bits_it_has(worse: str, better: str) -> None:
    wave = sound(2) + 0.1 * hiss(2)
    errors = [_error(degraded(name, wave), wave) for name in (worse, better)]
    assert errors[0] > 1.5 * errors[1] > 0
    shift = np.fft.irfft(np.fft.rfft(degraded(better, wave)) * np.fft.rfft(wave).conj())
    assert np.argmax(shift) == 0  # no delay


def _error(heard: Wave, wave: Wave) -> float:
    """What of the sound is not the clip, whatever its level."""
    return float(np.sqrt(1 - np.corrcoef(heard, wave)[0, 1] ** 2))


@given(lengths, st.floats(-30, 30))
def test_gain_is_in_decibels_of_power(samples: int, gain: float) -> None:
    wave = sound(0, samples=samples)
    assert decibels(change_gain(wave, gain), wave) == pytest.approx(gain, abs=1e-3)


@given(lengths, st.floats(0.8, 1.25))
def test_speed_changes_length_and_pitch_together(samples: int, factor: float) -> None:
    hertz = 1000.0
    tone = np.sin(2 * np.pi * hertz * np.arange(samples) / RATE).astype(np.float32)
    faster = change_speed(tone, factor)
    assert len(faster) == pytest.approx(samples / factor, abs=2)
    loudest = np.argmax(np.abs(np.fft.rfft(faster * np.hanning(len(faster)))))
    assert loudest * RATE / len(faster) == pytest.approx(factor * hertz, abs=2 * RATE / samples)


@pytest.mark.parametrize("name", EVERY)
def test_the_same_clip_is_degraded_in_the_same_way_and_the_clip_itself_left_alone(
    name: str,
) -> None:
    wave = sound(0.7)
    before = wave.copy()
    found = degraded(name, wave)
    np.testing.assert_array_equal(found, degraded(name, wave))
    np.testing.assert_array_equal(wave, before)
    assert found.dtype == np.float32 and not np.array_equal(found, wave)
    assert abs(len(found) - parse_degradation(name).samples(len(wave))) <= 2


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([1, 2, 100, 1_600]), st.sampled_from([0.0, 0.1, -1.0]))
def test_silence_and_very_short_clips_are_safe(samples: int, value: float) -> None:
    for name in EVERY:
        wave = np.full(samples, value, np.float32)
        found = degraded(name, wave)
        assert np.isfinite(found).all()
        assert abs(len(found) - parse_degradation(name).samples(samples)) <= 1
        if not value:
            assert np.abs(found).max(initial=0) < 1e-3


@pytest.mark.parametrize(
    ("text", "name"),
    [("none", "none"), ("noise:10.0", "noise:10"), ("telephone", "telephone"),
     ("gain:-20", "gain:-20"), ("speed:.9", "speed:0.9")],
)  # fmt: skip
def test_names_are_read_and_equal_ones_written_alike(text: str, name: str) -> None:
    assert parse_degradation(text).name == name
    assert parse_degradation(name) == parse_degradation(text)


@pytest.mark.parametrize(
    "text",
    ["", "noise", "noise:", "noise:loud", "noise:nan", "noise:1000", "hiss:3", "telephone:2",
     "mp3:33", "speed:0", "none:1", "reverb:inf"],
)  # fmt: skip
def test_an_unknown_degradation_is_one_line_that_names_what_there_is(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(text))) as caught:
        parse_degradation(text)
    said = str(caught.value)
    assert "\n" not in said
    assert all(name in said for name in ("none", *EVERY))
