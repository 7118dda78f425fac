"""Speech without a speaker: a small source-filter synthesiser that acts the eight RAVDESS emotions.

A train of glottal pulses (Rosenberg 1971, with the return phase of Fant, Liljencrants & Lin 1985)
and a noise source drive formant resonators that move from phone to phone (Klatt 1980). An emotion
is a vector of departures from the speaker's neutral delivery, with signs and relative sizes after
Banse & Scherer (1996) and Juslin & Laukka (2003, table 7); it says nothing about real emotion.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter, sosfilt

from ser_generalize.errors import InputError, one_of

MODEL_RATE = 48_000  # Hz; other rates are resampled from this one, so the model has a single tuning
FRAME = 240  # samples between two settings of the controls: 5 ms, as in Klatt (1980)
RINGING = 8 * FRAME  # samples in which a formant has decayed by some 60 dB
NEUTRAL_LEVEL = -36.0  # dBFS, RMS of neutral speech; a shout is some 15 dB above it

Samples = NDArray[np.float64]
Rng = np.random.Generator


class Prosody(NamedTuple):
    """How one clip departs from the speaker's neutral delivery; all zero is neutral."""

    pitch: float  # semitones on the mean F0
    span: float  # octaves on the height of the pitch accents
    tempo: float  # octaves on the speaking rate
    level: float  # dB on the RMS
    brightness: float  # octaves on the corner of the source spectrum; up is a flatter tilt
    breath: float  # dB on the aspiration noise
    roughness: float  # octaves on jitter and shimmer
    ending: float  # semitones by which the last syllables rise
    tremor: float  # semitones of vibrato at 6 Hz
    opening: float  # octaves on F1: the jaw
    smile: float  # octaves on F2 and F3: the lips (Tartter 1980)
    pause: float  # seconds at a word boundary, on average


