"""One cell of an experiment: clips and embeddings to folds to predictions, shared by processes."""

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from ser_generalize import __version__, heads
from ser_generalize.command import progress_bar
from ser_generalize.dataset import fingerprint, load_clips
from ser_generalize.embeddings import StoreKey, read_embeddings, read_manifest
from ser_generalize.errors import InputError, listing, one_of
from ser_generalize.labels import LABEL_SETS, NATIVE, check_label_set
from ser_generalize.predictions import COLUMNS, About, Predictions, prediction_schema
from ser_generalize.protocols import PROTOCOLS, TRAIN_ON, Fold, leave_one_speaker_out
from ser_generalize.resampling import SAMPLERS, check_class_sizes, resample
from ser_generalize.run import FoldResult, finish_run, is_done, load_fold, open_run, save_fold

SEED = 0
CLIP_COLUMNS = tuple(
    name for name, _ in COLUMNS if name not in {"run", "protocol", "fold", "label"}
)


@dataclass(frozen=True)
class Cell:
    """What is run: one point of a benchmark grid, on one dataset and one embedding store."""

    dataset: str
    embeddings: Path
    protocol: str = "loso"
    labels: str = "four"
    sampler: str = "none"
    head: str = heads.DEFAULT_HEAD
    train_on: str = "each"
    corpora: tuple[str, ...] = ()  # empty: every corpus of the dataset

    def check(self) -> None:
        """Raise InputError for a name that means nothing, before any data is read."""
        one_of("protocol", self.protocol, PROTOCOLS)
        check_label_set(self.labels)
        one_of("sampler", self.sampler, SAMPLERS)
        one_of("--train-on", self.train_on, TRAIN_ON)
        heads.parse_head(self.head)


@dataclass(frozen=True)
class Data:
    """The clips inside the label set, their classes and features; rows share one order."""

    clips: Dataset
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    features: heads.Features
    store: StoreKey
    note: str | None

    def column(self, name: str) -> NDArray[np.object_]:
        """Return a column of the clips, null as None."""
        return np.array(self.clips[name], dtype=object)


def run_cell(cell: Cell, out: Path) -> None:
    """Train and score a cell into the run folder `out`; a finished one returns at once.

    Every process of an `accelerate launch` or `torchrun` takes its share of the folds. A run that
    was killed goes on where it stopped.
    """
    cell.check()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    data = read_data(cell)
    identity = describe(cell, data)
    if is_done(out, identity):
        accelerator.print(f"train: {out} is done already")
        return
    folds = make_folds(cell, data)
    if accelerator.is_main_process:
        open_run(out, identity, accelerator.num_processes)
    accelerator.wait_for_everyone()
    results = gather_object(_train_folds(cell, data, folds, out, accelerator))
    if accelerator.is_main_process:
        finish_run(out, collect(cell, data, results))
    accelerator.wait_for_everyone()
    accelerator.end_training()


def read_data(cell: Cell) -> Data:
    """Load the clips of a cell, keep those inside the label set, and look up their embeddings."""
    clips = load_clips(cell.dataset, cell.corpora or None).remove_columns("audio")
    classes, labels = _classes(cell, clips)
    _, manifest = read_manifest(cell.embeddings)
    skipped = {item["clip_id"] for item in manifest["skipped"]}
    inside = [
        row
        for row, (clip_id, label) in enumerate(zip(clips["clip_id"], labels, strict=True))
        if label is not None and clip_id not in skipped
    ]
    if not inside:
        raise InputError(f"no clip of {cell.dataset} is in the label set {cell.labels}")
    clips = clips.select(inside)
    store, values = read_embeddings(cell.embeddings, clips["clip_id"], clips["sha256"])
    positions = np.array([classes.index(labels[row]) for row in inside])
    note = f"{len(skipped)} clips have no embedding and were left out" if skipped else None
    return Data(clips, classes, positions, heads.clip_normalised(values), store, note)


def _classes(cell: Cell, clips: Dataset) -> tuple[tuple[str, ...], list[str | None]]:
    """Return the classes of the label set and every clip's class (None: outside the set)."""
    if cell.labels == NATIVE:
        corpora = sorted(set(clips["corpus"]))
        if len(corpora) > 1:
            raise InputError(
                f"--labels native is for one corpus, not {len(corpora)} ({listing(corpora)}); "
                "add --corpora NAME"
            )
        return tuple(sorted(set(clips["native_label"]))), list(clips["native_label"])
    classes = LABEL_SETS[cell.labels]
    column = f"label{len(classes)}"
    return classes, [None if label is None else classes[label] for label in clips[column]]


