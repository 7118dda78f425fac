"""Whisper's log-mel on the encoder's device, only for the real length of a clip."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad
from transformers import WhisperFeatureExtractor

HOP = 160  # samples between mel frames
FFT = 400  # samples that a mel frame sees, half of them before its place
FLOOR = -10.0  # log10 of the least energy that is told from none
RANGE = 8.0  # decades below a clip's maximum


def mel_filters(mels: int) -> Tensor:
    """Return Whisper's filters for the real and imaginary part of every frequency, [402, mels]."""
    filters = torch.from_numpy(WhisperFeatureExtractor(feature_size=mels).mel_filters).float()
    return filters.repeat_interleave(2, dim=0)  # the sum of squares is left to the product


def sounding_frames(samples: int) -> int:
    """Return how many mel frames of a clip see a sample of it; all that follow are silence."""
    return -(-(samples + FFT // 2) // HOP)


def log_mel(waves: Sequence[NDArray[np.float32]], filters: Tensor) -> tuple[Tensor, Tensor]:
    """Return Whisper's log-mel features and what silence is in those of each clip.

    The features have shape [clips, frames, mels], as many frames as of the longest clip see a
    sample; silence has shape [clips]. Equal to WhisperFeatureExtractor where at least 200 zero
    samples follow a clip there (Radford et al. 2022, section 2.2: 25-ms windows, 10-ms hop, floor 8
    decades below the clip's own maximum).
    """
    frames = sounding_frames(max(map(len, waves)))
    padded = torch.zeros(len(waves), (frames - 1) * HOP + FFT // 2)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded_log_mel(padded.to(filters.device), filters)


def padded_log_mel(samples: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of clips [clips, samples] that zeros follow, 200 behind the last frame."""
    padded = pad(samples, (FFT // 2, 0), mode="reflect")
    window = torch.hann_window(FFT, device=filters.device)
    spectrum = torch.fft.rfft(padded.unfold(1, FFT, HOP) * window)
    power = torch.view_as_real(spectrum).flatten(-2).square_()
    mel = (power @ filters).clamp_(min=10**FLOOR).log10_()
    least = (mel.amax(dim=(1, 2)) - RANGE).clamp_(min=FLOOR)
    mel = torch.maximum(mel, least[:, None, None])
    return mel.add_(4.0).div_(4.0), least.add_(4.0).div_(4.0)
