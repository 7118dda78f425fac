"""A small source-filter synthesiser: a text, a voice and an emotion in, a dry recording out.

A train of glottal pulses (Rosenberg 1971, with the return phase of Fant, Liljencrants & Lin 1985)
and a noise source drive formant resonators that move from phone to phone (Klatt 1980).
"""

from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter, sosfilt

from dataset_scripts.synthesis.phones import Phone, pronounce
from dataset_scripts.synthesis.prosody import Prosody, perform
from dataset_scripts.synthesis.voice import Voice

MODEL_RATE = 48_000  # Hz; other rates are resampled from this one, so the model has a single tuning
FRAME = 240  # samples between two settings of the controls: 5 ms, as in Klatt (1980)
RINGING = 8 * FRAME  # samples in which a formant has decayed by some 60 dB
NEUTRAL_LEVEL = -36.0  # dBFS, RMS of neutral speech; a shout is some 15 dB above it

Samples = NDArray[np.float64]
Rng = np.random.Generator

UPPER_FORMANTS = np.arange(3500.0, 14000.0, 1000.0)  # F4 on, of a uniform tube; they stand still
BANDWIDTHS = np.array([70.0, 100.0, 150.0])  # Hz, of F1 to F3
FRICATION_HZ = np.array([900.0, 2000.0, 4200.0, 6800.0])  # fixed resonators of the noise branch


class Score(NamedTuple):
    """What the synthesiser plays: control tracks with one row per 5-ms frame."""

    formants: Samples  # Hz, [frames, 3]
    voicing: Samples  # amplitude of the glottal source, [frames]
    frication: Samples  # amplitude of each noise resonator, [frames, 4]
    f0: Samples  # Hz, [frames]


def synthesise(
    emotion: str, voice: Voice, text: str, rng: Rng, rate: int = MODEL_RATE, intensity: float = 1.0
) -> Samples:
    """Speak a text with an emotion.

    `text` is ARPAbet with blanks between phones, stress digits on vowels and "|" between words;
    `intensity` scales the emotion, 0 being neutral. Returns mono samples in [-1, 1], shape [n], at
    `rate` Hz. Raises InputError for an unknown emotion or phone, and for a text without any.
    """
    prosody = perform(emotion, voice.cue_use, rng, intensity)
    score = write_score(pronounce(text), voice, prosody, rng)
    voiced = unit_rms(vocal_tract(larynx(score, voice, prosody, rng), score, voice))
    clip = place(voiced + turbulence(score, rng), NEUTRAL_LEVEL + prosody.level, rng)
    clip = clip if rate == MODEL_RATE else soxr.resample(clip, MODEL_RATE, rate)
    return np.asarray(clip * min(1.0, 0.97 / np.abs(clip).max()))  # turned down, never clipped


def write_score(phones: list[Phone], voice: Voice, prosody: Prosody, rng: Rng) -> Score:
    """Lay the sounds out in time and let each track glide from target to target."""
    targets = np.repeat(np.array(phones), durations(phones, voice, prosody, rng), axis=0)
    accents = smooth(targets[:, 7], 10) * (1 + 2 * smooth(rng.standard_normal(len(targets)), 20))
    shape = voice.tract * 2 ** np.array([prosody.opening, prosody.smile, prosody.smile])
    loudness = np.linspace(1.0, 0.6, len(targets)) * (0.7 + 0.6 * accents)
    loudness *= np.clip(np.arange(len(targets), 0, -1) / 8, 0, 1)  # no click at the end
    octaves = np.log2(targets[:, 6:7] / FRICATION_HZ)
    return Score(
        formants=smooth(targets[:, 1:4], 4) * shape,
        voicing=smooth(targets[:, 4], 1.5) * loudness,
        frication=smooth(targets[:, 5:6] * np.exp(-4 * octaves**2), 1),
        f0=intonation(accents, voice, prosody, rng),
    )


def durations(phones: list[Phone], voice: Voice, prosody: Prosody, rng: Rng) -> NDArray[np.int64]:
    """Return the frames of each phone: stressed and final ones are longer, pauses vary most."""
    seconds = np.array([phone.milliseconds * (1 + 0.25 * phone.stress) for phone in phones]) / 1000
    seconds[-2:] *= 1.4
    spread = rng.normal(0, 0.15, len(phones))
    pauses = np.minimum(rng.exponential(max(prosody.pause, 0), len(phones)), 0.3)
    seconds = np.where(seconds > 0, seconds * 2 ** (spread - voice.tempo - prosody.tempo), pauses)
    return np.rint(seconds * MODEL_RATE / FRAME).astype(np.int64)


def intonation(accents: Samples, voice: Voice, prosody: Prosody, rng: Rng) -> Samples:
    """Return F0 in Hz per frame: a declining line, its accents, a final movement, drift, tremor."""
    time = np.linspace(0, 1, len(accents))
    vibrato = np.sin(2 * np.pi * 6.0 * np.arange(len(time)) * FRAME / MODEL_RATE)
    drift = 4 * smooth(rng.standard_normal(len(time)), 30)
    contour = 4 * 2**prosody.span * accents - 3 * time + drift + max(prosody.tremor, 0) * vibrato
    ending = prosody.ending * np.clip(4 * time - 3, 0, 1)
    semitones = prosody.pitch + contour - contour.mean() + ending
    return np.asarray(voice.f0 * 2 ** (semitones / 12))