def make_folds(cell: Cell, data: Data) -> list[Fold]:
    """Return the folds of a cell's protocol, each proved free of leaks and large enough."""
    speakers, hashes = data.column("speaker"), data.column("sha256")
    folds = leave_one_speaker_out(data.column("corpus"), speakers, cell.train_on)
    for fold in folds:
        fold.check(speakers, hashes)
        counts = Counter(data.classes[label] for label in data.labels[fold.train])
        check_class_sizes(cell.sampler, counts, fold.name)
    return folds


def describe(cell: Cell, data: Data) -> dict[str, Any]:
    """Return what makes this cell this cell: equal descriptions give equal predictions."""
    return {
        "version": __version__,
        "dataset": fingerprint(data.clips),
        "corpora": sorted(set(data.clips["corpus"])),
        "encoder": data.store.encoder,
        "encoder_revision": data.store.revision,
        "window": data.store.window,
        "protocol": cell.protocol,
        "labels": cell.labels,
        "classes": list(data.classes),
        "train_on": cell.train_on,
        "sampler": cell.sampler,
        "head": cell.head,
        "seed": SEED,
    }


def _train_folds(
    cell: Cell, data: Data, folds: Sequence[Fold], out: Path, accelerator: Accelerator
) -> list[FoldResult]:
    """Train this process's share of the folds, several at a time, one thread each."""
    share = range(accelerator.process_index, len(folds), accelerator.num_processes)
    on_cpu = accelerator.device.type == "cpu"
    workers = max(1, (os.cpu_count() or 1) // accelerator.num_processes) if on_cpu else 1
    progress = progress_bar(
        len(share) * heads.EPOCHS,
        f"train {cell.sampler}, {len(folds)} folds",
        "epoch",
        accelerator.is_local_main_process,
    )
    with progress, _one_thread_each(), ThreadPoolExecutor(workers) as pool:

        def train(index: int) -> FoldResult:
            result = load_fold(out, index)
            if result is None:
                result = _train_fold(cell, data, folds[index], accelerator.device, progress)
                save_fold(out, index, result)
            else:
                progress.update(heads.EPOCHS)
            return result

        return list(pool.map(train, share))


def _train_fold(
    cell: Cell, data: Data, fold: Fold, device: torch.device, progress: "tqdm[Any]"
) -> FoldResult:
    seed = zlib.crc32(f"{SEED}:{fold.name}".encode())
    train, labels = data.features[fold.train], data.labels[fold.train]
    mixture, note = resample(cell.sampler, train.reshape(len(train), -1), labels, seed)
    probabilities = heads.train_and_predict(
        heads.parse_head(cell.head),
        train,
        mixture,
        data.features[fold.test],
        len(data.classes),
        seed,
        device,
        progress.update,
    )
    clip_ids = data.clips.select(fold.test)["clip_id"]
    return FoldResult(fold.name, list(clip_ids), probabilities, note)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Give every fold one thread: sums then do not depend on how many processes were launched."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def collect(cell: Cell, data: Data, results: Sequence[FoldResult]) -> Predictions:
    """Join the folds' probabilities with what the dataset says of every clip, by clip id."""
    about = _about(cell, data, results)
    columns = ("clip_id", *CLIP_COLUMNS)
    said = dict(
        zip(data.clips["clip_id"], zip(*(data.clips[n] for n in columns), strict=True), strict=True)
    )
    classes = dict(zip(data.clips["clip_id"], data.labels, strict=True))
    rows = [
        {
            **dict(zip(columns, said[clip_id], strict=True)),
            "run": about.run,
            "protocol": cell.protocol,
            "fold": result.fold,
            "label": data.classes[classes[clip_id]],
            **{f"p_{name}": p for name, p in zip(data.classes, chances, strict=True)},
        }
        for result in results
        for clip_id, chances in zip(result.clip_ids, result.probabilities.tolist(), strict=True)
    ]
    return Predictions(about, pa.Table.from_pylist(rows, schema=prediction_schema(about)))


def _about(cell: Cell, data: Data, results: Sequence[FoldResult]) -> About:
    reasons = Counter(result.note for result in results if result.note)
    notes = [f"{count} of {len(results)} folds: {why}" for why, count in sorted(reasons.items())]
    named = [data.store.encoder, cell.protocol, cell.train_on, cell.labels, cell.sampler, cell.head]
    return About(
        run=" ".join(named),
        protocol=cell.protocol,
        label_set=cell.labels,
        classes=data.classes,
        encoder=data.store.encoder,
        window=data.store.window,
        head=cell.head,
        sampler=cell.sampler,
        train_on=cell.train_on,
        seed=SEED,
        notes=(*notes, *([data.note] if data.note else [])),
    )
