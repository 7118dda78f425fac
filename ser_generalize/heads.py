"""What is trained on the frozen encoder: feed-forward heads over a learned sum of layers, stacked.

A stack holds one head per fold in tensors with a leading fold axis, so that many folds train as one
program (see `training`). Every random number of a fold comes from its own seed alone, whatever
trains beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ser_generalize.errors import InputError

BOTH = "both"
POOLINGS = ("mean", "std", BOTH)
FUNCTIONAL = ("functional",)  # the statistics of a store of functionals
LOGISTIC, LDA = "logistic", "lda"
LINEAR = (LOGISTIC, LDA)  # fitted at once, on all layers side by side
DEFAULT_HEAD = "128"
PAPER_HEAD = "4096,2048,1024,512"  # arXiv 2406.09933
LAYER_SCORES = "layer_scores"

Features = NDArray[np.float32]  # [clips, layers, 2 * width]
Probabilities = NDArray[np.float32]  # [clips, classes]
Parameters = dict[str, NDArray[np.float32]]


def parse_head(text: str) -> tuple[int, ...] | None:
    """Return the hidden sizes of `--head`, None for a linear one; else raise InputError."""
    if text in LINEAR:
        return None
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise InputError(
            f"unknown head {text!r}; give hidden sizes such as {DEFAULT_HEAD} or {PAPER_HEAD} "
            f"(the paper's), {LOGISTIC} or {LDA}"
        )
    return sizes


def make_features(
    embeddings: NDArray[np.float16], statistics: Sequence[str], pooling: str = BOTH
) -> Features:
    """Return what heads are trained on, [clips, layers, S W], of embeddings [clips, layers, S, W].

    `statistics` are those of the embeddings, `pooling` is which of them is taken, or both. Raises
    InputError where there is none of that name.

    Hidden states are normalised clip by clip. Functionals are not: each is of a unit of its own, so
    that the largest, a formant in Hz, would decide the scale of all others. Standardised on the
    training part, as hidden states are too, they are alike.
    """
    if pooling != BOTH:
        if pooling not in statistics:
            raise InputError(
                f"--pooling {pooling}: of every layer the embeddings hold "
                f"{' and '.join(statistics)}; use --pooling {BOTH}"
            )
        at = list(statistics).index(pooling)
        embeddings = embeddings[:, :, at : at + 1]
    if tuple(statistics) == FUNCTIONAL:
        return embeddings.astype(np.float32).reshape(len(embeddings), embeddings.shape[1], -1)
    return clip_normalised(embeddings)


def clip_normalised(embeddings: NDArray[np.float16]) -> Features:
    """Layer-norm every pooled vector by itself; [clips, layers, S, W] becomes [clips, layers, S W].

    Nothing is fitted, so the space is the same in every fold and no clip can leak into another.
    Single units of Whisper reach activations of 500; unnormalised they alone decide distances.
    """
    values = embeddings.astype(np.float32)
    values -= values.mean(axis=-1, keepdims=True)
    values /= np.maximum(values.std(axis=-1, keepdims=True), 1e-6)
    return values.reshape(len(values), values.shape[1], -1)


@dataclass(frozen=True)
class Scaler:
    """Standardisation fitted on the real clips of a training part, each tensor [layers, width]."""

    mean: Tensor
    deviation: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Return standardised features, same shape."""
        return (features - self.mean) / self.deviation


def fit_scaler(features: Tensor, rows: Tensor) -> Scaler:
    """Fit mean and deviation of every feature over some rows; one that never varies is unscaled.

    `features` [clips, layers, width] are read in blocks: the rows are never copied all at once.
    """
    blocks = rows.split(512)
    total = torch.zeros(features.shape[1:], dtype=torch.float64, device=features.device)
    for block in blocks:
        total += features[block].sum(0, dtype=torch.float64)
    mean = (total / len(rows)).float()
    squares = torch.zeros_like(total)
    low, high = torch.full_like(mean, torch.inf), torch.full_like(mean, -torch.inf)
    for block in blocks:
        values = features[block]
        squares += (values - mean).square_().sum(0, dtype=torch.float64)
        low, high = torch.minimum(low, values.amin(0)), torch.maximum(high, values.amax(0))
    # The deviation of a constant is not 0 but rounding: many equal numbers do not sum exactly.
    constant = high - low < 1e-6
    deviation = (squares / len(rows)).sqrt_().float()
    return Scaler(mean, torch.where(constant, torch.ones_like(deviation), deviation))


