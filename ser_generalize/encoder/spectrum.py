"""Log-mel statistics of a clip: what an encoder hears, without the encoder, to compare with."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_generalize.encoder.functionals import CAPACITY, SETTINGS, check_settings
from ser_generalize.encoder.interface import Samples, Settings
from ser_generalize.encoder.mel import HOP, log_mel, mel_filters

LOG_MEL = "logmel"  # the encoder's name
MELS = 80
IDENTITY = f"Whisper's log-mel, {MELS} channels, mean and deviation over the frames of a clip"


@dataclass(frozen=True)
class LogMel:
    """Mean and deviation of every mel channel behind the interface of an encoder: functionals."""

    filters: Tensor = field(repr=False)  # [402, mels]
    revision: str = hashlib.sha256(IDENTITY.encode()).hexdigest()
    name: str = LOG_MEL
    settings: Settings = SETTINGS
    layers: tuple[int, ...] = (0,)
    statistics: tuple[str, ...] = ("functional",)
    width: int = 2 * MELS
    capacity: int = CAPACITY
    parameters: int = 0

    def cost(self, samples: int) -> int:
        """Return the samples themselves: there is no padding."""
        return samples

    def embed(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the mean and then the deviation of every channel, float32 [clips, 1, 1, 160]."""
        return self.pool(waves)

    @torch.inference_mode()
    def pool(self, waves: Sequence[Samples]) -> NDArray[np.float32]:
        """Return the same, one clip at a time."""
        return np.stack([self._statistics(wave).cpu().numpy() for wave in waves])[:, None, None]

    def _statistics(self, wave: Samples) -> Tensor:
        mels, _ = log_mel([wave], self.filters)
        frames = mels[0, : -(-len(wave) // HOP)]
        return torch.cat([frames.mean(0), frames.std(0, correction=0)])


def load_log_mel(settings: Settings, device: torch.device) -> LogMel:
    """Return it; raises InputError for settings of other encoders."""
    check_settings(LOG_MEL, settings)
    return LogMel(mel_filters(MELS).to(device))
