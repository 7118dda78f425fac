"""The loop that fine-tunes an encoder and a head on the clips of one fold, in balanced steps.

A step and all chance in it follow from the seed, the epoch and the place in the epoch. So there is
no generator's state to save, and it makes no difference into how many micro-batches a step is
split: the two clips of a pair always stay together.

A small change of an encoder's weights moves the embeddings of all clips together, and the head,
which knows them by how they deviate from their mean, takes that for emotion. So its mean follows.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from ser_generalize import stopping
from ser_generalize.augment import Augmentation, crop
from ser_generalize.calibration import fit_temperature
from ser_generalize.errors import InputError
from ser_generalize.files import staged, writing
from ser_generalize.mixture import Labels, Rows, balanced_pairs
from ser_generalize.schema import SAMPLING_RATE
from ser_generalize.stopping import Logits
from ser_generalize.tuning.model import MicroBatch, Tunable, make_optimiser, pad_waves, trained
from ser_generalize.tuning.recipe import TuneRecipe

BATCH_CLIPS = 8  # clips that are predicted at a time
CENTRED_ON = 256  # training clips, at most, that say how far the embeddings have moved together
SAVE_SECONDS = 300.0  # that a killed run loses at most, or an epoch if that is shorter
MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW

Samples = NDArray[np.float32]
Waves = Callable[[Rows], list[Samples]]  # the samples of clips, by their positions


@dataclass(frozen=True)
class Part:
    """What a fold fine-tunes on; rows are positions among the clips."""

    name: str  # of the fold, for messages
    seed: int
    train: Rows
    validation: Rows  # empty: all epochs


@dataclass
class Progress:
    """How far the loop is."""

    step: int = 0
    best_epoch: int = 0  # 0: before any fine-tuning; without validation clips the last one
    losses: list[float] = field(default_factory=list)  # of every step
    validation: list[float] = field(default_factory=list)  # losses, before and after every epoch


@dataclass(frozen=True)
class Execution:
    """Where and how the loop runs; to rounding, none of it changes the result."""

    device: torch.device
    micro_batch: int  # clips that a device holds at a time, an even number
    bf16: bool
    state: Path  # the file that a killed run goes on from
    on_step: Callable[[Progress], object] = lambda _: None


class Tuning:
    """A model that is being fine-tuned."""

    def __init__(
        self,
        model: Tunable,
        waves: Waves,
        labels: Labels,
        part: Part,
        recipe: TuneRecipe,
        execution: Execution,
        augmentation: Augmentation | None = None,
    ) -> None:
        """`labels` [clips] are those of all clips; no `augmentation`: clips are cropped only."""
        self._waves, self._labels, self._part = waves, labels, part
        self._recipe, self._run, self._augmentation = recipe, execution, augmentation
        counts = np.bincount(labels[part.train])
        self._synthetic = 1 - counts / counts.max()  # share of a class that SMOTE would make
        self.steps = steps_of(len(part.train), recipe)
        self.device = execution.device
        self.model: Tunable = model.to(self.device)  # type: ignore[arg-type] # as torch's does
        self.model.augmentation = augmentation
        self._weights = trained(self.model)
        self._changing: dict[str, Tensor] = {**self._weights, "head.mean": self.model.head.mean}
        self._centre: Tensor | None = None  # of the embeddings, when the head's mean was set
        self._optimiser = make_optimiser(self.model, recipe)
        self._best: dict[str, Tensor] = {}
        self.progress = Progress()

    def run(self) -> Progress:
        """Fine-tune, from where a killed run was, and leave the model at its best epoch.

        Raises InputError where a loss or a gradient is not a number.
        """
        if self._run.state.is_file():
            self._load()
        else:
            self._follow()
            self._end_epoch()
        saved = time.monotonic()
        for step in range(self.progress.step, self.steps * self._epochs):
            self._step(step)
            ended = self.progress.step % self.steps == 0
            if ended:
                self._follow()
                self._end_epoch()
            if ended or time.monotonic() - saved > SAVE_SECONDS:
                self._save()
                saved = time.monotonic()
            self._run.on_step(self.progress)
        with torch.no_grad():
            for name, best in self._best.items():
                self._changing[name].copy_(best)
        return self.progress

    def predict(self, rows: Rows) -> Logits:
        """Return the logits [clips, classes] of some clips, heard as they are."""
        found = [np.empty((0, len(self.model.config.id2label or ())), np.float32)]
        for block in np.array_split(rows, -(-len(rows) // BATCH_CLIPS) or 1):
            if len(block):
                batch = pad_waves(self._waves(block), self.device)
                with torch.inference_mode(), self._precision():
                    found.append(self.model.predict(*batch).float().cpu().numpy())
        return np.concatenate(found)

    def temperature(self) -> float:
        """Return what the validation clips say that logits are to be divided by, 1 without any."""
        rows = self._part.validation
        return fit_temperature(self.predict(rows), self._labels[rows]) if len(rows) else 1.0

    @property
    def _epochs(self) -> int:
        until = self._recipe.until
        return self._recipe.epochs if until is None else until

    def _micro_batches(self, step: int) -> Iterator[MicroBatch]:
        """Yield the clips of a step, as many at a time as the device holds."""
        epoch, number = divmod(step, self.steps)
        rows, weight = self._epoch(epoch)
        places = np.arange(self._recipe.batch) + number * self._recipe.batch
        for own in places.reshape(-1, self._run.micro_batch):
            yield self._micro_batch(epoch, own, rows[own], weight[own])

    def _epoch(self, epoch: int) -> tuple[Rows, NDArray[np.float32]]:
        """Return the clips of an epoch in order, and how far each is moved towards its partner."""
        generator = np.random.default_rng([self._part.seed, epoch])
        train, count = self._part.train, self.steps * self._recipe.batch
        pairs = balanced_pairs(self._labels[train], count // 2, generator)
        rows = train[pairs.reshape(-1)]
        moved = generator.random(count) < self._synthetic[self._labels[rows]]
        return rows, np.where(moved, generator.random(count), 0).astype(np.float32)

    def _micro_batch(
        self, epoch: int, places: Rows, rows: Rows, weight: NDArray[np.float32]
    ) -> MicroBatch:
        generators = [np.random.default_rng([self._part.seed, epoch, int(n)]) for n in places]
        pairs = zip(self._waves(rows), generators, strict=True)
        heard = pad_waves([self._heard(wave, generator) for wave, generator in pairs], self.device)
        seeds = [int(generator.integers(2**62)) for generator in generators]
        return MicroBatch(
            *heard,
            weight=torch.from_numpy(weight).to(self.device),
            seeds=torch.tensor(seeds, device=self.device),
            label=torch.from_numpy(self._labels[rows]).to(self.device),
        )

    def _heard(self, wave: Samples, generator: np.random.Generator) -> Samples:
        wave = crop(wave, round(self._recipe.seconds * SAMPLING_RATE), generator)
        return wave if self._augmentation is None else self._augmentation.wave(wave, generator)

    def _step(self, step: int) -> None:
        rate = self._recipe.rate(step, self.steps * self._recipe.epochs)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["full"]
        total, parts = 0.0, self._recipe.batch // self._run.micro_batch
        for batch in self._micro_batches(step):
            loss = self._loss(batch) / parts
            loss.backward()
            total += loss.item()
        largest = self._recipe.largest_gradient
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), largest)
        self._count(total, float(norm))
        self._optimiser.step()
        self._optimiser.zero_grad()

    def _loss(self, batch: MicroBatch) -> Tensor:
        with self._precision():
            logits = self.model.learn(batch)
        return cross_entropy(logits, batch.label, label_smoothing=self._recipe.label_smoothing)

    def _count(self, loss: float, norm: float) -> None:
        self.progress.step += 1
        self.progress.losses.append(loss)
        if not np.isfinite([loss, norm]).all():
            raise InputError(
                f"fine-tuning fold {self._part.name}: the loss or its gradient is not a number in "
                f"step {self.progress.step}; look for clips that are nearly silent, or embed in "
                "--dtype fp32"
            )

    def _follow(self) -> None:
        """Move the head's mean as far as the embeddings have moved together since it was set."""
        rows = self._part.train[:: -(-len(self._part.train) // CENTRED_ON)]
        total = torch.zeros_like(self.model.head.mean)
        with torch.no_grad(), self._precision():
            for block in np.array_split(rows, -(-len(rows) // BATCH_CLIPS)):
                batch = pad_waves(self._waves(block), self.device)
                total += self.model.features(*batch).float().sum(0)
            centre = total / len(rows)
            if self._centre is not None:
                self.model.head.mean += centre - self._centre
        self._centre = centre

    def _end_epoch(self) -> None:
        if len(self._part.validation):
            self._validate()
        else:
            self.progress.best_epoch = self.progress.step // self.steps

    def _validate(self) -> None:
        """Keep the weights if the validation clips have never been likelier."""
        progress, rows = self.progress, self._part.validation
        loss = stopping.cross_entropy(self.predict(rows), self._labels[rows])
        if loss < min(progress.validation, default=np.inf):
            progress.best_epoch = progress.step // self.steps
            self._best = {name: w.detach().clone() for name, w in self._changing.items()}
        progress.validation.append(loss)

    def _save(self) -> None:
        tensors = {f"now/{name}": value.detach() for name, value in self._changing.items()}
        tensors |= {} if self._centre is None else {"centre": self._centre}
        tensors |= {f"best/{name}": weight for name, weight in self._best.items()}
        for moment in MOMENTS:
            for name, weight in self._weights.items():
                tensors[f"{moment}/{name}"] = self._optimiser.state[weight][moment]
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        metadata = {"progress": json.dumps(asdict(self.progress))}
        with writing(f"{self._run.state} cannot be written"), staged(self._run.state) as temporary:
            save_file(whole, temporary, metadata)

    def _load(self) -> None:
        with safe_open(self._run.state, "pt", str(self.device)) as file:
            self.progress = Progress(**json.loads(file.metadata()["progress"]))
            names: Sequence[str] = list(file.keys())
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names}
        step = torch.tensor(float(self.progress.step))
        with torch.no_grad():
            for name, value in self._changing.items():
                value.copy_(tensors[f"now/{name}"])
            for name, weight in self._weights.items():
                moments: dict[str, Any] = {m: tensors[f"{m}/{name}"] for m in MOMENTS}
                self._optimiser.state[weight] = moments | {"step": step.clone()}
        self._centre = tensors["centre"]
        best = [name for name in tensors if name.startswith("best/")]
        self._best = {name.removeprefix("best/"): tensors[name] for name in best}

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._run.bf16)


def steps_of(clips: int, recipe: TuneRecipe) -> int:
    """Return how many steps an epoch of so many training clips has."""
    return max(1, -(-clips // recipe.batch))
