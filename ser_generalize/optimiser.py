"""AdamW under a one-cycle schedule, for a stack of heads with different numbers of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import cos, pi

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from ser_generalize.heads import LAYER_SCORES


@dataclass(frozen=True)
class Rates:
    """Peak learning rates and weight decay."""

    linear: float
    layers: float
    decay: float


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019) for stacked tensors, whose first axis is that of heads."""

    def __init__(self, tensors: Mapping[str, Tensor], steps: Sequence[int], rates: Rates) -> None:
        """`steps` are those of the whole training, the most first: equal ones share a call."""
        self._segments: list[_Segment] = []
        for total, members in groupby(steps):
            start = self._segments[-1].stop if self._segments else 0
            stop = start + len(list(members))
            part = {name: tensor[start:stop] for name, tensor in tensors.items()}
            self._segments.append(_Segment(start, stop, total, part, rates))

    def step(self, gradients: Mapping[str, Tensor], active: int) -> None:
        """Step the first `active` heads; heads with equally many steps are active together."""
        for segment in self._segments:
            if segment.start < active:
                cut = slice(segment.start, segment.stop)
                segment.step({name: one[cut] for name, one in gradients.items()})


class _Segment:
    """The heads from `start` to `stop`, which have the same number of steps."""

    def __init__(
        self, start: int, stop: int, total: int, tensors: dict[str, Tensor], rates: Rates
    ) -> None:
        self.start, self.stop, self._total, self._done = start, stop, total, 0
        self._tensors = tensors
        self._moments = {
            name: (torch.zeros_like(t), torch.zeros_like(t), torch.zeros((), device=t.device))
            for name, t in tensors.items()
        }
        linear = [name for name in tensors if name != LAYER_SCORES]
        self._groups = [
            (linear, rates.linear, rates.decay),
            ([LAYER_SCORES], rates.layers, 0.0),
        ]

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        share, momentum = one_cycle(self._done, self._total)
        for names, peak, decay in self._groups:
            means, squares, steps = zip(*(self._moments[name] for name in names), strict=True)
            adamw(
                [self._tensors[name] for name in names],
                [gradients[name].contiguous() for name in names],  # the fused kernel takes it so
                list(means),
                list(squares),
                [],
                list(steps),
                fused=True,
                amsgrad=False,
                beta1=momentum,
                beta2=0.999,
                lr=share * peak,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )
        self._done += 1


def one_cycle(step: int, total: int) -> tuple[float, float]:
    """Return the share of the peak learning rate and beta1, as torch's OneCycleLR by default.

    Smith and Topin 2018: 30 % of the steps up from 1/25, the rest down to 1/250,000, by cosines.
    """
    top = 0.3 * total - 1
    if step <= top:
        return _cosine(1 / 25, 1, step / top), _cosine(0.95, 0.85, step / top)
    fall = (step - top) / (total - 1 - top)
    return _cosine(1, 1 / 25e4, fall), _cosine(0.85, 0.95, fall)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + cos(pi * share))
