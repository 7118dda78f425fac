"""How long a study will take: what there is to train, and a short trial of how fast that goes."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from ser_generalize.cell import Cell
from ser_generalize.experiment import workers_of
from ser_generalize.groups import Material, group_size, train_jobs
from ser_generalize.heads import parse_head
from ser_generalize.launch import single_threads
from ser_generalize.mixture import Mixture, Rows
from ser_generalize.protocols import Fold
from ser_generalize.resampling import PER_CORPUS, SYNTHESISERS
from ser_generalize.training import Job

TRIAL_CLIPS = 64  # a batch: an epoch costs as much as its batches
OVER = {"over", PER_CORPUS, *SYNTHESISERS}


def training_clips(cell: Cell, folds: Sequence[Fold], labels: NDArray[np.int64]) -> int:
    """Return on how many clips all heads of a cell are trained, epochs and resampling counted."""
    parts = (np.concatenate([fold.train, fold.validation]) for fold in folds)
    rows = sum(_resampled(cell.sampler, labels[part]) for part in parts)
    copies = 1 + len(cell.augment) if parse_head(cell.head) is None else 1  # epochs draw from them
    return rows * copies * cell.seeds * cell.recipe.epochs


def _resampled(sampler: str, labels: NDArray[np.int64]) -> int:
    counts = np.unique(labels, return_counts=True)[1]
    if sampler == "under":
        return int(counts.min()) * len(counts)
    return int(counts.max()) * len(counts) if sampler in OVER else len(labels)


def clips_per_second(material: Material, accelerator: Accelerator) -> float:
    """Return on how many clips a second all processes train: a batch, on as many heads as fit.

    The first try warms up and is not counted.
    """
    workers, size = workers_of(material, accelerator), group_size(material)
    rows = _some_of_every_class(material.data.labels)
    jobs = [_job(seed, rows, material.data.labels) for seed in range(size)]

    def trial(_: int) -> None:
        train_jobs(material, jobs, lambda _: None)

    with single_threads(workers) as pool:
        for _ in range(2):
            start = time.perf_counter()
            list(pool.map(trial, range(workers)))
            if material.device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    epochs = material.cell.recipe.epochs
    return workers * size * len(rows) * epochs / seconds * accelerator.num_processes


def _some_of_every_class(labels: NDArray[np.int64]) -> Rows:
    """Return a few rows; two classes are among them wherever there are two."""
    each = TRIAL_CLIPS // max(len(np.unique(labels)), 1)
    return np.concatenate([np.flatnonzero(labels == name)[:each] for name in np.unique(labels)])


def _job(seed: int, rows: Rows, labels: NDArray[np.int64]) -> Job:
    mixture = Mixture(rows, rows, np.zeros(len(rows), np.float32), labels[rows], labels[rows])
    return Job("trial", seed, mixture, rows, rows[:1], rows[:0])


def duration(seconds: float) -> str:
    """Format a time as a reader plans with it: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
