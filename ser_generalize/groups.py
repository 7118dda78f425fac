"""The heads of a cell, one for every fold and seed, and the groups that are trained together."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from ser_generalize.adapt import UnlabelledClips, parse_adapt
from ser_generalize.cell import EARLY, Cell
from ser_generalize.data import Data
from ser_generalize.errors import InputError
from ser_generalize.heads import Features, Probabilities, parse_head
from ser_generalize.linear import train_linear
from ser_generalize.mixture import Rows
from ser_generalize.neighbours import Neighbours
from ser_generalize.predictions import PLAIN
from ser_generalize.protocols import Fold
from ser_generalize.resampling import NEIGHBOURS, repeated_classes, resample
from ser_generalize.run import FoldResult
from ser_generalize.training import WEIGHTED, Job, Recipe, Trained, train
from ser_generalize.tuning.recipe import NO_TUNING

# On a CPU a group gains until the cost of a call is shared; larger ones leave the cache, and heads
# of many weights gain nothing. Measured by tests/benchmarks/training_cost.py.
CPU_HEADS = 4
CPU_WEIGHTS = 1_200_000
GPU_SHARE = 0.5  # of the free memory

OnEpoch = Callable[[int], object]  # told how many heads have ended an epoch


@dataclass(frozen=True)
class Task:
    """One head to train and score."""

    index: int  # among all of the run
    fold: Fold
    seed: int

    @property
    def own_seed(self) -> int:
        """The seed of the fold's sampler and head: no two folds of a run share one."""
        return zlib.crc32(f"{self.seed}:{self.fold.name}".encode())


@dataclass(frozen=True)
class Material:
    """What the heads of a cell are made of."""

    cell: Cell
    data: Data
    features: Features
    device: torch.device

    @property
    def linear(self) -> bool:
        """Whether the cell's head is fitted at once, which is done on the CPU."""
        return parse_head(self.cell.head) is None

    @cached_property
    def on_device(self) -> Tensor:
        """The features, where they are trained on; on a CPU that is no copy."""
        try:
            return torch.from_numpy(self.features).to(self.device)
        except torch.OutOfMemoryError as error:
            size = self.features.nbytes / 2**30
            raise InputError(
                f"{self.device} is out of memory: the features take {size:.1f} GiB; give fewer "
                "--layers or --augment, or --pooling mean"
            ) from error

    @cached_property
    def neighbours(self) -> Neighbours:
        """The clips in the space in which samplers look for neighbours; it is fitted on nothing."""
        labelled = self.features[: len(self.data.labels)]
        space = labelled.reshape(len(labelled), -1)
        return Neighbours(space, self.data.labels, self.data.column("corpus"))

    @cached_property
    def unlabelled(self) -> UnlabelledClips | None:
        """The unlabelled clips that standardise, None where the training part does."""
        adaptation = parse_adapt(self.cell.adapt)
        if adaptation.by == PLAIN:
            return None
        features = torch.from_numpy(self.features) if self.linear else self.on_device
        return UnlabelledClips(features, self.data.domains_and_copies(adaptation.by), adaptation)

    def under(self, cell: Cell) -> "Material":
        """Return what another cell makes of the same clips: neighbours are not searched again."""
        other = replace(self, cell=cell)
        vars(other).update(on_device=self.on_device, neighbours=self.neighbours)
        return other

    def train_rows(self, fold: Fold) -> Rows:
        """Return what a fold trains on: its validation speakers as well, unless they decide."""
        if self.cell.stop == EARLY:
            return fold.train
        return np.union1d(fold.train, fold.validation)

    def job(self, task: Task) -> tuple[Job, str | None]:
        """Return a head to train, and a note where the sampler did not do it all."""
        fold, rows = task.fold, self.train_rows(task.fold)
        mixture, note = resample(self.cell.sampler, self.neighbours, rows, task.own_seed)
        mixture = replace(mixture, copies=self.data.copies)
        validation = fold.validation if self.cell.stop == EARLY else fold.validation[:0]
        test = fold.test + self.data.tested_from
        return Job(fold.name, task.own_seed, mixture, rows, test, validation), note


@dataclass(frozen=True)
class Scored:
    """What a head says of its test clips; without epochs where it is not trained in such."""

    probabilities: Probabilities
    epochs: int = 0
    temperature: float = 1.0


