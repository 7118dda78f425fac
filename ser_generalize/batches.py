"""The batches of an epoch, for many heads at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_generalize.mixture import Labels, Mixture


@dataclass(frozen=True)
class Batch:
    """Clips [heads, clips] to mix, their classes [heads, clips, classes], their share of the loss.

    `second` and `weight` are None where nothing is mixed; what pads a batch has no share.
    """

    first: Tensor
    second: Tensor | None
    weight: Tensor | None
    target: Tensor
    share: Tensor


class Batches:
    """The batches of an epoch of every head, those with the most clips first."""

    def __init__(
        self,
        drawn: Sequence[Mixture],
        size: int,
        classes: int,
        weighted: bool,
        device: torch.device,
    ) -> None:
        """`drawn` are the rows of every head in the order of the epoch; `weighted`: by class."""
        self._size, self._device = size, device
        mixed = any(one.weight.any() for one in drawn)
        self._first = self._stack([one.first for one in drawn])
        self._second = self._stack([one.second for one in drawn]) if mixed else None
        self._weight = self._stack([one.weight for one in drawn]) if mixed else None
        targets = [one.target(classes) for one in drawn]
        self._target = self._stack(targets)
        counts = [
            target @ class_weights(one.label, classes) if weighted else np.ones(len(target))
            for one, target in zip(drawn, targets, strict=True)
        ]
        self._share = self._stack([self._shares(count) for count in counts])

    def at(self, step: int, heads: int) -> Batch:
        """Return a batch of the first heads."""
        clips = slice(step * self._size, (step + 1) * self._size)

        def cut(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[:heads, clips]

        first, target, share = (
            values[:heads, clips] for values in (self._first, self._target, self._share)
        )
        return Batch(first, cut(self._second), cut(self._weight), target, share)

    def _shares(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Return the share of every clip in the mean of its batch."""
        starts = np.arange(0, len(counts), self._size)
        total = np.add.reduceat(counts, starts)
        return (counts / np.repeat(total, self._size)[: len(counts)]).astype(np.float32)

    def _stack(self, parts: Sequence[NDArray[Any]]) -> Tensor:
        clips = -(-max(len(part) for part in parts) // self._size) * self._size
        padded = np.zeros((len(parts), clips, *parts[0].shape[1:]), dtype=parts[0].dtype)
        for one, part in zip(padded, parts, strict=True):
            one[: len(part)] = part
        return torch.from_numpy(padded).to(self._device)


def class_weights(labels: Labels, classes: int) -> NDArray[np.float32]:
    """Return clips / (classes present * clips of the class), as scikit-learn's "balanced"."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
