"""What is trained on the frozen encoder: a feed-forward head over a learned sum of layers.

A head and its training are deterministic given the seed, on any number of processes: every random
number comes from the head's own generator, and a fold is trained by one thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from ser_generalize.errors import InputError
from ser_generalize.resampling import Mixture

LOGISTIC = "logistic"
DEFAULT_HEAD = "128"
PAPER_HEAD = "4096,2048,1024,512"  # arXiv 2406.09933

# Chosen by leaving one speaker out among RAVDESS actors 01-06 and EmoDB speakers 03 08 09 10 11,
# see the README; no other speaker was looked at.
EPOCHS = 60
BATCH = 64
LEARNING_RATE = 1e-3
LAYER_LEARNING_RATE = 3e-2  # a handful of layer weights has to move much further than the rest
WEIGHT_DECAY = 1e-2
DROPOUT = 0.5
LABEL_SMOOTHING = 0.1
LOGISTIC_C = 0.003
LOGISTIC_STEPS = 1000

RECIPE = {
    "epochs": EPOCHS,
    "batch": BATCH,
    "learning_rate": LEARNING_RATE,
    "layer_learning_rate": LAYER_LEARNING_RATE,
    "weight_decay": WEIGHT_DECAY,
    "dropout": DROPOUT,
    "label_smoothing": LABEL_SMOOTHING,
    "logistic_c": LOGISTIC_C,
}  # part of a run's identity: another recipe is another run

Features = NDArray[np.float32]  # [clips, layers, 2 * width]
Probabilities = NDArray[np.float32]  # [clips, classes]


def parse_head(text: str) -> tuple[int, ...] | None:
    """Return the hidden sizes of `--head`, None for logistic regression; else raise InputError."""
    if text == LOGISTIC:
        return None
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise InputError(
            f"unknown head {text!r}; give hidden sizes such as {DEFAULT_HEAD} or {PAPER_HEAD} "
            f"(the paper's), or {LOGISTIC}"
        )
    return sizes


def clip_normalised(embeddings: NDArray[np.float16]) -> Features:
    """Layer-norm every pooled vector by itself; [clips, layers, 2, W] becomes [clips, layers, 2 W].

    Nothing is fitted, so the space is the same in every fold and no clip can leak into another.
    Single units of Whisper reach activations of 500; unnormalised they alone decide distances.
    """
    values = embeddings.astype(np.float32)
    values -= values.mean(axis=-1, keepdims=True)
    values /= np.maximum(values.std(axis=-1, keepdims=True), 1e-6)
    return values.reshape(len(values), values.shape[1], -1)


@dataclass(frozen=True)
class Scaler:
    """Standardisation fitted on the real clips of a training part."""

    mean: Features
    deviation: Features

    def __call__(self, features: Features) -> Features:
        """Return standardised features, same shape."""
        return (features - self.mean) / self.deviation


def fit_scaler(features: Features) -> Scaler:
    """Fit mean and deviation of every feature; a feature that never varies is left unscaled."""
    # The deviation of a constant is not 0 but rounding: many equal numbers do not sum exactly.
    constant = np.ptp(features, axis=0) < 1e-6
    deviation = np.where(constant, np.float32(1), features.std(axis=0))
    return Scaler(features.mean(axis=0), deviation)


class Head(nn.Module):
    """A learned softmax-weighted sum over layers, then fully connected layers with ReLU."""

    def __init__(
        self, layers: int, width: int, hidden: tuple[int, ...], classes: int, seed: int
    ) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.layer_scores = nn.Parameter(torch.zeros(layers))
        sizes = (width, *hidden, classes)
        self.linears = nn.ModuleList(self._linear(*pair) for pair in pairwise(sizes))

    def _linear(self, inputs: int, outputs: int) -> nn.Linear:
        """Return a layer initialised as torch does, but from the head's own generator."""
        linear: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        nn.init.kaiming_uniform_(linear.weight, a=5**0.5, generator=self.generator)
        nn.init.zeros_(linear.bias)
        return linear

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [clips, classes] of standardised features [clips, layers, width]."""
        weights = self.layer_scores.softmax(dim=0)
        hidden = torch.einsum("l,clw->cw", weights, features)
        for linear in self.linears[:-1]:
            hidden = functional.relu(linear(self._dropout(hidden)))
        return self.linears[-1](self._dropout(hidden))

    def _dropout(self, hidden: Tensor) -> Tensor:
        """Drop by the head's own generator: torch's own dropout draws from one that folds share."""
        if not self.training:
            return hidden
        kept = torch.rand(hidden.shape, generator=self.generator) >= DROPOUT
        return hidden * kept.to(hidden.device) / (1 - DROPOUT)


def train_and_predict(
    hidden: tuple[int, ...] | None,
    train: Features,
    mixture: Mixture,
    test: Features,
    classes: int,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[], object],
) -> Probabilities:
    """Fit the scaler and the head on a resampled training part; return the test probabilities.

    `train` and `test` are clip-normalised features, `mixture` refers to the rows of `train`,
    `hidden` None is a logistic regression, and `on_epoch` is called EPOCHS times. Of a training
    part of a single class nothing can be learnt but that class.
    """
    if len(learnt := np.unique(mixture.label)) < 2:
        return _constant(learnt, len(test), classes, on_epoch)
    scaler = fit_scaler(train)
    train, test = scaler(train), scaler(test)
    if hidden is None:
        return _logistic(train, mixture, test, classes, on_epoch)
    head = Head(train.shape[1], train.shape[2], hidden, classes, seed).to(device)
    _fit(head, torch.from_numpy(train).to(device), mixture, on_epoch)
    with torch.inference_mode():
        logits = head.eval()(torch.from_numpy(test).to(device))
    return logits.softmax(dim=1).cpu().numpy()


def _constant(
    learnt: NDArray[np.int64], clips: int, classes: int, on_epoch: Callable[[], object]
) -> Probabilities:
    for _ in range(EPOCHS):
        on_epoch()
    probabilities = np.zeros((clips, classes), dtype=np.float32)
    probabilities[:, learnt] = 1
    return probabilities


def _fit(head: Head, train: Tensor, mixture: Mixture, on_epoch: Callable[[], object]) -> None:
    rows = [torch.from_numpy(part) for part in (mixture.first, mixture.second, mixture.weight)]
    first, second, weight = (part.to(train.device) for part in rows)
    label = torch.from_numpy(mixture.label).to(train.device)
    optimiser, schedule = _optimiser(head, steps=EPOCHS * -(-len(label) // BATCH))
    head.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(label), generator=head.generator).to(train.device)
        for batch in order.split(BATCH):
            # Synthetic points are made here, batch by batch: they are never stored.
            clips = torch.lerp(
                train[first[batch]], train[second[batch]], weight[batch][:, None, None]
            )
            loss = functional.cross_entropy(
                head(clips), label[batch], label_smoothing=LABEL_SMOOTHING
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        on_epoch()


def _optimiser(
    head: Head, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    groups = [
        {"params": list(head.linears.parameters()), "weight_decay": WEIGHT_DECAY},
        {"params": [head.layer_scores], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    peaks = [LEARNING_RATE, LAYER_LEARNING_RATE]
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=steps)


def _logistic(
    train: Features,
    mixture: Mixture,
    test: Features,
    classes: int,
    on_epoch: Callable[[], object],
) -> Probabilities:
    """Multinomial logistic regression on all layers side by side; absent classes get 0."""
    model = LogisticRegression(C=LOGISTIC_C, max_iter=LOGISTIC_STEPS)
    model.fit(mixture.of(train).reshape(len(mixture.label), -1), mixture.label)
    for _ in range(EPOCHS):
        on_epoch()
    probabilities = np.zeros((len(test), classes), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(test.reshape(len(test), -1))
    return probabilities
