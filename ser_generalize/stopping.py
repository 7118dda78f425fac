"""What validation speakers decide: at which epoch a head was best."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

PATIENCE = 20  # epochs without a lower validation loss; the schedule warms up for 18

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]


def cross_entropy(logits: Logits, labels: Labels, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood of true classes [n] under logits [n, classes]."""
    chances = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-chances[np.arange(len(labels)), labels].mean())


class EarlyStopping:
    """Keeps the tensors of every head at the epoch at which its validation loss was lowest."""

    def __init__(self, tensors: Mapping[str, Tensor], labels: Sequence[Labels]) -> None:
        """`labels` are those of every head's validation clips; a head without any never stops."""
        self._labels = labels
        self._best = {name: tensor.clone() for name, tensor in tensors.items()}
        self.loss = np.full(len(labels), np.inf)
        self.epochs = np.zeros(len(labels), dtype=np.int64)  # how many gave the best tensors

    def update(self, epoch: int, tensors: Mapping[str, Tensor], logits: Sequence[Logits]) -> None:
        """Look at the heads after an epoch, the first being 1."""
        pairs = zip(logits, self._labels, strict=True)
        loss = [cross_entropy(*pair) if len(pair[1]) else -epoch for pair in pairs]
        better = np.flatnonzero(loss < self.loss)
        self.loss[better], self.epochs[better] = np.array(loss)[better], epoch
        for name, tensor in tensors.items():
            rows = torch.from_numpy(better).to(tensor.device)
            self._best[name][rows] = tensor[rows]

    def over(self, epoch: int) -> bool:
        """Return whether no head has become better for a while."""
        return bool((epoch - self.epochs >= PATIENCE).all())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the best tensors back."""
        for name, tensor in tensors.items():
            tensor.copy_(self._best[name])
