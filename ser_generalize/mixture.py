"""Mixtures: what a resampled training part is, row by row, and how an epoch draws from it.

Nothing synthetic is stored: a row names one or two real clips and a weight, so it means the same in
every layer of an encoder and says where it comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHUFFLED, BALANCED, MIXUP = "shuffled", "balanced", "mixup"
MIXUP_ALPHA = 0.2  # of its beta distribution (Zhang et al. 2018)

Labels = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """Resampled rows: row r is (1 - weight[r]) * first[r] + weight[r] * second[r].

    `first` and `second` are positions of real clips, of class `label` and `second_label`; a row
    that is a real clip has weight 0. `batches` says how an epoch draws from the rows. `copies` says
    how many rows further degraded copies of all clips lie; both of a row are heard in the same one.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]
    label: Labels
    second_label: Labels
    batches: str = SHUFFLED
    copies: tuple[int, ...] = ()

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the resampled rows of any features of the clips, shape [rows, ...]."""
        if not self.weight.any():  # as it mostly is: the second half would be for nothing
            return values[self.first]
        weight = self.weight.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - weight) * values[self.first] + weight * values[self.second]

    def target(self, classes: int) -> NDArray[np.float32]:
        """Return the share of every class in every row, shape [rows, classes]."""
        identity = np.eye(classes, dtype=np.float32)
        weight = self.weight[:, None]
        return (1 - weight) * identity[self.label] + weight * identity[self.second_label]

    def take(self, rows: NDArray[Any]) -> "Mixture":
        """Return some rows, by their numbers in any order or by a mask."""
        return replace(
            self,
            first=self.first[rows],
            second=self.second[rows],
            weight=self.weight[rows],
            label=self.label[rows],
            second_label=self.second_label[rows],
        )

    def epoch(self, generator: np.random.Generator) -> "Mixture":
        """Return as many rows as there are, in the order in which an epoch trains on them.

        Where there are copies, every row is heard in one of them with probability 1/2.
        """
        drawn = self._drawn(generator)
        if not self.copies:
            return drawn
        rows = len(self.label)
        return drawn._moved(generator.choice(self.copies, rows) * generator.integers(2, size=rows))

    def in_all_copies(self) -> tuple["Mixture", NDArray[np.float64] | None]:
        """Return all rows as they are and in every copy, and how much each counts.

        That is what epochs draw on average; without copies all count alike, which is None.
        """
        if not self.copies:
            return self, None
        rows, copies = len(self.label), len(self.copies)
        heard = [self, *(self._moved(np.full(rows, further)) for further in self.copies)]
        return joined(heard), np.repeat([1 / 2, *[1 / 2 / copies] * copies], rows)

    def _drawn(self, generator: np.random.Generator) -> "Mixture":
        if self.batches == BALANCED:
            return self.take(_balanced_order(self.label, generator))
        drawn = self.take(generator.permutation(len(self.label)))
        if self.batches != MIXUP:
            return drawn
        partner = self.take(generator.permutation(len(self.label)))
        weight = generator.beta(MIXUP_ALPHA, MIXUP_ALPHA, len(self.label)).astype(np.float32)
        return replace(drawn, second=partner.first, second_label=partner.label, weight=weight)

    def _moved(self, further: Rows) -> "Mixture":
        return replace(self, first=self.first + further, second=self.second + further)


def joined(mixtures: Sequence[Mixture]) -> Mixture:
    """Return the rows of several mixtures as one, without how epochs draw from them."""
    return Mixture(
        np.concatenate([one.first for one in mixtures]),
        np.concatenate([one.second for one in mixtures]),
        np.concatenate([one.weight for one in mixtures]),
        np.concatenate([one.label for one in mixtures]),
        np.concatenate([one.second_label for one in mixtures]),
    )


def balanced_pairs(labels: Labels, pairs: int, generator: np.random.Generator) -> Rows:
    """Return pairs of clips of one class, [pairs, 2], of which every K are of all K classes.

    The two are one clip only where their class has no other. A class is gone through before any of
    its clips comes again, but for one that would meet itself.
    """
    classes = np.unique(labels)
    rounds = -(-pairs // len(classes))
    drawn = [_pairs_within(np.flatnonzero(labels == name), rounds, generator) for name in classes]
    order = generator.permuted(np.tile(np.arange(len(classes)), (rounds, 1)), axis=1)
    found = np.stack(drawn, axis=1)[np.arange(rounds)[:, None], order]
    return found.reshape(-1, 2)[:pairs]


def _pairs_within(rows: Rows, count: int, generator: np.random.Generator) -> Rows:
    cycles = -(-2 * count // len(rows))
    drawn = np.concatenate([generator.permutation(rows) for _ in range(cycles)])[: 2 * count]
    pairs = drawn.reshape(-1, 2)
    same = pairs[:, 0] == pairs[:, 1]  # the last of one cycle and the first of the next
    if len(rows) > 1:
        places = np.searchsorted(rows, pairs[same, 1])
        pairs[same, 1] = rows[(places + 1) % len(rows)]
    return pairs


def _balanced_order(labels: Labels, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return an order in which every run of K clips has one of each of the K classes.

    A class is gone through before any of its clips comes again: small ones are repeated, of large
    ones an epoch sees a part.
    """
    classes = np.unique(labels)
    needed = -(-len(labels) // len(classes))
    rows = [np.flatnonzero(labels == name) for name in classes]
    drawn = [
        np.concatenate([generator.permutation(own) for _ in range(-(-needed // len(own)))])[:needed]
        for own in rows
    ]
    # Which class comes first changes from run to run, or the cut at the end would favour some.
    return generator.permuted(np.stack(drawn, axis=1), axis=1).reshape(-1)[: len(labels)]
