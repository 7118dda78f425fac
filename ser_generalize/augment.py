"""Degradations: what noise, a room, a line or a codec would have made of a recording.

Samples are 16-kHz mono float32 in [-1, 1], shape [n]; they are never changed in place. The name of
a degradation is its kind and how severe it is, e.g. `noise:10`; chance comes from the clip's id, so
that a clip is degraded alike in every run, process and store.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

UNDEGRADED = "none"
TELEPHONE_BAND = (300.0, 3400.0)  # Hz
TELEPHONE_RATE = 8000
MU = 255  # of the mu-law, ITU-T G.711
FULL_SCALE = 32767

Samples = NDArray[np.float32]
Change = Callable[[Samples, float, np.random.Generator], Samples]


def add_noise(wave: Samples, snr: float, generator: np.random.Generator) -> Samples:
    """Return the clip in pink noise whose power is `snr` dB below the clip's own.

    Rooms and microphones hum rather than hiss: white noise would hide little but consonants.
    """
    size = len(wave)
    spectrum = np.fft.rfft(generator.standard_normal(size))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), size)
    return wave + (noise * _rms(wave) / _rms(noise) * 10 ** (-snr / 20)).astype(np.float32)


def add_reverb(wave: Samples, seconds: float, generator: np.random.Generator) -> Samples:
    """Return the clip as heard across a room in which sound falls by 60 dB in so many seconds.

    The impulse response is the direct sound and a tail of noise that decays exponentially, with as
    much energy as the direct sound; length and level stay those of the clip.
    """
    from scipy.signal import fftconvolve  # half a second, for some degradations

    time = np.arange(max(round(seconds * SAMPLING_RATE), 1)) / SAMPLING_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    response = tail / np.sqrt(np.sum(tail**2))
    response[0] += 1
    heard = fftconvolve(wave, response)[: len(wave)]
    level = _rms(heard)
    return (heard * (_rms(wave) / level if level else 0)).astype(np.float32)


def telephone(wave: Samples, _: float, __: np.random.Generator) -> Samples:
    """Return the clip through a telephone line: 300 to 3400 Hz, 8 kHz, mu-law in 8 bits (G.711)."""
    from scipy.signal import butter, sosfiltfilt

    band = butter(4, TELEPHONE_BAND, "bandpass", fs=SAMPLING_RATE, output="sos")
    heard = sosfiltfilt(band, wave, padlen=min(len(wave) - 1, 30))
    narrow = np.clip(soxr.resample(heard, SAMPLING_RATE, TELEPHONE_RATE), -1, 1)
    companded = np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU)
    sent = np.round(companded * 127) / 127
    received = np.sign(sent) * np.expm1(np.abs(sent) * np.log1p(MU)) / MU
    return _as_long_as(wave, soxr.resample(received, TELEPHONE_RATE, SAMPLING_RATE))


def change_gain(wave: Samples, decibels: float, _: np.random.Generator) -> Samples:
    """Return the clip louder, or softer where `decibels` are negative."""
    return wave * np.float32(10 ** (decibels / 20))


def change_speed(wave: Samples, factor: float, _: np.random.Generator) -> Samples:
    """Return the clip `factor` times as fast and as high, 1 / factor times as long."""
    faster = soxr.resample(wave, factor, 1.0).astype(np.float32)
    return faster if len(faster) else wave  # of a few samples nothing would be left


def through_mp3(wave: Samples, kbits: float, _: np.random.Generator) -> Samples:
    """Return the clip as MP3 of so many kbit/s leaves it."""
    return _through(wave, "mp3", "libmp3lame", kbits)


def through_opus(wave: Samples, kbits: float, _: np.random.Generator) -> Samples:
    """Return the clip as Opus of so many kbit/s leaves it."""
    return _through(wave, "ogg", "libopus", kbits)


@dataclass(frozen=True)
class Kind:
    """A way to degrade, and between which severities; without any it has one strength only."""

    change: Change
    unit: str = ""
    low: float = 0.0
    high: float = 0.0

    @property
    def graded(self) -> bool:
        """Whether it is more or less severe."""
        return self.low < self.high


KINDS = {
    "noise": Kind(add_noise, "dB of signal-to-noise ratio", -20, 60),
    "reverb": Kind(add_reverb, "s of reverberation (RT60)", 0.1, 3),
    "telephone": Kind(telephone),
    "mp3": Kind(through_mp3, "kbit/s", 8, 160),
    "opus": Kind(through_opus, "kbit/s", 6, 128),
    "gain": Kind(change_gain, "dB", -60, 40),
    "speed": Kind(change_speed, "times as fast", 0.5, 2),
}


def parse_degradation(name: str) -> tuple[Kind, float]:
    """Return the kind and severity of a degradation such as `noise:10`; InputError if none."""
    word, colon, number = name.partition(":")
    kind = KINDS.get(word)
    severity = _number(number)
    if kind and kind.graded and severity is not None and kind.low <= severity <= kind.high:
        return kind, severity
    if kind and not kind.graded and not colon:
        return kind, 0.0
    valid = (
        f"{word}:N, N {kind.low:g} to {kind.high:g} {kind.unit}" if kind.graded else word
        for word, kind in KINDS.items()
    )
    raise InputError(f"degradation {name!r} is not known; choose from: {'; '.join(valid)}")


def degrade(name: str, clip_id: str, wave: Samples) -> Samples:
    """Return a clip degraded by `name`, within [-1, 1]: what is louder is cut as it would be.

    Silence stays silent. Raises InputError as `parse_degradation` does.
    """
    kind, severity = parse_degradation(name)
    if not len(wave) or not wave.any():
        return wave
    generator = np.random.default_rng(zlib.crc32(f"{name}:{clip_id}".encode()))
    return np.clip(kind.change(wave, severity, generator), -1, 1).astype(np.float32, copy=False)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _rms(wave: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def _as_long_as(wave: Samples, changed: NDArray[np.floating]) -> Samples:
    """Return samples cut, or followed by silence, to the length of the clip that they were."""
    missing = max(len(wave) - len(changed), 0)
    return np.pad(changed[: len(wave)], (0, missing)).astype(np.float32)


def _through(wave: Samples, container: str, codec: str, kbits: float) -> Samples:
    """Return the clip encoded and decoded again."""
    import av  # a tenth of a second, for some degradations

    file = io.BytesIO()
    with av.open(file, "w", container) as target:
        stream = target.add_stream(codec, rate=SAMPLING_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = round(kbits * 1000)
        pcm = np.round(np.clip(wave, -1, 1) * FULL_SCALE).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        to_codec = av.AudioResampler(stream.format, "mono", SAMPLING_RATE, stream.frame_size)
        for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    file.seek(0)
    to_wave = av.AudioResampler("flt", "mono", SAMPLING_RATE)
    with av.open(file, "r", container) as source:
        frames = [part for frame in source.decode(audio=0) for part in to_wave.resample(frame)]
        frames += to_wave.resample(None)
    return _as_long_as(wave, np.concatenate([frame.to_ndarray()[0] for frame in frames]))
