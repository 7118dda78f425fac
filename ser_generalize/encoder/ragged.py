"""Frames of clips of many lengths, one after the other without padding."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ser_generalize.encoder.silence import Silence

# Scores of a head up to which a CPU keeps those of bf16 attention in its cache; then two plain
# products are twice as fast as torch's fused kernel.
IN_CACHE = 500 * 500
LEAST = 1e-12  # variance; its root is far below what a store's float16 tells apart


class Ragged:
    """Where in [rows of all clips, width] each clip's rows are, and which are frames of its sound.

    `lengths` counts each clip's frames; the first `real` of them are of its sound, the rest of the
    silence behind it. Given a `silence`, the rows of frames that are run with every clip come
    before those of its own. A GPU attends and pools `padded`, all clips in one call; a CPU clip by
    clip, without padding.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        real: Sequence[int],
        device: torch.device,
        padded: bool,
        silence: Silence | None = None,
    ) -> None:
        self.lengths, self.real, self.silence = list(lengths), list(real), silence
        self._ahead = len(silence.places) if silence else 0
        self._alike = list(_runs(zip(lengths, real, strict=True)))
        self._gained: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        rows = torch.tensor([self._ahead + length for length in lengths])
        starts = rows.cumsum(0) - rows + self._ahead
        pairs = zip(starts.tolist(), real, strict=True)
        self._sound = torch.cat([torch.arange(n) + start for start, n in pairs]).to(device)
        self._rows = _Rectangle(rows, device) if padded else None
        self._frames = _Rectangle(torch.tensor(real), device) if padded else None

    def sound(self, hidden: Tensor) -> Tensor:
        """Return the rows of the sound alone."""
        return hidden[self._sound]

    def pool(self, sound: Tensor) -> Tensor:
        """Return mean and deviation over every clip's sound, float32 [clips, 2, width]."""
        if self._frames:
            return pool_padded(sound[self._frames.into], self._frames.inside)
        return torch.stack([_statistics(clip.float()) for clip in sound.split(self.real)])

    def surrounded(self, own: Tensor, silent: Tensor) -> Tensor:
        """Put each clip's silent frames [clips, places, width] before its own frames."""
        return torch.cat(
            [rows for pair in zip(silent, own.split(self.lengths), strict=True) for rows in pair]
        )

    def attend(self, stacked: Tensor, heads: int, block: int, sound: bool = False) -> Tensor:
        """Let every row attend to its clip, or those of its `sound` alone; return these rows.

        `stacked` [rows, 3 width] are queries, which come scaled, keys and values.
        """
        split = stacked.unflatten(-1, (3, heads, -1))
        if self._rows and len(self._alike) > 1:
            found = self._attention(split[self._rows.into], block, slice(None), self._rows)
            return self.sound(found[self._rows.out]) if sound else found[self._rows.out]
        rows, parts, start = slice(None), [], 0
        for length, real, clips in self._alike:
            end = start + clips * (self._ahead + length)
            if sound:
                rows = slice(self._ahead, self._ahead + real)
            parts.append(self._attention(split[start:end].unflatten(0, (clips, -1)), block, rows))
            start = end
        return torch.cat(parts)

    def _attention(
        self, split: Tensor, block: int, rows: slice, rectangle: "_Rectangle | None" = None
    ) -> Tensor:
        """Let some rows of clips attend: [clips, rows, 3, heads, size] to [rows, width]."""
        split = split.permute(2, 0, 3, 1, 4)
        queries, pairs = split[0], split[1:]
        if self.silence is None:
            inside = rectangle.inside[:, None, None] if rectangle else None
            found = _attention(queries[:, :, rows], pairs[0], pairs[1], inside)
        else:
            gains = self._gains(split.shape[3] - self._ahead, rectangle)
            found = self.silence.attend(block, queries, rows, pairs, gains, _attention)
        return found.transpose(1, 2).flatten(2).flatten(0, 1)

    def _gains(self, own: int, rectangle: "_Rectangle | None") -> tuple[Tensor, Tensor]:
        """Return the gains of clips of this length, or of all their lengths: for all blocks."""
        assert self.silence is not None
        clips = len(rectangle.counts) if rectangle else 1
        if (clips, own) not in self._gained:
            if rectangle:
                frames = rectangle.counts - self._ahead
            else:
                frames = torch.tensor([own], device=self._sound.device)
            self._gained[clips, own] = self.silence.gains(frames, own)
        return self._gained[clips, own]


class _Rectangle:
    """The same rows in a rectangle, for devices on which a call costs more than some padding."""

    def __init__(self, counts: Tensor, device: torch.device) -> None:
        places = torch.arange(int(counts.max()))
        inside = places < counts[:, None]
        starts = counts.cumsum(0) - counts
        self.counts, self.inside = counts.to(device), inside.to(device)
        self.into = torch.where(inside, starts[:, None] + places, 0).to(device)
        self.out = inside.flatten().nonzero()[:, 0].to(device)


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


def _attention(queries: Tensor, keys: Tensor, values: Tensor, gain: Tensor | None) -> Tensor:
    """Attend, [clips, heads, rows, size]; scores gain what is given, or are left out by a mask."""
    scores = queries.shape[2] * keys.shape[2]
    on_cpu = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    if on_cpu and scores <= IN_CACHE:
        found = queries @ keys.mT
        return (found if gain is None else found.add_(gain)).softmax(dim=-1) @ values
    return scaled_dot_product_attention(queries, keys, values, attn_mask=gain, scale=1.0)


def _statistics(frames: Tensor) -> Tensor:
    mean = frames.mean(dim=0)
    return torch.stack([mean, (frames - mean).square_().mean(dim=0).sqrt_()])


def _runs(shapes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield what neighbours have alike, and how many they are."""
    for shape, group in groupby(shapes):
        yield (*shape, len(list(group)))
