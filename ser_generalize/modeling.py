"""A checkpoint's model: 16-kHz samples in, logits of emotions out; registers itself on import.

The log-mel, Whisper's encoder on windows as long as the clip, the layers' statistics and the head
are one module, so a checkpoint needs no preprocessing but padding. This file, `configuration`,
`mel`, `ragged` and `silence` are copied beside the weights, where they need only `transformers`.
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

from ser_generalize.configuration import SUMMED, SerConfig
from ser_generalize.encoder.mel import FFT, HOP, mel_filters, padded_log_mel, sounding_frames
from ser_generalize.encoder.ragged import pool_padded
from ser_generalize.encoder.silence import BEHIND, EDGES, Silence, rows_ahead

STRIDE = 320  # samples between encoder frames
FRAME_RATE = 50  # encoder frames a second
BATCH_WINDOWS = 8  # windows of up to 30 s that are encoded at a time


Seen = Any  # which frames a window sees, [windows, 1, 1, frames], or the gains of `Silence`


class SerHead(nn.Module):
    """A weighted sum of standardised layers, or all side by side; then linear layers with ReLU."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, layers: int, width: int, sizes: list[int], combine: str) -> None:
        super().__init__()
        summed = combine == SUMMED
        self.layer_scores = nn.Parameter(torch.zeros(layers)) if summed else None
        self.register_buffer("mean", torch.zeros(layers, width))
        self.register_buffer("deviation", torch.ones(layers, width))
        sizes = [width if summed else layers * width, *sizes]
        self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [clips, classes] of clip-normalised features [clips, layers, width]."""
        hidden = self.combined(features)
        for layer in self.linear[:-1]:
            hidden = relu(layer(hidden))
        return self.linear[-1](hidden)

    def combined(self, features: Tensor) -> Tensor:
        """Return the weighted sum over standardised layers, [clips, width], or all of them."""
        standardised = (features - self.mean) / self.deviation
        if self.layer_scores is None:
            return standardised.flatten(1)
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
        sizes = [*config.hidden_sizes, len(config.id2label or ())]
        self.head = SerHead(len(config.layers), 2 * whisper.d_model, sizes, config.combine)
        heads, blocks = whisper.encoder_attention_heads, max(config.layers)
        size = whisper.d_model // heads
        self.silence = Silence(heads, size, blocks, **config.silence) if config.silence else None
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
        starts = range(0, len(windows), BATCH_WINDOWS)
        parts = [self._pooled(windows[start : start + BATCH_WINDOWS]) for start in starts]
        pooled = torch.cat(parts).split([len(clip) for clip in clips])
        merged = [_merge(clip, part) for clip, part in zip(clips, pooled, strict=True)]
        return _clip_normalised(torch.stack(merged))

    @property
    def _limit(self) -> int:
        return int(self.config.whisper["max_source_positions"]) * STRIDE

    def _pooled(self, windows: list[Tensor]) -> Tensor:
        """Return every layer's mean and deviation over real frames, [windows, layers, 2, width]."""
        device, limit = windows[0].device, self._limit // STRIDE
        real = torch.tensor([_frames(window) for window in windows], device=device)
        behind = BEHIND if self.silence else round(self.config.margin * FRAME_RATE)
        frames = torch.full_like(real, limit)
        if self.config.window != "30s":
            frames = (real + behind).clamp(max=limit)
        mel, silence = self._mel(windows, int(frames.max()))
        place = torch.arange(-rows_ahead(self.silence), mel.shape[2] // 2, device=device)
        sounding = (place >= 0) & (place < real[:, None])
        states = enumerate(self._states(mel, silence, frames))
        kept = [state for layer, state in states if layer in self.config.layers]
        return torch.stack([pool_padded(state, sounding) for state in kept], dim=1)

    def _mel(self, windows: list[Tensor], frames: int) -> tuple[Tensor, Tensor]:
        """Return the log-mel [windows, mels, 2 frames or 1 more] and what silence is [windows].

        Behind a clip is silence, not zeros, which are loud in a log-mel; but at the end of 30 s.
        """
        count = sounding_frames(max(len(window) for window in windows))
        samples = (count - 1) * HOP + FFT // 2
        padded = torch.stack([pad(window, (0, samples - len(window))) for window in windows])
        mels = int(self.config.whisper["num_mel_bins"])
        mel, silence = padded_log_mel(padded, _filters(mels, padded.device))
        after = 2 * frames + (frames < self._limit // STRIDE) - count
        behind = silence[:, None, None].expand(-1, max(after, 0), mels)
        return torch.cat([mel, behind], dim=1)[:, : count + after].mT, silence

    def _states(self, mel: Tensor, silence: Tensor, frames: Tensor) -> Iterator[Tensor]:
        """Yield hidden states [windows, rows, width] as `transformers` numbers them.

        Rows are the frames run with every window where silence is remembered, then its own, of
        which only the first `frames` are seen.
        """
        encoder: Any = self.encoder  # torch knows no types of a module's parts
        longest = mel.shape[2] // 2
        hidden = self._convolved(mel)[:, :longest] + encoder.embed_positions.weight[:longest]
        seen: Seen = (torch.arange(longest, device=frames.device) < frames[:, None])[:, None, None]
        if self.silence:
            edges = self._convolved(silence[:, None, None].expand(-1, mel.shape[1], 2 * EDGES))
            silent = self.silence.frames(edges[:, -2:], encoder.embed_positions.weight)
            hidden = torch.cat([silent, hidden], dim=1)
            seen = self.silence.gains(frames, longest)
        yield hidden
        for number in range(max(self.config.layers)):
            hidden = self._block(number, hidden, seen)
            last = number == len(encoder.layers) - 1
            yield encoder.layer_norm(hidden) if last else hidden

    def _convolved(self, mel: Tensor) -> Tensor:
        encoder: Any = self.encoder
        return gelu(encoder.conv2(gelu(encoder.conv1(mel.to(encoder.conv1.weight.dtype))))).mT

    def _block(self, number: int, hidden: Tensor, seen: Seen) -> Tensor:
        layer: Any = self.encoder.layers[number]
        hidden = hidden + self._attended(number, layer.self_attn_layer_norm(hidden), seen)
        return hidden + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(hidden))))

    def _attended(self, number: int, hidden: Tensor, seen: Seen) -> Tensor:
        attention: Any = self.encoder.layers[number].self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        split = [p(hidden).unflatten(-1, (attention.num_heads, -1)) for p in projections]
        queries, keys, values = (part.transpose(1, 2) for part in split)
        queries = attention.head_dim**-0.5 * queries
        if self.silence:
            pairs = torch.stack([keys, values])
            found = self.silence.attend(number, queries, slice(None), pairs, seen, _attention)
        else:
            found = _attention(queries, keys, values, seen)
        return attention.out_proj(found.transpose(1, 2).flatten(2))


@cache
def _filters(mels: int, device: torch.device) -> Tensor:
    return mel_filters(mels).to(device)


def _attention(queries: Tensor, keys: Tensor, values: Tensor, gain: Tensor) -> Tensor:
    return scaled_dot_product_attention(queries, keys, values, attn_mask=gain, scale=1.0)


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
