"""Frames of clips of many lengths, one after the other without padding."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# Frames of a clip up to which a CPU keeps the scores of bf16 attention in its cache; then two plain
# products are twice as fast as torch's fused kernel.
IN_CACHE = 500
LEAST = 1e-12  # variance; its root is far below what a store's float16 tells apart


class Ragged:
    """Where in [frames of all clips, width] each clip's frames are, and how many of them are real.

    `lengths` counts the frames of every clip that the others of it see; the first `real` of them
    are of its sound, the rest of the silence behind it. A GPU attends and pools `padded`, all clips
    in one call; a CPU clip by clip, without padding.
    """

    def __init__(
        self, lengths: Sequence[int], real: Sequence[int], device: torch.device, padded: bool
    ) -> None:
        self.lengths, self.real = list(lengths), list(real)
        self._equal = list(_runs(lengths))
        self._padded = _Padding(lengths, real, device) if padded else None

    def attend(self, stacked: Tensor, heads: int) -> Tensor:
        """Let every frame attend to its clip: queries, keys and values [frames, 3 width] in."""
        split = stacked.unflatten(-1, (3, heads, -1))
        if self._padded and len(self._equal) > 1:
            return self._padded.attend(split)
        return torch.cat([_attention(split[run].unflatten(0, (n, -1))) for run, n in self._equal])

    def pool(self, hidden: Tensor) -> Tensor:
        """Return mean and deviation over every clip's real frames, float32 [clips, 2, width]."""
        if self._padded:
            return pool_padded(hidden[self._padded.into], self._padded.sounding)
        clips = zip(hidden.split(self.lengths), self.real, strict=True)
        return torch.stack([_statistics(clip[:count].float()) for clip, count in clips])


class _Padding:
    """The same frames in a rectangle, for devices on which a call costs more than some padding."""

    def __init__(
        self, lengths: Sequence[int], sounding: Sequence[int], device: torch.device
    ) -> None:
        counts = torch.tensor(lengths)
        places = torch.arange(int(counts.max()))
        real = places < counts[:, None]
        starts = counts.cumsum(0) - counts
        self.sounding = (places < torch.tensor(sounding)[:, None]).to(device)
        self.mask = real[:, None, None, :].to(device)
        self.into = torch.where(real, starts[:, None] + places, 0).to(device)
        self.out = real.flatten().nonzero()[:, 0].to(device)

    def attend(self, split: Tensor) -> Tensor:
        """Attend in the rectangle, where no frame looks at the padding."""
        return _attention(split[self.into], self.mask)[self.out]


def pool_padded(rows: Tensor, inside: Tensor) -> Tensor:
    """Return mean and deviation, float32 [clips, 2, width], of [clips, places, width] where inside.

    `inside` has shape [clips, places].
    """
    rows, inside = rows.float(), inside.unsqueeze(-1)
    count = inside.sum(dim=1, keepdim=True)
    mean = (rows * inside).sum(dim=1, keepdim=True) / count
    variance = ((rows - mean).square_() * inside).sum(dim=1, keepdim=True) / count
    # The slope of a root at 0 is infinite: a clip of one frame would make all gradients NaN.
    return torch.cat([mean, variance.clamp(min=LEAST).sqrt()], dim=1)


def _attention(split: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend within clips of equal length: [clips, frames, 3, heads, size] to [rows, width].

    The queries come scaled.
    """
    queries, keys, values = split.permute(2, 0, 3, 1, 4)
    plain = mask is None and split.device.type == "cpu" and split.shape[1] <= IN_CACHE
    if plain and split.dtype == torch.bfloat16:
        found = (queries @ keys.mT).softmax(dim=-1) @ values
    else:
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)
    return found.transpose(1, 2).flatten(2).flatten(0, 1)


def _statistics(frames: Tensor) -> Tensor:
    mean = frames.mean(dim=0)
    return torch.stack([mean, (frames - mean).square_().mean(dim=0).sqrt_()])


def _runs(lengths: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Yield the frames of neighbours of equal length together, and how many clips they are."""
    start = 0
    for length, group in groupby(lengths):
        clips = len(list(group))
        yield slice(start, start + clips * length), clips
        start += clips * length