def make_groups(folds: Sequence[Fold], seeds: int, size: int, workers: int) -> list[list[Task]]:
    """Return groups of about equal size, as many for every one of the workers.

    Folds with about as many clips come together: the shorter ones wait for the longest.
    """
    every = product(range(seeds), folds)
    tasks = [Task(index, fold, seed) for index, (seed, fold) in enumerate(every)]
    tasks.sort(key=lambda task: -len(task.fold.train))
    rounds = -(-len(tasks) // (size * workers))
    parts = np.array_split(np.arange(len(tasks)), min(len(tasks), rounds * workers))
    return [[tasks[index] for index in part] for part in parts]


def group_size(material: Material) -> int:
    """Return how many heads of a cell are trained together, so that batching pays."""
    hidden = parse_head(material.cell.head)
    if hidden is None or material.cell.tune != NO_TUNING:
        return 1
    layers, width = material.on_device.shape[1:]  # there before its memory is shared out
    classes = len(material.data.classes)
    return heads_together((layers, width), hidden, classes, material.cell.recipe, material.device)


def heads_together(
    shape: tuple[int, int],
    hidden: Sequence[int],
    classes: int,
    recipe: Recipe,
    device: torch.device,
) -> int:
    """Return the group size for features [layers, width] of a clip on a device."""
    layers, width = shape
    weights = sum(inputs * outputs for inputs, outputs in pairwise((width, *hidden, classes)))
    if device.type == "cpu":
        return max(1, min(CPU_HEADS, CPU_WEIGHTS // weights))
    free, _ = torch.cuda.mem_get_info(device)
    numbers = 4 * weights + 2 * recipe.batch * layers * width  # with gradients and moments
    return max(1, int(GPU_SHARE * free / 4 / numbers))


def train_group(material: Material, tasks: Sequence[Task], on_epoch: OnEpoch) -> list[FoldResult]:
    """Train and score the heads of a group; their order is that of the tasks."""
    jobs = [material.job(task) for task in tasks]
    heads = train_jobs(material, [job for job, _ in jobs], on_epoch)
    return [
        FoldResult(
            task.fold.name,
            task.seed,
            material.data.column("clip_id")[task.fold.test].tolist(),
            head.probabilities,
            notes_of(material, task, note),
            head.epochs,
            head.temperature,
        )
        for task, (_, note), head in zip(tasks, jobs, heads, strict=True)
    ]


def train_jobs(material: Material, jobs: Sequence[Job], on_epoch: OnEpoch) -> list[Scored]:
    """Score every job's test clips; of a single class nothing is learnt."""
    able = [index for index, job in enumerate(jobs) if len(np.unique(job.mixture.label)) > 1]
    trained = train_heads(material, [jobs[index] for index in able], material.cell.recipe, on_epoch)
    found = {
        index: Scored(softmax(one.logits / one.temperature, axis=1), one.epochs, one.temperature)
        for index, one in zip(able, trained, strict=True)
    }
    for index, job in enumerate(jobs):
        if index in found and not np.isfinite(found[index].probabilities).all():
            raise InputError(
                f"fold {job.name} predicts what is not a number: look for embeddings of tested "
                "clips that are not finite, and embed those again"
            )
        if index not in found:
            certain = np.zeros((len(job.test), len(material.data.classes)), np.float32)
            certain[:, job.mixture.label[0]] = 1
            found[index] = Scored(certain)
            on_epoch(material.cell.recipe.epochs)
    return [found[index] for index in range(len(jobs))]


def train_heads(
    material: Material, jobs: Sequence[Job], recipe: Recipe, on_epoch: OnEpoch = lambda _: None
) -> list[Trained]:
    """Train a head of the cell for every job, and return them in the same order.

    `recipe` is for networks; `on_epoch` is told how many heads have ended an epoch.
    """
    if not jobs:
        return []
    hidden = parse_head(material.cell.head)
    if hidden is None:
        return [_linear(material, job, on_epoch) for job in jobs]
    left = recipe.epochs

    def ended() -> None:
        nonlocal left
        left -= 1
        on_epoch(len(jobs))

    labels, classes = material.data.labels, len(material.data.classes)
    features = material.on_device
    trained = train(features, labels, jobs, hidden, classes, recipe, ended, material.unlabelled)
    on_epoch(left * len(jobs))  # where early stopping left some out
    return trained


def _linear(material: Material, job: Job, on_epoch: OnEpoch) -> Trained:
    cell, classes = material.cell, len(material.data.classes)
    known = material.unlabelled.in_scoring if material.unlabelled else None
    speakers, weighted = material.data.column("speaker"), cell.loss == WEIGHTED
    found = train_linear(cell.head, material.features, job, classes, weighted, known, speakers)
    on_epoch(cell.recipe.epochs)
    return found


def notes_of(material: Material, task: Task, sampling: str | None) -> tuple[str, ...]:
    """Return what a reader must know of a task; `sampling` is what `Material.job` says of it."""
    return (*([sampling] if sampling else []), *_class_notes(material, task))


def _class_notes(material: Material, task: Task) -> Iterator[str]:
    """Yield what a reader must know where classes have few training clips, or none."""
    cell, data, rows = material.cell, material.data, material.train_rows(task.fold)

    def names(labels: Iterable[int]) -> str:
        return ", ".join(data.classes[label] for label in sorted(labels))

    if repeated := repeated_classes(cell.sampler, material.neighbours, rows):
        yield (
            f"clips repeated, not synthesised, of a class with under {NEIGHBOURS + 1} training "
            f"clips ({names(repeated)})"
        )
    learnt = set(np.unique(data.labels[rows]))
    if len(learnt) == 1:
        yield f"a single class to train on ({names(learnt)}), predicted for every clip"
    if absent := set(data.labels[task.fold.test]) - learnt:  # the recall can only be 0
        yield f"tested on a class without a training clip ({names(absent)})"
    if cell.stop == EARLY and not len(task.fold.validation):
        yield "too few training speakers to validate on: all epochs, no temperature"
