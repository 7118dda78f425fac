"""Running a cell: its folds are shared by the processes, trained, and joined into predictions."""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from ser_generalize import heads
from ser_generalize.cell import SEED, Cell, Data, describe, make_folds, read_data, read_features
from ser_generalize.command import progress_bar
from ser_generalize.labels import VOTES
from ser_generalize.launch import in_step, processes, share_of_cores, single_threads
from ser_generalize.predictions import COLUMNS, About, Predictions, prediction_schema
from ser_generalize.protocols import PROTOCOLS, Fold
from ser_generalize.resampling import NEIGHBOURS, repeated_classes, resample
from ser_generalize.run import FoldResult, check_run, finish_run, load_fold, save_fold, start_run

__all__ = ["Cell", "run_cell"]

SYNTHETIC = "synthetic"  # the elicitation of what `dataset_scripts.fabricate` makes
CLIP_COLUMNS = tuple(
    name for name, _ in COLUMNS if name not in {"run", "protocol", "fold", "label"}
)


@dataclass(frozen=True)
class Training:
    """What the threads of one process share while they train its folds."""

    cell: Cell
    data: Data
    features: heads.Features
    device: torch.device
    progress: "tqdm[Any]"
    stopped: Event  # set by Ctrl-C or a fold that failed; the others end after their epoch

    def on_epoch(self) -> None:
        """Count an epoch, or end this fold's training where there is no more use for it."""
        if self.stopped.is_set():
            raise CancelledError
        self.progress.update()


def run_cell(cell: Cell, out: Path) -> None:
    """Train and score a cell into the run folder `out`; a finished one returns at once.

    Every process of an `accelerate launch` or `torchrun` takes its share of the folds. A run that
    was killed goes on where it stopped. Raises InputError before anything is written.
    """
    cell.check()
    with processes() as accelerator:
        _run(cell, out, accelerator)


def _run(cell: Cell, out: Path, accelerator: Accelerator) -> None:
    prepared = in_step(lambda: _prepare(cell, out))
    if prepared is None:
        accelerator.print(f"train: {out} is done already")
        return
    data, folds, features = prepared
    in_step(lambda: _start(cell, out, data, accelerator))
    results = gather_object(_train_folds(cell, data, features, folds, out, accelerator))
    if accelerator.is_main_process:
        predictions = collect(cell, data, results)
        finish_run(out, predictions)
        _print_summary(out, predictions)
    accelerator.wait_for_everyone()


def _prepare(cell: Cell, out: Path) -> tuple[Data, list[Fold], heads.Features] | None:
    """Check everything, cheap things first, and read the data; None where the run is done."""
    data = read_data(cell)
    if check_run(out, describe(cell, data)):
        return None
    return data, make_folds(cell, data), read_features(cell, data)


