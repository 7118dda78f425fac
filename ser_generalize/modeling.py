"""A checkpoint's model: 16-kHz samples in, logits of emotions out; registers itself on import.

The log-mel, Whisper's encoder on windows as long as the clip, the layers' statistics and the head
are one module, so a checkpoint needs no preprocessing but padding. This file, `configuration`,
`mel` and `ragged` are copied beside the weights, where they need only `transformers`.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, pad, relu, scaled_dot_product_attention
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    PreTrainedModel,
    WhisperConfig,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ser_generalize.configuration import SerConfig
from ser_generalize.encoder.mel import FFT, HOP, mel_filters, padded_log_mel, sounding_frames
from ser_generalize.encoder.ragged import pool_padded

STRIDE = 320  # samples between encoder frames
FRAME_RATE = 50  # encoder frames a second
TOGETHER = 8  # windows of up to 30 s that are encoded at a time


class SerHead(nn.Module):
    """A softmax-weighted sum over standardised layers, then linear layers with ReLU."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: int, sizes: list[int]) -> None:
        super().__init__()
        self.layer_scores = nn.Parameter(torch.zeros(layers))
        self.register_buffer("mean", torch.zeros(layers, sizes[0]))
        self.register_buffer("deviation", torch.ones(layers, sizes[0]))
        self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [clips, classes] of clip-normalised features [clips, layers, width]."""
        hidden = self.summed(features)
        for layer in self.linear[:-1]:
            hidden = relu(layer(hidden))
        return self.linear[-1](hidden)

    def summed(self, features: Tensor) -> Tensor:
        """Return the weighted sum over standardised layers, [clips, width]."""
        standardised = (features - self.mean) / self.deviation
        return torch.einsum("l,clw->cw", self.layer_scores.softmax(0), standardised)


class SerForAudioClassification(PreTrainedModel):
    """Whisper's encoder, frozen or fine-tuned, and a head on what all its layers say of a clip."""

    config_class = SerConfig
    main_input_name = "input_values"
    config: SerConfig

    def __init__(self, config: SerConfig) -> None:
        super().__init__(config)
        whisper = WhisperConfig(**config.whisper)
        self.encoder = WhisperEncoder(whisper)
        sizes = [2 * whisper.d_model, *config.hidden_sizes, len(config.id2label or ())]
        self.head = SerHead(len(config.layers), sizes)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **_: object,
    ) -> SequenceClassifierOutput:
        """Return calibrated logits [clips, classes], and their loss where `labels` are given.

        `input_values` [clips, samples] are 16-kHz mono in [-1, 1], zero behind a clip's end; the
        `attention_mask` of the same shape is 1 inside the clips (None: they all are as long).
        """
        features = self.features(input_values, attention_mask).to(self.head.mean.dtype)
        logits = self.head(features) / self.config.calibration
        loss = None if labels is None else cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def features(self, samples: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the head sees, [clips, layers, 2 width]; every vector is layer-normed.

        A clip longer than the encoder's 30 s is cut into as few and as equal windows as possible.
        """
        lengths = [samples.shape[1]] * len(samples) if mask is None else mask.sum(1).tolist()
        clips = [
            clip[: int(length)].tensor_split(-(-int(length) // self._limit))
            for clip, length in zip(samples.float(), lengths, strict=True)
        ]
        windows = [window for clip in clips for window in clip]
        starts = range(0, len(windows), TOGETHER)
        parts = [self._pooled(windows[start : start + TOGETHER]) for start in starts]
        pooled = torch.cat(parts).split([len(clip) for clip in clips])
        merged = [_merge(clip, part) for clip, part in zip(clips, pooled, strict=True)]
        return _clip_normalised(torch.stack(merged))

    @property
    def _limit(self) -> int:
        return int(self.config.whisper["max_source_positions"]) * STRIDE

    def _pooled(self, windows: list[Tensor]) -> Tensor:
        """Return every layer's mean and deviation over real frames, [windows, layers, 2, width]."""
        device = windows[0].device
        real = torch.tensor([_frames(window) for window in windows], device=device)
        seen = (real + round(self.config.margin * FRAME_RATE)).clamp(max=self._limit // STRIDE)
        if self.config.window == "30s":
            seen = torch.full_like(real, self._limit // STRIDE)
        places = torch.arange(int(seen.max()), device=device)
        sounding, attended = places < real[:, None], places < seen[:, None]
        states = self._states(self._mel(windows, len(places)), attended)
        kept = [state for layer, state in enumerate(states) if layer in self.config.layers]
        return torch.stack([pool_padded(state, sounding) for state in kept], dim=1)

    def _mel(self, windows: list[Tensor], frames: int) -> Tensor:
        """Return the log-mel [windows, mels, 2 frames or 1 more]; behind a clip is silence.

        Not zeros: in a log-mel those are loud. Only the stock window of 30 s ends in them.
        """
        count = sounding_frames(max(len(window) for window in windows))
        samples = (count - 1) * HOP + FFT // 2
        padded = torch.stack([pad(window, (0, samples - len(window))) for window in windows])
        mels = int(self.config.whisper["num_mel_bins"])
        mel, silence = padded_log_mel(padded, _filters(mels, padded.device))
        after = 2 * frames + (self.config.window != "30s") - count
        behind = silence[:, None, None].expand(-1, max(after, 0), mels)
        return torch.cat([mel, behind], dim=1)[:, : count + after].mT

    def _states(self, mel: Tensor, attended: Tensor) -> Iterator[Tensor]:
        """Yield hidden states [windows, frames, width] as `transformers` numbers them."""
        encoder: Any = self.encoder  # torch knows no types of a module's parts
        frames = attended.shape[1]
        hidden = gelu(encoder.conv1(mel.to(encoder.conv1.weight.dtype)))[..., : 2 * frames]
        hidden = gelu(encoder.conv2(hidden)).mT + encoder.embed_positions.weight[:frames]
        yield hidden
        mask = attended[:, None, None, :]
        for layer in encoder.layers[: max(self.config.layers)]:
            hidden = self._block(layer, hidden, mask)
            yield encoder.layer_norm(hidden) if layer is encoder.layers[-1] else hidden

    def _block(self, layer: Any, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + _attention(layer.self_attn, layer.self_attn_layer_norm(hidden), mask)
        return hidden + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(hidden))))


@cache
def _filters(mels: int, device: torch.device) -> Tensor:
    return mel_filters(mels).to(device)


def _attention(attention: Any, hidden: Tensor, mask: Tensor) -> Tensor:
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    split = [p(hidden).unflatten(-1, (attention.num_heads, -1)) for p in projections]
    queries, keys, values = (part.transpose(1, 2) for part in split)
    found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return attention.out_proj(found.transpose(1, 2).flatten(2))


def _frames(window: Tensor) -> int:
    return -(-len(window) // STRIDE)


def _merge(windows: tuple[Tensor, ...], parts: Tensor) -> Tensor:
    """Join the statistics of a clip's windows [windows, layers, 2, width] (total variance)."""
    counts = torch.tensor([_frames(window) for window in windows], device=parts.device)
    weights = (counts / counts.sum())[:, None, None]
    means, deviations = parts.unbind(2)
    mean = (weights * means).sum(0)
    variance = (weights * (deviations.square() + (means - mean).square())).sum(0)
    return torch.stack([mean, variance.sqrt()], dim=1)


def _clip_normalised(statistics: Tensor) -> Tensor:
    """Layer-norm every pooled vector by itself: [clips, layers, 2, width] to [.., 2 width]."""
    centred = statistics - statistics.mean(-1, keepdim=True)
    return (centred / centred.std(-1, correction=0, keepdim=True).clamp(min=1e-6)).flatten(2)


AutoConfig.register(SerConfig.model_type, SerConfig, exist_ok=True)
AutoModelForAudioClassification.register(SerConfig, SerForAudioClassification, exist_ok=True)