EMOTIONS = {
    #                   pitch span tempo level bright breath rough ending tremor open smile pause
    "neutral": Prosody(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "calm": Prosody(-1.0, -0.4, -0.15, -3.0, -0.6, 3.0, -0.2, -0.5, 0.0, -0.03, 0.0, 0.03),
    "happy": Prosody(5.0, 0.8, 0.12, 6.0, 0.8, -1.0, 0.0, 1.5, 0.0, 0.08, 0.06, 0.0),
    "sad": Prosody(-1.0, -0.8, -0.25, -5.0, -1.2, 5.0, 0.3, -1.5, 0.15, -0.08, -0.03, 0.06),
    "angry": Prosody(4.0, 0.7, 0.2, 10.0, 1.6, -4.0, 0.8, -1.0, 0.0, 0.18, 0.0, 0.0),
    "fearful": Prosody(6.0, -0.1, 0.2, 3.0, 0.2, 4.0, 0.5, 1.0, 0.6, 0.04, 0.03, 0.02),
    "disgust": Prosody(-1.0, 0.1, -0.2, 1.0, 0.3, 2.0, 0.7, -2.0, 0.0, 0.05, -0.04, 0.05),
    "surprised": Prosody(7.0, 1.0, 0.05, 5.0, 0.5, 1.0, 0.0, 5.0, 0.0, 0.1, 0.0, 0.01),
}
# Nobody says a sentence twice alike: standard deviations of what each clip adds to its emotion.
CLIP_SPREAD = Prosody(1.0, 0.2, 0.07, 1.6, 0.3, 1.5, 0.3, 1.0, 0.1, 0.03, 0.02, 0.02)


@dataclass(frozen=True)
class Voice:
    """A speaker: larynx, vocal tract and habits; `draw_voice` makes plausible ones."""

    f0: float  # Hz, mean of neutral speech
    tract: float  # formant frequencies relative to those of a 17-cm tract (an adult man's)
    open_quotient: float  # part of a glottal cycle with airflow, 0 to 1; large is breathy
    corner: float  # Hz, where the source starts to fall by another 6 dB per octave
    breath: float  # dB, aspiration relative to the glottal pulses
    jitter: float  # relative standard deviation of successive periods
    shimmer: float  # relative standard deviation of successive amplitudes
    tempo: float  # octaves on the speaking rate
    cue_use: Prosody  # weight of each cue of an emotion: actors differ (Juslin & Laukka 2003)


def draw_voice(sex: str, rng: Rng) -> Voice:
    """Draw a "male" or "female" speaker; another sex is an InputError (Hillenbrand et al. 1995)."""
    female = one_of("sex", sex, ("male", "female")) == "female"
    return Voice(
        f0=(205.0 if female else 115.0) * 2 ** rng.normal(0, 0.12),
        tract=(1.16 if female else 1.0) * 2 ** rng.normal(0, 0.05),
        open_quotient=float(np.clip(rng.normal(0.7 if female else 0.6, 0.05), 0.4, 0.85)),
        corner=2500.0 * 2 ** rng.normal(0, 0.4),
        breath=rng.normal(-20.0 if female else -24.0, 2.0),
        jitter=0.008 * 2 ** rng.normal(0, 0.4),
        shimmer=0.04 * 2 ** rng.normal(0, 0.4),
        tempo=rng.normal(0, 0.08),
        cue_use=Prosody(*rng.normal(1.0, 0.35, len(Prosody._fields))),
    )


class Phone(NamedTuple):
    """One sound: its formant targets in a male tract (Hz), and how much of each source it gets."""

    milliseconds: float
    f1: float
    f2: float
    f3: float
    voicing: float = 1.0  # amplitude of the glottal source
    noise: float = 0.0  # amplitude of the frication source
    noise_hz: float = 3300.0  # centre of the frication
    stress: float = 0.0  # 0 or 1, from the text


# Vowels after Peterson & Barney (1952), consonants after Klatt (1980, table II); ARPAbet names.
PHONES = {
    "|": Phone(0, 500, 1500, 2500, 0),  # a word boundary: a pause if the speaker makes one
    "IY": Phone(90, 270, 2290, 3010), "IH": Phone(70, 390, 1990, 2550),
    "EH": Phone(80, 530, 1840, 2480), "AE": Phone(100, 660, 1720, 2410),
    "AA": Phone(100, 730, 1090, 2440), "AO": Phone(100, 570, 840, 2410),
    "UH": Phone(70, 440, 1020, 2240), "UW": Phone(90, 300, 870, 2240),
    "AH": Phone(70, 640, 1190, 2390), "ER": Phone(90, 490, 1350, 1690),
    "W": Phone(55, 290, 610, 2150, 0.6), "Y": Phone(50, 260, 2070, 3020, 0.6),
    "R": Phone(60, 310, 1060, 1380, 0.6), "L": Phone(55, 310, 1050, 2880, 0.6),
    "M": Phone(60, 280, 1270, 2130, 0.4), "N": Phone(55, 280, 1340, 2470, 0.4),
    "NG": Phone(65, 280, 2000, 2900, 0.4), "HH": Phone(50, 500, 1500, 2500, 0, 0.15, 1500),
    "F": Phone(80, 340, 1100, 2080, 0, 0.1, 7000), "V": Phone(50, 220, 1100, 2080, 0.4, 0.05, 7000),
    "S": Phone(90, 320, 1390, 2530, 0, 0.35, 6500), "Z": Phone(70, 240, 1390, 2530, 0.3, 0.2, 6500),
    "SH": Phone(95, 300, 1840, 2750, 0, 0.4), "DH": Phone(45, 270, 1290, 2540, 0.4, 0.05, 7000),
    "ZH": Phone(70, 300, 1840, 2750, 0.3, 0.2), "TH": Phone(75, 320, 1290, 2540, 0, 0.1, 7000),
    "P": Phone(25, 400, 1100, 2150, 0, 0.25, 900), "B": Phone(13, 200, 1100, 2150, 0.3, 0.15, 900),
    "T": Phone(35, 400, 1600, 2600, 0, 0.4, 4500), "D": Phone(13, 200, 1600, 2600, 0.3, 0.25, 4000),
    "K": Phone(38, 300, 1990, 2850, 0, 0.4, 2000), "G": Phone(17, 200, 1990, 2850, 0.3, 0.25, 1900),
}  # fmt: skip
CLOSURES = {"P": 0.0, "T": 0.0, "K": 0.0, "B": 0.12, "D": 0.12, "G": 0.12}  # voicing meanwhile
PAIRS = {"EY": ("EH", "IY"), "AY": ("AA", "IH"), "OY": ("AO", "IH"), "AW": ("AA", "UH"),
         "OW": ("AO", "UH"), "CH": ("T", "SH"), "JH": ("D", "ZH")}  # fmt: skip
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
    prosody = perform(emotion, voice, rng, intensity)
    score = write_score(pronounce(text), voice, prosody, rng)
    voiced = unit_rms(vocal_tract(larynx(score, voice, prosody, rng), score, voice))
    clip = record(voiced + turbulence(score, rng), NEUTRAL_LEVEL + prosody.level, rng)
    clip = clip if rate == MODEL_RATE else soxr.resample(clip, MODEL_RATE, rate)
    return np.asarray(clip * min(1.0, 0.97 / np.abs(clip).max()))  # turned down, never clipped


def perform(emotion: str, voice: Voice, rng: Rng, intensity: float) -> Prosody:
    """Decide how this speaker renders this emotion this time."""
    textbook = EMOTIONS[one_of("emotion", emotion, EMOTIONS)]
    acted = intensity * np.array(textbook) * np.array(voice.cue_use)
    return Prosody(*(acted + rng.normal(0, CLIP_SPREAD)).tolist())


def pronounce(text: str) -> list[Phone]:
    """Return the sounds of an ARPAbet text, with stress; a stop is a closure, then a burst."""
    phones: list[Phone] = []
    for symbol in text.split():
        name, stress = symbol.rstrip("012"), float(symbol.endswith("1"))
        for part in PAIRS.get(name, (name,)):
            phone = PHONES[one_of("phone", part, [*PHONES, *PAIRS])]._replace(stress=stress)
            if part in CLOSURES:
                phones.append(phone._replace(milliseconds=45, voicing=CLOSURES[part], noise=0))
            phones.append(phone)
    if not any(phone.milliseconds for phone in phones):
        raise InputError("a text without phones cannot be spoken; give ARPAbet such as 'K IH1 D Z'")
    return phones


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


def record(speech: Samples, level: float, rng: Rng) -> Samples:
    """Put the speech at its level (dBFS, RMS) between two short silences of a quiet room."""
    before, after = (rng.uniform(0.1, 0.3, 2) * MODEL_RATE).astype(int)
    clip = np.pad(unit_rms(speech) * 10 ** (level / 20), (before, after))
    room = lfilter([0.2], [1, -0.8], rng.standard_normal(len(clip)))
    return np.asarray(clip + room * 10 ** (rng.normal(-70, 4) / 20))


def unit_rms(signal: Samples) -> Samples:
    """Scale a signal to a root mean square of one."""
    return np.asarray(signal / np.sqrt(np.mean(signal**2)))


def smooth(track: Samples, frames: float) -> Samples:
    """Low-pass a control track along time; what the articulators' inertia does to the targets."""
    return np.asarray(gaussian_filter1d(track, frames, axis=0, mode="nearest"))


def per_sample(track: Samples) -> Samples:
    """Interpolate a control track [frames] to one value per sample, [frames * FRAME]."""
    return np.interp(np.arange(len(track) * FRAME) / FRAME, np.arange(len(track)), track)