def larynx(score: Score, voice: Voice, prosody: Prosody, rng: Rng) -> Samples:
    """Return the source: pulses with jitter and shimmer, and breath while the glottis is open."""
    f0 = per_sample(score.f0)
    cycle = np.cumsum(f0) / MODEL_RATE
    wobble = 2**prosody.roughness * rng.standard_normal((2, 2 * int(cycle[-1]) + 2))
    cycle = np.cumsum(f0 * (1 + voice.jitter * wobble[0, cycle.astype(int)])) / MODEL_RATE
    pulse, flow = glottal_cycle(voice.open_quotient)
    point = (cycle % 1 * len(pulse)).astype(int)
    pulses = pulse[point] * (1 + voice.shimmer * wobble[1, cycle.astype(int)])
    pole = np.exp(-2 * np.pi * voice.corner * 2**prosody.brightness / MODEL_RATE)
    breath = 10 ** ((voice.breath + prosody.breath) / 20) * flow[point]
    source = lfilter([1 - pole], [1, -pole], pulses) + breath * rng.standard_normal(len(f0))
    return np.asarray(source * per_sample(score.voicing))


def glottal_cycle(open_quotient: float, points: int = 4096) -> tuple[Samples, Samples]:
    """Return a cycle of the flow's derivative and of the flow, [points] (Rosenberg 1971, C)."""
    rise, fall = open_quotient * 2 / 3, open_quotient / 3
    phase = np.arange(points) / points
    falling = np.cos(np.pi / 2 * np.clip((phase - rise) / fall, 0, 1))
    flow = np.where(phase < rise, 0.5 - 0.5 * np.cos(np.pi * phase / rise), falling)
    return unit_rms(np.gradient(flow)), flow  # the derivative is the radiation at the lips


def vocal_tract(source: Samples, score: Score, voice: Voice) -> Samples:
    """Filter the source by a cascade of formants: F4 and up stand still, F1 to F3 move.

    Overlapping slices each pass through their own F1 to F3: one running filter that is reset
    every 5 ms (Klatt 1980) doubles the odd glottal pulse.
    """
    upper = UPPER_FORMANTS * voice.tract
    halves = np.pad(sosfilt(resonators(upper, 0.06 * upper), source), (FRAME, 0)).reshape(-1, FRAME)
    slices = np.hstack([halves[:-1], halves[1:]]) * np.bartlett(2 * FRAME + 1)[:-1]
    sections = resonators(score.formants, BANDWIDTHS)
    response = sections[..., :1].prod(axis=1) / rfft(sections[..., 3:], RINGING).prod(axis=1)
    return overlap_add(irfft(rfft(slices, RINGING) * response, RINGING))


def overlap_add(slices: Samples) -> Samples:
    """Sum slices [frames, RINGING] that start one frame apart; returns [frames * FRAME]."""
    parts = slices.reshape(len(slices), -1, FRAME)
    signal = np.zeros((len(slices) + parts.shape[1], FRAME))
    for delay in range(parts.shape[1]):
        signal[delay : delay + len(slices)] += parts[:, delay]
    return signal[1 : len(slices) + 1].ravel()  # the first slice starts one frame before time 0


def resonators(frequency: Samples, bandwidth: Samples) -> Samples:
    """Return second-order sections [..., 6] of resonators, unit gain at 0 Hz (Klatt 1980)."""
    radius = np.exp(-np.pi * bandwidth / MODEL_RATE)
    a1 = -2 * radius * np.cos(2 * np.pi * frequency / MODEL_RATE)
    a2, none = radius**2 + 0 * a1, 0 * a1
    return np.stack([1 + a1 + a2, none, none, none + 1, a1, a2], axis=-1)


def turbulence(score: Score, rng: Rng) -> Samples:
    """Return frication: one noise through fixed parallel resonators of moving amplitude."""
    noise = np.diff(rng.standard_normal(len(score.frication) * FRAME + 1))  # lips: +6 dB/octave
    bands = resonators(FRICATION_HZ, 0.3 * FRICATION_HZ)
    shaped = (unit_rms(sosfilt(band[None], noise)) for band in bands)
    return np.asarray(sum(map(np.multiply, map(per_sample, score.frication.T), shaped)))


def place(speech: Samples, level: float, rng: Rng) -> Samples:
    """Put the speech at its level (dBFS, RMS) between two short silences."""
    before, after = (rng.uniform(0.1, 0.3, 2) * MODEL_RATE).astype(int)
    return np.pad(unit_rms(speech) * 10 ** (level / 20), (before, after))


def unit_rms(signal: Samples) -> Samples:
    """Scale a signal to a root mean square of one."""
    return np.asarray(signal / np.sqrt(np.mean(signal**2)))


def smooth(track: Samples, frames: float) -> Samples:
    """Low-pass a control track along time; what the articulators' inertia does to the targets."""
    return np.asarray(gaussian_filter1d(track, frames, axis=0, mode="nearest"))


def per_sample(track: Samples) -> Samples:
    """Interpolate a control track [frames] to one value per sample, [frames * FRAME]."""
    return np.interp(np.arange(len(track) * FRAME) / FRAME, np.arange(len(track)), track)