def _start(cell: Cell, out: Path, data: Data, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        start_run(out, describe(cell, data), accelerator.num_processes)


def _train_folds(
    cell: Cell,
    data: Data,
    features: heads.Features,
    folds: Sequence[Fold],
    out: Path,
    accelerator: Accelerator,
) -> list[FoldResult]:
    """Train this process's share of the folds, several at a time, one thread each."""
    share = range(accelerator.process_index, len(folds), accelerator.num_processes)
    title, show = f"train {cell.sampler}, {len(folds)} folds", accelerator.is_local_main_process
    with (
        progress_bar(len(share) * heads.EPOCHS, title, "epoch", show) as progress,
        single_threads(_workers(accelerator)) as pool,
    ):
        training = Training(cell, data, features, accelerator.device, progress, Event())

        def train(index: int) -> FoldResult:
            result = load_fold(out, index)
            if result is None:
                result = _train_fold(training, folds[index])
                save_fold(out, index, result)
            else:
                progress.update(heads.EPOCHS)
            return result

        try:
            return list(pool.map(train, share))
        finally:
            training.stopped.set()


def _train_fold(training: Training, fold: Fold) -> FoldResult:
    # Nothing is stopped early yet, so validation clips are better trained on.
    fold = replace(fold, train=np.sort(np.concatenate([fold.train, fold.validation])))
    cell, data = training.cell, training.data
    seed = zlib.crc32(f"{SEED}:{fold.name}".encode())
    train, labels = training.features[fold.train], data.labels[fold.train]
    mixture, note = resample(cell.sampler, train.reshape(len(train), -1), labels, seed)
    probabilities = heads.train_and_predict(
        heads.parse_head(cell.head),
        train,
        mixture,
        training.features[fold.test],
        len(data.classes),
        seed,
        training.device,
        training.on_epoch,
    )
    clip_ids = data.clips.select(fold.test)["clip_id"]
    notes = (*([note] if note else []), *_class_notes(cell, data, fold))
    return FoldResult(fold.name, list(clip_ids), probabilities, notes)


def _class_notes(cell: Cell, data: Data, fold: Fold) -> Iterator[str]:
    """Yield what a reader must know where classes have few training clips, or none."""
    train = data.labels[fold.train]

    def names(labels: Iterable[int]) -> str:
        return ", ".join(data.classes[label] for label in sorted(labels))

    if repeated := repeated_classes(cell.sampler, train):
        yield (
            f"clips repeated, not synthesised, of a class with under {NEIGHBOURS + 1} training "
            f"clips ({names(repeated)})"
        )
    learnt = set(np.unique(train))
    if len(learnt) == 1:
        yield f"a single class to train on ({names(learnt)}), predicted for every clip"
    if absent := set(data.labels[fold.test]) - learnt:  # the recall can only be 0
        yield f"tested on a class without a training clip ({names(absent)})"


def _workers(accelerator: Accelerator) -> int:
    """Return how many folds a process trains at a time: one on a GPU."""
    return share_of_cores(accelerator) if accelerator.device.type == "cpu" else 1


def collect(cell: Cell, data: Data, results: Sequence[FoldResult]) -> Predictions:
    """Join the folds' probabilities with what the dataset says of every clip, by clip id."""
    about = _about(cell, data, results)
    described = zip(*(data.clips[name] for name in CLIP_COLUMNS), strict=True)
    said = dict(zip(data.clips["clip_id"], described, strict=True))
    labels = dict(zip(data.clips["clip_id"], data.labels, strict=True))
    rows = [
        {
            **dict(zip(CLIP_COLUMNS, said[clip_id], strict=True)),
            "run": about.run,
            "protocol": cell.protocol,
            "fold": result.fold,
            **({"label_source": "perceived"} if cell.labels_from == VOTES else {}),
            "label": data.classes[labels[clip_id]],
            **{f"p_{name}": p for name, p in zip(data.classes, chances, strict=True)},
        }
        for result in results
        for clip_id, chances in zip(result.clip_ids, result.probabilities.tolist(), strict=True)
    ]
    return Predictions(about, pa.Table.from_pylist(rows, schema=prediction_schema(about)))


def _about(cell: Cell, data: Data, results: Sequence[FoldResult]) -> About:
    reasons = Counter(note for result in results for note in result.notes)
    notes = [f"{count} of {len(results)} folds: {why}" for why, count in sorted(reasons.items())]
    if SYNTHETIC in data.clips["elicitation"]:
        notes.append("fabricated speech: these figures say nothing about real voices")
    notes += data.notes
    protocol = PROTOCOLS[cell.protocol]
    untested = len(data.clips) - len({clip_id for result in results for clip_id in result.clip_ids})
    if untested:
        notes.append(f"{untested} of {len(data.clips)} clips are not tested: {protocol.untested}")
    return About(
        run=_run_name(cell, data),
        protocol=cell.protocol,
        label_set=cell.labels,
        labels_from=cell.labels_from,
        classes=data.classes,
        encoder=data.store.encoder,
        window=data.store.window,
        head=cell.head,
        sampler=cell.sampler,
        train_on=cell.train_on,
        seed=SEED,
        dataset=data.fingerprint[:12],
        leaks=protocol.leaks,
        notes=tuple(notes),
    )


def _run_name(cell: Cell, data: Data) -> str:
    """Name a run by what it did, what tells runs apart first: tables cut long names."""
    window = [] if data.store.window == "short" else [data.store.window]
    encoder = [data.store.encoder, *window]
    by = [cell.sampler, cell.head, *([VOTES] if cell.labels_from == VOTES else [])]
    return " ".join([*by, *encoder, cell.protocol, cell.labels, cell.train_on])


def _print_summary(out: Path, predictions: Predictions) -> None:
    """Say where the run is, and what its reader must know; what it is worth is for `report`."""
    folds = len(set(predictions.column("fold")))
    print(f"train: {len(predictions.table)} clips predicted in {folds} folds, in {out}")
    for note in predictions.about.notes:
        print(f"train: {note}")