class HeadStack:
    """Heads of one shape: a softmax-weighted sum over layers, then linear layers with ReLU.

    `tensors` holds `layer_scores` [heads, layers] and, layer by layer, `linear.{i}.weight`
    [heads, inputs, outputs] and `linear.{i}.bias` [heads, 1, outputs].
    """

    def __init__(
        self, layers: int, sizes: Sequence[int], seeds: Sequence[int], device: torch.device
    ) -> None:
        """`sizes` are the width of the inputs, the hidden sizes and the number of classes."""
        self.sizes, self.seeds = tuple(sizes), torch.tensor(seeds, device=device)
        self.tensors = {LAYER_SCORES: torch.zeros(len(seeds), layers, device=device)}
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        for index, (inputs, outputs) in enumerate(pairwise(sizes)):
            weights = torch.empty(len(seeds), inputs, outputs, device=device)
            for weight, generator in zip(weights, generators, strict=True):
                drawn = torch.empty(outputs, inputs)  # as torch.nn.Linear does, on any device
                weight.copy_(nn.init.kaiming_uniform_(drawn, a=5**0.5, generator=generator).T)
            self.tensors[f"linear.{index}.weight"] = weights
            biases = torch.zeros(len(seeds), 1, outputs, device=device)
            self.tensors[f"linear.{index}.bias"] = biases

    def parameters(self, head: int) -> Parameters:
        """Return the arrays of one head, named and shaped as in a `torch.nn` head."""
        arrays = {name: tensor[head].cpu().numpy() for name, tensor in self.tensors.items()}
        return {
            name: array[0] if name.endswith("bias") else np.ascontiguousarray(array.T)
            for name, array in arrays.items()
        }


def logits(tensors: dict[str, Tensor], inputs: Tensor, dropout: "Dropout | None" = None) -> Tensor:
    """Return logits [heads, clips, classes] of standardised inputs [heads, layers, clips, width].

    `tensors` are those of a HeadStack.
    """
    weights = tensors[LAYER_SCORES].softmax(dim=1)
    heads, layers, clips, width = inputs.shape
    hidden = torch.bmm(weights[:, None], inputs.view(heads, layers, -1)).view(heads, clips, width)
    count = len(tensors) // 2
    for index in range(count):
        if dropout is not None:
            hidden = dropout(index, hidden)
        weight, bias = tensors[f"linear.{index}.weight"], tensors[f"linear.{index}.bias"]
        hidden = torch.baddbmm(bias, hidden, weight)
        if index < count - 1:
            hidden = functional.relu(hidden)
    return hidden


class Dropout:
    """Drop every unit with probability 1/2, by one random bit each from the head's own stream.

    The bits are SplitMix64 (Steele, Lea and Flood 2014) of the seed and a counter. Without state,
    they are the same on every device and in any company; torch's generators take ten times longer.
    """

    def __init__(self, seeds: Tensor, steps: Tensor, sizes: Sequence[int], clips: int) -> None:
        """`seeds` and `steps` [heads]: whose stream, and where in it; `clips` are those of a batch.

        `sizes` are the widths of the layers' inputs.
        """
        words = [-(-clips * size // 64) for size in sizes]
        self._seeds, self._clips = seeds, clips
        self._starts = [steps * sum(words) + sum(words[:index]) for index in range(len(words))]

    def __call__(self, layer: int, hidden: Tensor) -> Tensor:
        """Return the input of a layer, [heads, clips, size], half of it dropped, half doubled."""
        heads, clips, size = hidden.shape
        bits = random_bits(self._seeds, self._starts[layer], clips * size)
        return hidden * (2 * bits).view(heads, clips, size).to(hidden.dtype)


_BYTE = tuple(range(8))


def random_bits(seeds: Tensor, starts: Tensor, count: int) -> Tensor:
    """Return random bits [heads, count], 0 or 1 (uint8), from word `starts` of each stream on."""
    position = starts[:, None] + torch.arange(1, -(-count // 64) + 1, device=seeds.device)
    words = position.mul_(_GAMMA).add_(_mix(seeds)[:, None])  # a stream's origin is no neighbour's
    octets = _mix(words).view(torch.uint8)
    bits = octets[..., None] >> torch.tensor(_BYTE, dtype=torch.uint8, device=seeds.device)
    return bits.bitwise_and_(1).view(len(seeds), -1)[:, :count]


def _mix(words: Tensor) -> Tensor:
    """SplitMix64's finaliser; torch's shift keeps the sign, so the mask makes it a logical one."""
    words = (words ^ ((words >> 30) & ((1 << 34) - 1))) * _FIRST
    words = (words ^ ((words >> 27) & ((1 << 37) - 1))) * _SECOND
    return words ^ ((words >> 31) & ((1 << 33) - 1))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)
