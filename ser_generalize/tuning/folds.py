"""`train --tune`: each fold's Whisper and head fine-tuned, from the head that embeddings gave.

The warm start is the head that the same cell gives without fine-tuning, trained on the frozen
embeddings of the fold's own training part. Folds are shared by the processes, one model each.
"""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from accelerate import Accelerator
from scipy.special import softmax

from ser_generalize.augment import Augmentation
from ser_generalize.cell import Cell
from ser_generalize.checkpoint import read_encoder
from ser_generalize.clips import open_clips
from ser_generalize.data import Data
from ser_generalize.decoding import decode
from ser_generalize.degradation import parse_degradation
from ser_generalize.encoder.device import has_bf16
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.files import remove, write_text
from ser_generalize.groups import Material, OnEpoch, Task, notes_of, train_group, train_heads
from ser_generalize.heads import Parameters, parse_head
from ser_generalize.mixture import Rows
from ser_generalize.modeling import SerForAudioClassification
from ser_generalize.run import FoldResult
from ser_generalize.training import Job, Recipe, Trained
from ser_generalize.tuning.loop import Execution, Part, Progress, Samples, Tuning, Waves
from ser_generalize.tuning.model import make_tunable
from ser_generalize.tuning.recipe import LORA, NO_TUNING, TuneRecipe

TUNING = "tuning"  # in the run folder: the loss curve of every fold, and where one in work is
TRACKERS = ("tensorboard", "trackio", "wandb")
PROJECT = "ser-generalize"  # to trackers
NOT_TUNED = "validation speakers chose the head on the encoder that is not fine-tuned"

MakeModel = Callable[[Parameters], SerForAudioClassification]  # of a trained head


@dataclass(frozen=True)
class Setup:
    """How fine-tuning is run; to rounding, none of it changes the result."""

    encoder: str | None = None  # where the encoder of the embeddings is; None: under its own name
    micro_batch: int = 8  # clips that a device holds at a time
    gradient_checkpointing: bool = False  # slower, in far less memory
    report_to: str | None = None

    def check(self, cell: Cell) -> None:
        """Raise InputError for what does not fit together, or needs a package that is missing."""
        if cell.tune == LORA and not _is_installed("peft"):
            raise InputError("--tune lora needs peft; pip install 'ser-generalize[tune]'")
        if cell.tune != NO_TUNING:
            self._check_micro_batch(cell.tune_recipe.batch)
        if self.report_to is None:
            return
        one_of("--report-to", self.report_to, TRACKERS)
        if cell.tune == NO_TUNING:
            raise InputError("--report-to is for fine-tuning; add --tune full or lora")
        if not _is_installed(self.report_to):
            raise InputError(
                f"--report-to {self.report_to} needs the package {self.report_to}; "
                f"pip install 'ser-generalize[{self.report_to}]'"
            )

    def _check_micro_batch(self, batch: int) -> None:
        sizes = [size for size in range(2, batch + 1, 2) if batch % size == 0]
        if self.micro_batch not in sizes:
            raise InputError(
                f"--micro-batch {self.micro_batch}: the {batch} clips of a step come in pairs; "
                f"choose one of: {', '.join(map(str, sizes))}"
            )


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # wandb leaves a folder of its own name


class Tracker:
    """Tells a tracker of every step of the folds that the first process fine-tunes."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator, self._lock, self._heard = accelerator, Lock(), 0

    def start(self, run: str, description: Mapping[str, Any]) -> None:
        """Open a run of this name; raises InputError for what the tracker lacks, such as a login.

        `description` is what the tracker shows of it.
        """
        named = {tracker: {"name": run} for tracker in ("trackio", "wandb")}
        settings = {name: str(value) for name, value in description.items()}
        try:
            self._accelerator.init_trackers(PROJECT, settings, named)
        except Exception as error:  # of a library that is any of several
            tracker = ", ".join(map(str, self._accelerator.log_with))
            self._accelerator.trackers.clear()  # one that never started cannot end
            raise InputError(f"--report-to {tracker} does not start: {error}") from error

    def of(self, task: Task) -> Callable[[Progress], object]:
        """Return what is told of a fold's progress. Trackers want one count of steps for all."""
        name, validated = f"{task.fold.name}/{task.seed}", 0

        def hear(progress: Progress) -> None:
            nonlocal validated
            values = {f"{name}/step": float(progress.step), f"{name}/loss": progress.losses[-1]}
            if len(progress.validation) > validated:
                validated = len(progress.validation)
                values[f"{name}/validation loss"] = progress.validation[-1]
            with self._lock:
                self._heard += 1
                self._accelerator.log(values, step=self._heard)

        return hear


