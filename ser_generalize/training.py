"""Many heads trained as one batched program: the folds of a cell, under one seed or several.

Every tensor has a leading axis of heads. The features lie on the device once; a head's
standardised batch is made when its turn comes. Folds with fewer steps rest while the longer ones
end an epoch, so a fold's predictions do not depend on what it is trained with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_generalize.adapt import Known, UnlabelledClips
from ser_generalize.batches import Batch, Batches
from ser_generalize.calibration import fit_temperature
from ser_generalize.errors import InputError
from ser_generalize.heads import Dropout, HeadStack, Parameters, Scaler, fit_scaler, logits
from ser_generalize.mixture import Mixture, Rows
from ser_generalize.optimiser import Optimiser, Rates
from ser_generalize.stopping import EarlyStopping, Labels, Logits

CROSS_ENTROPY, WEIGHTED, FOCAL = "ce", "weighted", "focal"
LOSSES = (CROSS_ENTROPY, WEIGHTED, FOCAL)
FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
BLOCK = 256  # clips of every head that are predicted at a time


@dataclass(frozen=True)
class Recipe:
    """How a head is trained.

    Chosen by leaving one speaker out among RAVDESS actors 01-06 and EmoDB speakers 03 08 09 10 11,
    see the README; no other speaker was looked at.
    """

    loss: str = CROSS_ENTROPY
    epochs: int = 60
    batch: int = 64
    learning_rate: float = 1e-3
    layer_learning_rate: float = 3e-2  # a handful of layer weights has to move much further
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    until: int | None = None  # the epoch to end after; the schedule is that of all `epochs`
    bf16: bool = False  # products in bfloat16; parameters and their updates stay in float32


@dataclass(frozen=True)
class Job:
    """One head to train. All rows, the mixture's too, are positions in the features."""

    name: str  # of the fold, for messages
    seed: int
    mixture: Mixture
    train: Rows  # the real clips, which the scaler is fitted on
    test: Rows
    validation: Rows  # empty: a network is trained for all epochs, and has a temperature of 1


@dataclass(frozen=True)
class Trained:
    """A trained head: the logits of its test clips [clips, classes], and how it came about."""

    logits: Logits
    temperature: float
    epochs: int
    parameters: Parameters  # of the head, and its scaler's `mean` and `deviation`


def train(
    features: Tensor,
    labels: Labels,
    jobs: Sequence[Job],
    hidden: Sequence[int],
    classes: int,
    recipe: Recipe,
    on_epoch: Callable[[], object] = lambda: None,
    unlabelled: UnlabelledClips | None = None,
) -> list[Trained]:
    """Train a head for every job, all of them together, and return them in the same order.

    `features` [clips, layers, width] are clip-normalised, on the device of training; `labels`
    [clips] are needed for validation clips only. With `unlabelled` clips every clip is standardised
    by what is known of its domain, else by the training part. Where jobs have validation clips,
    their heads are taken from the epoch of the lowest validation loss. Raises InputError, naming
    the fold, where a loss is not a number.
    """
    order = sorted(range(len(jobs)), key=lambda index: -steps_of(jobs[index], recipe))
    ordered = [jobs[index] for index in order]
    training = Training(features, ordered, hidden, classes, recipe, unlabelled)
    trained = dict(zip(order, training.run(labels, on_epoch), strict=True))
    return [trained[index] for index in range(len(jobs))]


