"""Augmentation: what another room, microphone or pace would have made of a training clip.

Pure functions: nothing is changed in place, and all chance comes from the generator given. So a
clip's augmentation can be drawn again exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ser_generalize.degradation import Samples, add_noise, change_gain, change_speed


@dataclass(frozen=True)
class Augmentation:
    """How far a clip may be changed; each change is made with probability 1/2.

    Speeds of 0.9 to 1.1 are those of Ko et al. 2015. Masks are narrower than those for recognition:
    a clip of three seconds has less to lose.
    """

    gain: float = 10.0  # dB, up or down
    speed: float = 0.1  # pitch and pace together, up or down
    snr: tuple[float, float] = (10.0, 40.0)  # dB
    masks: int = 2  # of each kind
    channels: float = 0.12  # share of the mel channels that a mask hides at most
    frames: float = 0.1  # share of the clip that a mask hides at most

    def wave(self, wave: Samples, generator: np.random.Generator) -> Samples:
        """Return the clip at another speed, in noise and at another level, or in part so."""
        if generator.random() < 0.5:
            wave = change_speed(wave, 1 + self.speed * generator.uniform(-1, 1))
        if generator.random() < 0.5:
            wave = add_noise(wave, generator.uniform(*self.snr), generator)
        if generator.random() < 0.5:
            wave = change_gain(wave, self.gain * generator.uniform(-1, 1))
        return wave

    def mel(self, mel: Tensor, generator: torch.Generator) -> Tensor:
        """Return a log-mel [channels, frames] with its quietest value in some channels and frames.

        SpecAugment (Park et al. 2019) for one clip without its padding. Zero, by which other
        recognisers' features are masked, is loud in Whisper's log-mel. The generator is on the CPU.
        """
        masked, quiet = mel.clone(), mel.amin()
        for start, stop in self._spans(mel.shape[0], self.channels, generator):
            masked[start:stop] = quiet
        for start, stop in self._spans(mel.shape[1], self.frames, generator):
            masked[:, start:stop] = quiet
        return masked

    def _spans(
        self, size: int, share: float, generator: torch.Generator
    ) -> Iterator[tuple[int, int]]:
        """Yield first and one past the last of what each mask hides."""
        for _ in range(self.masks):
            width = _below(int(size * share) + 1, generator)
            start = _below(size - width + 1, generator)
            yield start, start + width


def crop(wave: Samples, samples: int, generator: np.random.Generator) -> Samples:
    """Return a stretch of so many samples from anywhere in the clip, or all of a shorter one."""
    start = generator.integers(max(len(wave) - samples, 0) + 1)
    return wave[start : start + samples]


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
