"""Degradations: what noise, a room, a telephone or a poor codec would have made of a clip, by name.

Waves [samples] are 16-kHz mono float32 in [-1, 1] and never changed in place. Chance is seeded by
the clip's id and the kind, not by the severity: a clip is heard in the same noise at every level.
"""

import io
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.schema import SAMPLING_RATE

NONE = "none"
LOWEST = 50.0  # Hz, of noise: below it there is no speech to hide
TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712
TELEPHONE_RATE = 8_000  # Hz
MP3_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2, layer III
TAPS = 401  # of the telephone's filter: 65 Hz from pass to stop
MU = 255  # of mu-law companding, ITU-T G.711
DECAY = math.log(1000)  # an amplitude that falls by 60 dB

Samples = NDArray[np.float32]
Generator = np.random.Generator
Change = Callable[[Samples, float, Generator], Samples]


def add_noise(wave: Samples, snr: float, generator: Generator) -> Samples:
    """Return the clip in pink noise whose power is `snr` dB below the clip's own.

    Rooms and microphones hum rather than hiss: white noise would hide little but consonants.
    """
    size = len(wave)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLING_RATE)
    audible = hertz >= min(LOWEST, hertz[-1])
    shape = audible / np.sqrt(np.maximum(hertz, 1))
    noise = np.fft.irfft(np.fft.rfft(generator.standard_normal(size)) * shape, size)
    level = math.sqrt(_power(wave) / max(_power(noise), 1e-30))
    return wave + (noise * level * 10 ** (-snr / 20)).astype(np.float32)


def change_gain(wave: Samples, decibels: float) -> Samples:
    """Return the clip louder, or softer where `decibels` are negative; it is not clipped."""
    return wave * np.float32(10 ** (decibels / 20))


def change_speed(wave: Samples, factor: float) -> Samples:
    """Return the clip `factor` times as fast and as high, 1 / factor times as long."""
    return soxr.resample(wave, factor, 1.0).astype(np.float32)


def reverberate(wave: Samples, seconds: float, generator: Generator) -> Samples:
    """Return the clip in a room whose sound falls by 60 dB within `seconds` (RT60).

    The room is noise that decays exponentially (Polack 1988) and has as much energy as the direct
    sound. Level and length stay those of the clip: what still rings at its end is cut off.
    """
    from scipy.signal import fftconvolve  # half a second to import

    tail = generator.standard_normal(round(1.2 * seconds * SAMPLING_RATE))
    tail *= np.exp(-DECAY * np.arange(len(tail)) / (seconds * SAMPLING_RATE))
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    wet = fftconvolve(wave.astype(np.float64), response)[: len(wave)]
    level = math.sqrt(_power(wave) / max(_power(wet), 1e-30))
    return (wet * level).astype(np.float32)


