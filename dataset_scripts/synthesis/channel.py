"""What lies between the lips and the file: a room, a microphone, an amplifier and its noise."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from dataset_scripts.synthesis.speech import Rng, Samples, unit_rms

PEAK = 0.97  # full scale 1.0; what would be louder is turned down, never clipped


@dataclass(frozen=True)
class Channel:
    """How a corpus was recorded; the same for all of its files, but for the noise itself."""

    low: float = 40.0  # Hz, below which the microphone hears little
    high: float = 20_000.0  # Hz, above which nothing passes
    gain: float = 0.0  # dB
    noise: float = -70.0  # dBFS, RMS
    rumble: float = 0.8  # pole of the noise's spectrum: 0 is white, near 1 all bass
    decay: float = 0.1  # seconds in which the room falls by 60 dB
    room: float = -30.0  # dB, reverberation relative to the direct sound


def transmit(dry: Samples, channel: Channel, rate: int, rng: Rng) -> Samples:
    """Return a recording, shape [n], of dry speech of the same shape and `rate` (Hz)."""
    wet = oaconvolve(dry, reflections(channel, rate))[: len(dry)] * 10 ** (channel.gain / 20)
    edges = (channel.low, min(channel.high, 0.45 * rate))
    heard = sosfilt(butter(2, edges, "bandpass", fs=rate, output="sos"), wet)
    noise = lfilter([1], [1, -channel.rumble], rng.standard_normal(len(dry)))
    clip = heard + unit_rms(noise) * 10 ** ((channel.noise + rng.normal(0, 2)) / 20)
    return np.asarray(clip * min(1.0, PEAK / np.abs(clip).max()))


def reflections(channel: Channel, rate: int) -> Samples:
    """Return a room's impulse response: the direct sound, then noise that dies away."""
    length = max(2, round(channel.decay * rate))
    tail = np.random.default_rng(0).standard_normal(length) * 10.0 ** (
        -3 * np.linspace(0, 1, length)
    )
    tail[0] = 0
    tail *= 10 ** (channel.room / 20) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return tail