@dataclass(frozen=True)
class Tuner:
    """Fine-tunes the folds of a cell; `folder` is for their loss curves and for going on."""

    material: Material
    setup: Setup
    folder: Path
    waves: Waves
    make_model: MakeModel
    tracker: Tracker | None = None

    def train(self, tasks: Sequence[Task], on_epoch: OnEpoch) -> list[FoldResult]:
        """Fine-tune and score folds one after the other, as `groups.train_group` does heads."""
        return [self._result(task, on_epoch) for task in tasks]

    def tune(
        self,
        task: Task,
        job: Job,
        recipe: TuneRecipe,
        head: Recipe,
        on_epoch: OnEpoch = lambda _: None,
    ) -> tuple[Tuning, Trained]:
        """Fine-tune a fold's model, up to its best epoch; return it and what it started from."""
        material, setup, seed = self.material, self.setup, task.own_seed
        (start,) = train_heads(material, [job], head)
        model = make_tunable(
            self.make_model(start.parameters), material.cell.tune, recipe.rank, seed
        )
        model.recompute = setup.gradient_checkpointing
        bf16 = material.data.store.dtype != "fp32" and has_bf16(material.device)
        tell = self.tracker.of(task) if self.tracker else None

        def on_step(progress: Progress) -> None:
            if tell is not None:
                tell(progress)
            on_epoch(int(progress.step % tuning.steps == 0))  # after 0 as well it may be over

        state = self._file(task)
        execution = Execution(material.device, setup.micro_batch, bf16, state, on_step)
        part = Part(job.name, seed, job.train, job.validation)
        labels = material.data.labels
        tuning = Tuning(model, self.waves, labels, part, recipe, execution, Augmentation())
        tuning.run()
        return tuning, start

    def finish(self, task: Task, tuning: Tuning) -> None:
        """Leave the loss curve of a fold that was scored, and nothing to go on from."""
        curve = {"fold": task.fold.name, "seed": task.seed} | asdict(tuning.progress)
        write_text(self._file(task).with_suffix(".json"), json.dumps(curve) + "\n")
        remove(self._file(task))

    def _result(self, task: Task, on_epoch: OnEpoch) -> FoldResult:
        material = self.material
        cell, data = material.cell, material.data
        if len(np.unique(data.labels[material.train_rows(task.fold)])) < 2:
            return train_group(material, [task], on_epoch)[0]  # nothing to learn
        job, sampling = material.job(task)
        tuning, start = self.tune(task, job, cell.tune_recipe, cell.recipe, on_epoch)
        temperature, epoch = tuning.temperature(), tuning.progress.best_epoch
        result = FoldResult(
            task.fold.name,
            task.seed,
            data.column("clip_id")[task.fold.test].tolist(),
            softmax(tuning.predict(task.fold.test) / temperature, axis=1),
            (*notes_of(material, task, sampling), *(() if epoch else (NOT_TUNED,))),
            start.epochs,
            temperature,
            epoch,
        )
        self.finish(task, tuning)
        return result

    def _file(self, task: Task) -> Path:
        return self.folder / f"{task.index:05d}.safetensors"


def make_tuner(
    material: Material, setup: Setup, folder: Path, tracker: Tracker | None = None
) -> Tuner:
    """Return what fine-tunes the folds of a cell, or raise InputError for what is missing."""
    cell, data = material.cell, material.data
    classes, encoder = dict(enumerate(data.classes)), read_encoder(data.store, setup.encoder)
    config = encoder.config(
        hidden_sizes=list(parse_head(cell.head) or ()),
        id2label=classes,
        label2id={name: number for number, name in classes.items()},
    )
    return Tuner(
        material,
        setup,
        folder,
        read_waves(cell, data),
        lambda head: encoder.model(config, head),
        tracker,
    )


def read_waves(cell: Cell, data: Data) -> Waves:
    """Return what gives the samples of a cell's clips, decoded when they are asked for."""
    degradation = parse_degradation(data.store.degradation)  # what the head has heard so far
    clips = open_clips(cell.dataset, cell.corpora or None, streaming=False)
    rows = {row.clip_id: row for shard in clips.shards for row in shard}
    here = [rows[clip_id] for clip_id in data.column("clip_id")]
    if not any(clips.read(here[:1])):
        raise InputError(
            f"--tune hears the clips themselves, and {cell.dataset} holds none of their audio; "
            "give the dataset that the embeddings were made of"
        )

    def waves(positions: Rows) -> list[Samples]:
        asked = [here[position] for position in positions]
        ids = (clip.clip_id for clip in asked)
        found = decode(list(zip(ids, clips.read(asked), strict=True)), degradation)
        pairs = zip(asked, found, strict=True)
        bad = [f"{clip.clip_id} ({why})" for clip, why in pairs if isinstance(why, str)]
        if bad:  # the store held them once
            raise InputError(f"clips of {cell.dataset} cannot be decoded: {listing(bad, 3)}")
        return [wave for wave in found if not isinstance(wave, str)]

    return waves