def steps_of(job: Job, recipe: Recipe) -> int:
    """Return how many batches an epoch of a job has."""
    return -(-len(job.mixture.label) // recipe.batch)


class Training:
    """The heads of some jobs in training, those with the most steps first."""

    def __init__(
        self,
        features: Tensor,
        jobs: Sequence[Job],
        hidden: Sequence[int],
        classes: int,
        recipe: Recipe,
        unlabelled: UnlabelledClips | None = None,
    ) -> None:
        self.unlabelled = unlabelled
        self.features, self.jobs, self.classes, self.recipe = features, jobs, classes, recipe
        self.steps = [steps_of(job, recipe) for job in jobs]
        sizes = (features.shape[-1], *hidden, classes)
        seeds = [job.seed for job in jobs]
        self.stack = HeadStack(features.shape[1], sizes, seeds, features.device)
        scalers = [fit_scaler(features, self._on_device(job.train)) for job in jobs]
        self.mean = torch.stack([scaler.mean for scaler in scalers])
        self.deviation = torch.stack([scaler.deviation for scaler in scalers])
        rates = Rates(recipe.learning_rate, recipe.layer_learning_rate, recipe.weight_decay)
        totals = [steps * recipe.epochs for steps in self.steps]
        self._optimiser = Optimiser(self.stack.tensors, totals, rates)

    def run(self, labels: Labels, on_epoch: Callable[[], object]) -> list[Trained]:
        """Train, stop where validation says so, and predict the test clips."""
        stopping = self._train(labels, on_epoch)
        tests = self.predict([job.test for job in self.jobs])
        temperatures = self._temperatures(labels) if stopping else [1.0] * len(self.jobs)
        epochs = stopping.epochs.tolist() if stopping else [self.recipe.epochs] * len(self.jobs)
        return [
            Trained(logits, temperature, epoch, self.parameters(head))
            for head, (logits, temperature, epoch) in enumerate(
                zip(tests, temperatures, epochs, strict=True)
            )
        ]

    def predict(self, rows: Sequence[Rows], known: Known | None = None) -> list[Logits]:
        """Return the logits [clips, classes] of every head for its own rows.

        `known` takes the place of what the unlabelled clips say about their domains.
        """
        longest = max(len(part) for part in rows)
        padded = np.stack([np.pad(part, (0, longest - len(part))) for part in rows])
        if known is None and self.unlabelled is not None:
            known = self.unlabelled.in_scoring
        with torch.inference_mode(), self._precision():
            parts = [
                logits(self.stack.tensors, self._inputs(known, block)).float()
                for block in self._on_device(padded).split(BLOCK, dim=1)
            ]
        found = torch.cat(parts, dim=1).cpu().numpy()
        return [one[: len(part)] for one, part in zip(found, rows, strict=True)]

    def parameters(self, head: int) -> Parameters:
        """Return the arrays of one head, its scaler's included."""
        scaler = {"mean": self.mean[head], "deviation": self.deviation[head]}
        return self.stack.parameters(head) | {
            name: values.cpu().numpy() for name, values in scaler.items()
        }

    def _train(self, labels: Labels, on_epoch: Callable[[], object]) -> EarlyStopping | None:
        validation = [job.validation for job in self.jobs]
        stopping = None
        if any(len(rows) for rows in validation):
            stopping = EarlyStopping(self.stack.tensors, [labels[rows] for rows in validation])
        for epoch in range(self.recipe.until or self.recipe.epochs):
            self._epoch(epoch)
            on_epoch()
            if stopping is not None:
                stopping.update(epoch + 1, self.stack.tensors, self.predict(validation))
                if stopping.over(epoch + 1):
                    break
        if stopping is not None:
            stopping.restore(self.stack.tensors)
        return stopping

    def _temperatures(self, labels: Labels) -> list[float]:
        found = self.predict([job.validation for job in self.jobs])
        return [
            fit_temperature(one, labels[job.validation]) if len(job.validation) else 1.0
            for one, job in zip(found, self.jobs, strict=True)
        ]

    def _epoch(self, number: int) -> None:
        drawn = [job.mixture.epoch(np.random.default_rng([job.seed, number])) for job in self.jobs]
        weighted = self.recipe.loss == WEIGHTED
        batches = Batches(drawn, self.recipe.batch, self.classes, weighted, self.features.device)
        known = self.unlabelled.in_epoch(number) if self.unlabelled else None
        losses = torch.zeros(len(self.jobs), device=self.features.device)
        for step in range(self.steps[0]):
            active = sum(steps > step for steps in self.steps)
            done = [number * steps + step for steps in self.steps[:active]]
            losses[:active] += self._step(batches.at(step, active), known, done)
        self._check(losses, number)

    def _step(self, batch: Batch, known: Known | None, done: Sequence[int]) -> Tensor:
        """Train the first heads, which have `done` so many steps, on a batch; return the losses."""
        active = len(done)
        leaves = {
            name: tensor[:active].detach().requires_grad_()
            for name, tensor in self.stack.tensors.items()
        }
        position = torch.tensor(done, device=self.features.device)
        sizes, seeds = self.stack.sizes[:-1], self.stack.seeds[:active]
        dropout = Dropout(seeds, position, sizes, self.recipe.batch)
        with self._precision():
            inputs = self._inputs(known, batch.first, batch.second, batch.weight)
            found = logits(leaves, inputs, dropout).float()
        losses = (self._losses(found, batch.target) * batch.share).sum(dim=1)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        self._optimiser.step(dict(zip(leaves, gradients, strict=True)), active)
        return losses.detach()

    def _inputs(
        self,
        known: Known | None,
        first: Tensor,
        second: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return standardised (mixed) clips [heads, layers, clips, width] of rows [heads, clips].

        Synthetic points are made here, batch by batch: they are never stored.
        """
        values = self._standardised(known, first)
        if second is not None and weight is not None:
            values.lerp_(self._standardised(known, second), weight[:, None, :, None])
        return values

    def _standardised(self, known: Known | None, rows: Tensor) -> Tensor:
        heads = len(rows)
        scaler = Scaler(self.mean[:heads, :, None], self.deviation[:heads, :, None])
        if known is not None:
            scaler = known.of(rows, scaler)
        return self._gather(rows).sub_(scaler.mean).div_(scaler.deviation)

    def _gather(self, rows: Tensor) -> Tensor:
        _, layers, width = self.features.shape
        layer = torch.arange(layers, device=rows.device)[:, None]
        index = (rows[:, None] * layers + layer).flatten()
        flat = self.features.view(-1, width).index_select(0, index)
        return flat.view(len(rows), layers, rows.shape[1], width)

    def _losses(self, found: Tensor, target: Tensor) -> Tensor:
        """Return every clip's loss [heads, clips] of logits and targets [heads, clips, classes]."""
        chances, smooth = found.log_softmax(dim=-1), self.recipe.label_smoothing
        losses = -((1 - smooth) * (target * chances).sum(-1) + smooth * chances.mean(-1))
        if self.recipe.loss == FOCAL:
            losses = losses * (1 - (target * chances.exp()).sum(-1)).clamp(min=0) ** FOCUS
        return losses

    def _check(self, losses: Tensor, epoch: int) -> None:
        lost = [job for job, loss in zip(self.jobs, losses.tolist(), strict=True) if loss != loss]
        if lost:
            raise InputError(
                f"the loss of fold {lost[0].name} is not a number in epoch {epoch + 1}: look for "
                "embeddings that are not finite, and embed those clips again"
            )

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.features.device.type, torch.bfloat16, self.recipe.bf16)

    def _on_device(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows).to(self.features.device)
