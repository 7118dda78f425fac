"""Frames of clips of many lengths, one after the other without padding."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ser_generalize.encoder.silence import Silence, rows_ahead

# Scores of a head up to which a CPU keeps those of bf16 attention in its cache; then two plain
# products are twice as fast as torch's fused kernel.
IN_CACHE = 500 * 500
CALL_CLIPS = 2  # clips of equal length at a time on a CPU; the scores of more leave its cache
# Rows by which clips grow: oneDNN makes code for every shape that it has not met of late, which
# takes longer than some rows more.
STEP = 8
LEAST = 1e-12  # variance; its root is far below what a store's float16 tells apart

Seen = Any  # the gains of `Silence`, a mask or, without either, None


def in_steps(count: int) -> int:
    """Return the next number of rows that is a whole number of steps."""
    return -(-count // STEP) * STEP


class Ragged:
    """Where in [rows of all clips, width] each clip's rows are, and which are frames of its sound.

    `lengths` counts each clip's rows: the first `real` are of its sound, those up to `heard` of the
    silence behind it, and attention passes over the rest, which there may be given a `silence`.
    Then the rows of frames that are run with every clip come before those of its own. A GPU attends
    and pools `padded`, all clips in one call; a CPU a few that are alike, without padding.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        heard: Sequence[int],
        real: Sequence[int],
        device: torch.device,
        padded: bool,
        silence: Silence | None = None,
    ) -> None:
        self.lengths, self.silence = list(lengths), silence
        self._ahead = rows_ahead(silence)
        self._real = list(real)
        self._kept = [min(in_steps(n), most) for n, most in zip(real, lengths, strict=True)]
        rows = torch.tensor([self._ahead + length for length in lengths])
        starts = (rows.cumsum(0) - rows + self._ahead).tolist()
        sound = [torch.arange(n) + at for at, n in zip(starts, self._kept, strict=True)]
        self._sound = torch.cat(sound).to(device)
        alike = list(_runs(zip(lengths, self._kept, strict=True), None if padded else CALL_CLIPS))
        self._rows = _Rectangle(rows, device) if padded and len(alike) > 1 else None
        self._frames = _Rectangle(torch.tensor(self._kept), device) if padded else None
        self._inside = (torch.arange(max(self._kept)) < torch.tensor(real)[:, None]).to(device)
        if self._rows:
            alike = [(len(lengths), max(lengths), max(self._kept))]
        frames = torch.tensor(heard, device=device).split([clips for clips, *_ in alike])
        self._groups = [
            _Group(clips, length, kept, self._seen(own, length))
            for (clips, length, kept), own in zip(alike, frames, strict=True)
        ]

    def _seen(self, heard: Tensor, own: int) -> Seen:
        """Return what attention sees of clips in `own` places, for all blocks."""
        if self.silence:
            return self.silence.gains(heard, own)
        return self._rows.inside[:, None, None] if self._rows else None

    def sound(self, hidden: Tensor) -> Tensor:
        """Return the rows of the sound alone, filled up to a whole number of steps."""
        return hidden[self._sound]

    def pool(self, sound: Tensor) -> Tensor:
        """Return mean and deviation over every clip's sound, float32 [clips, 2, width]."""
        if self._frames:
            return pool_padded(sound[self._frames.into], self._inside)
        clips = zip(sound.split(self._kept), self._real, strict=True)
        return torch.stack([_statistics(clip[:real].float()) for clip, real in clips])

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
        if self._rows and self._frames:
            found = self._attention(split[self._rows.into], block, self._groups[0], sound)
            return found[(self._frames if sound else self._rows).out]
        parts, start = [], 0
        for group in self._groups:
            end = start + group.clips * (self._ahead + group.length)
            own = split[start:end].unflatten(0, (group.clips, -1))
            parts.append(self._attention(own, block, group, sound))
            start = end
        return torch.cat(parts)

    def _attention(self, split: Tensor, block: int, group: "_Group", sound: bool) -> Tensor:
        """Let a group or its sound attend: [clips, rows, 3, heads, size] to [rows, width]."""
        rows = slice(self._ahead, self._ahead + group.kept) if sound else slice(None)
        seen, split = group.seen, split.permute(2, 0, 3, 1, 4)
        queries, pairs = split[0], split[1:]
        if self.silence is None:
            found = _attention(queries[:, :, rows], pairs[0], pairs[1], seen)
        else:
            found = self.silence.attend(block, queries, rows, pairs, seen, _attention)
        return found.transpose(1, 2).flatten(2).flatten(0, 1)


@dataclass(frozen=True)
class _Group:
    """Neighbouring clips that attend in one call, alike or with as many rows as the longest."""

    clips: int
    length: int  # rows of each, without those ahead of it
    kept: int  # rows of its sound
    seen: Seen


class _Rectangle:
    """The same rows in a rectangle, for devices on which a call costs more than some padding."""

    def __init__(self, counts: Tensor, device: torch.device) -> None:
        places = torch.arange(int(counts.max()))
        inside = places < counts[:, None]
        starts = counts.cumsum(0) - counts
        self.inside = inside.to(device)
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


def _runs(shapes: Iterable[tuple[int, int]], most: int | None) -> Iterator[tuple[int, int, int]]:
    """Yield how many neighbours are alike, `most` at a time, and their shape."""
    for shape, group in groupby(shapes):
        count = len(list(group))
        step = most or count
        yield from ((min(step, count - start), *shape) for start in range(0, count, step))