def telephone(wave: Samples) -> Samples:
    """Return the clip through a telephone: 300 to 3400 Hz, sampled at 8 kHz in 8-bit mu-law."""
    from scipy.signal import fftconvolve, firwin

    taps = firwin(TAPS, TELEPHONE_BAND, pass_zero=False, fs=SAMPLING_RATE)
    band = fftconvolve(wave.astype(np.float64), taps, mode="full")[TAPS // 2 :][: len(wave)]
    line = np.clip(soxr.resample(band, SAMPLING_RATE, TELEPHONE_RATE), -1, 1)
    loud = np.sign(line) * np.log1p(MU * np.abs(line)) / math.log1p(MU)
    steps = np.rint(loud * 127) / 127
    heard = np.sign(steps) * np.expm1(np.abs(steps) * math.log1p(MU)) / MU
    return _as_long(soxr.resample(heard, TELEPHONE_RATE, SAMPLING_RATE), wave)


def through_codec(wave: Samples, codec: str, container: str, kbits: float) -> Samples:
    """Return the clip encoded at so many kbit/s and decoded again, no later and as long.

    Opus takes the rate as an average. Which bits come back is the encoder's version's to say.
    """
    import av

    pcm = np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=SAMPLING_RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = round(1000 * kbits)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        to_codec = av.AudioResampler(stream.format, "mono", SAMPLING_RATE)
        for part in (*to_codec.resample(frame), None):
            out.mux(stream.encode(part))
    to_wave = av.AudioResampler("flt", "mono", SAMPLING_RATE)
    with av.open(io.BytesIO(file.getvalue()), "r") as found:
        frames = [*found.decode(audio=0), None]
        heard = [part.to_ndarray()[0] for one in frames for part in to_wave.resample(one)]
    return _as_long(np.concatenate(heard), wave)


@dataclass(frozen=True)
class Kind:
    """A kind of degradation: what it does, and the severities that it has."""

    change: Change
    lowest: float = 0.0
    highest: float = 0.0
    unit: str = ""  # without one there is one severity only
    examples: tuple[float, ...] = ()  # those of the study
    only: tuple[float, ...] = ()  # where not every number between is one

    def holds(self, severity: float) -> bool:
        """Return whether it has a severity."""
        return severity in self.only if self.only else self.lowest <= severity <= self.highest


KINDS: Mapping[str, Kind] = {
    "noise": Kind(add_noise, -20, 60, "dB of SNR", (20, 10, 0)),
    "reverb": Kind(reverberate, 0.1, 5, "s of RT60", (0.3, 0.8)),
    "telephone": Kind(lambda wave, _, __: telephone(wave)),
    "mp3": Kind(
        lambda wave, kbits, _: through_codec(wave, "libmp3lame", "mp3", kbits),
        MP3_RATES[0], MP3_RATES[-1], "kbit/s", (32,), MP3_RATES,
    ),
    "opus": Kind(
        lambda wave, kbits, _: through_codec(wave, "libopus", "ogg", kbits), 6, 256, "kbit/s", (12,)
    ),
    "gain": Kind(lambda wave, decibels, _: change_gain(wave, decibels), -60, 40, "dB", (-20,)),
    "speed": Kind(lambda wave, factor, _: change_speed(wave, factor), 0.5, 2, "times", (0.9, 1.1)),
}  # fmt: skip


@dataclass(frozen=True)
class Degradation:
    """A kind and a severity; `none` leaves a clip as it is."""

    kind: str = NONE
    severity: float | None = None

    @property
    def name(self) -> str:
        """What stores and reports call it, such as "noise:10"; equal ones are called alike."""
        return self.kind if self.severity is None else f"{self.kind}:{self.severity:g}"

    @property
    def words(self) -> str:
        """The same for a sentence, such as "noise (10 dB of SNR)"."""
        unit = "" if self.severity is None else f" ({self.severity:g} {KINDS[self.kind].unit})"
        return self.kind + unit

    def __call__(self, wave: Samples, clip_id: str) -> Samples:
        """Return what it makes of a clip, the same whenever it is asked."""
        if self.kind == NONE:
            return wave
        generator = np.random.default_rng(zlib.crc32(f"{self.kind} {clip_id}".encode()))
        return KINDS[self.kind].change(wave, self.severity or 0.0, generator)

    def samples(self, samples: int) -> int:
        """Return about how many samples a clip of so many has afterwards."""
        return math.ceil(samples / (self.severity or 1)) if self.kind == "speed" else samples


def parse_degradation(text: str) -> Degradation:
    """Return what `--degrade` asks for: none, or a kind and its severity; else InputError."""
    name, colon, number = text.partition(":")
    if text == NONE:
        return Degradation()
    kind = KINDS.get(name)
    if kind is not None and not kind.unit and not colon:
        return Degradation(name)
    try:
        severity = float(number)
    except ValueError:
        severity = math.nan
    if kind is None or not kind.unit or not kind.holds(severity):
        raise InputError(f"unknown --degrade {text!r}; give {NONE} or one of: {_choices()}")
    return Degradation(name, severity)


def _choices() -> str:
    def named(name: str, kind: Kind) -> str:
        examples = " or ".join(f"{name}:{one:g}" for one in kind.examples)
        between = ", ".join(map(str, kind.only)) or f"{kind.lowest:g} to {kind.highest:g}"
        limits = f"{between} {kind.unit}"
        return f"{examples} ({limits})" if kind.unit else name

    return ", ".join(named(name, kind) for name, kind in KINDS.items())


def _power(wave: NDArray[np.floating]) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def _as_long(heard: NDArray[np.floating], wave: Samples) -> Samples:
    """Return so many samples as the clip had, with silence where there are fewer."""
    found = heard[: len(wave)]
    return np.pad(found, (0, len(wave) - len(found))).astype(np.float32)
