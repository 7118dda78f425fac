"""Running a cell: its folds are shared by the processes, trained, and joined into predictions."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import pyarrow as pa
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from ser_generalize import heads
from ser_generalize.adapt import parse_adapt
from ser_generalize.cell import FIXED, Cell
from ser_generalize.command import progress_bar
from ser_generalize.data import Data, describe, make_folds, read_data, read_features
from ser_generalize.degradation import NONE
from ser_generalize.groups import (
    Material,
    OnEpoch,
    Task,
    group_size,
    make_groups,
    train_group,
)
from ser_generalize.heads import Features
from ser_generalize.labels import ACTED, VOTES
from ser_generalize.launch import in_step, processes, share_of_cores, single_threads
from ser_generalize.predictions import COLUMNS, PLAIN, About, Predictions, prediction_schema
from ser_generalize.protocols import PROTOCOLS, Fold
from ser_generalize.run import FoldResult, check_run, finish_run, load_fold, save_fold, start_run
from ser_generalize.training import CROSS_ENTROPY
from ser_generalize.tuning.folds import TUNING, Setup, Tracker, make_tuner
from ser_generalize.tuning.recipe import NO_TUNING

__all__ = ["Cell", "Setup", "run_cell"]

Train = Callable[[Sequence[Task], OnEpoch], list[FoldResult]]

SYNTHETIC = "synthetic"  # the elicitation of what `dataset_scripts.fabricate` makes
CLIP_COLUMNS = tuple(
    name for name, _ in COLUMNS if name not in {"run", "protocol", "fold", "seed", "label"}
)


class Progress:
    """A bar that the threads of a process share, and their way out: Ctrl-C, or a group that failed.

    The other groups then end after their epoch.
    """

    def __init__(self, bar: "tqdm[Any]", scale: float = 1.0) -> None:
        """`scale` is by how much more a clip counts, where its cell is resampled."""
        self._bar, self._scale, self.stopped = bar, scale, Event()

    def of(self, tasks: Sequence[Task]) -> OnEpoch:
        """Return what counts the epochs of a group; an epoch is as long as its training parts."""
        clips = self._scale * clips_of(tasks) / len(tasks)
        return lambda heads: self.count(round(heads * clips))

    def count(self, clips: int) -> None:
        """Count clips that heads were trained on, or end their training."""
        if self.stopped.is_set():
            raise CancelledError
        self._bar.update(clips)


def run_cell(cell: Cell, out: Path, setup: Setup = Setup()) -> None:  # noqa: B008 # is frozen
    """Train and score a cell into the run folder `out`; a finished one returns at once.

    Every process of an `accelerate launch` or `torchrun` takes its share of the folds. A run that
    was killed goes on where it stopped. Raises InputError before anything is written. `setup` is
    for fine-tuning.
    """
    cell.check()
    setup.check(cell)
    with processes(setup.report_to, out / TUNING) as accelerator:
        _run(cell, out, setup, accelerator)


def _run(cell: Cell, out: Path, setup: Setup, accelerator: Accelerator) -> None:
    prepared = in_step(lambda: _prepare(cell, out))
    if prepared is None:
        accelerator.print(f"train: {out} is done already")
        return
    data, folds, features = prepared
    material = Material(cell, data, features, accelerator.device)
    train: Train | None = None
    if cell.tune != NO_TUNING:
        tracker = Tracker(accelerator)
        train = in_step(lambda: make_tuner(material, setup, out / TUNING, tracker)).train
        in_step(lambda: tracker.start(out.name, describe(cell, data)))
    title, show = f"train {cell.sampler}, {len(folds)} folds", accelerator.is_local_main_process
    total = sum(map(clips_of, share_of(material, folds, accelerator))) * cell.epochs
    with progress_bar(total, title, "clip", show) as bar:
        predictions = train_cell(material, folds, out, accelerator, Progress(bar), train)
    if predictions is not None:
        _print_summary(out, predictions)


def _prepare(cell: Cell, out: Path) -> tuple[Data, list[Fold], Features] | None:
    """Check everything, cheap things first, and read the data; None where the run is done."""
    data = read_data(cell)
    if check_run(out, describe(cell, data)):
        return None
    return data, make_folds(cell, data), read_features(cell, data)


def train_cell(
    material: Material,
    folds: Sequence[Fold],
    out: Path,
    accelerator: Accelerator,
    progress: Progress,
    train: Train | None = None,
) -> Predictions | None:
    """Train and score the folds of a cell into a run folder that `check_run` let pass.

    `train` is what is done with a group, by default what trains heads on frozen embeddings.
    All processes share the work; the first one writes the predictions and returns them.
    """
    cell, data, first = material.cell, material.data, accelerator.is_main_process
    description = describe(cell, data)
    in_step(lambda: start_run(out, description, accelerator.num_processes) if first else None)
    share = share_of(material, folds, accelerator)
    train = train or partial(train_group, material)
    workers = workers_of(material, accelerator)
    results = gather_object(_train_folds(material, share, out, workers, progress, train))
    predictions = collect(cell, data, results) if first else None
    if predictions is not None:
        finish_run(out, predictions)
    accelerator.wait_for_everyone()
    return predictions


def share_of(
    material: Material, folds: Sequence[Fold], accelerator: Accelerator
) -> list[list[Task]]:
    """Return the groups of heads that this process trains."""
    together = workers_of(material, accelerator) * accelerator.num_processes
    groups = make_groups(folds, material.cell.seeds, group_size(material), together)
    return groups[accelerator.process_index :: accelerator.num_processes]


def clips_of(tasks: Sequence[Task]) -> int:
    """Return how many clips an epoch of some heads has, before anything is resampled."""
    return sum(len(task.fold.train) for task in tasks)


def _train_folds(
    material: Material,
    share: Sequence[list[Task]],
    out: Path,
    workers: int,
    progress: Progress,
    train: Train,
) -> list[FoldResult]:
    """Train this process's share of the groups, several at a time, one thread each."""

    def results_of(tasks: list[Task]) -> list[FoldResult]:
        found = [load_fold(out, task.index) for task in tasks]
        finished = [result for result in found if result is not None]
        on_epoch = progress.of(tasks)
        if len(finished) == len(tasks):
            on_epoch(len(tasks) * material.cell.epochs)
            return finished
        results = train(tasks, on_epoch)
        for task, result in zip(tasks, results, strict=True):
            save_fold(out, task.index, result)
        return results

    with single_threads(workers) as pool:
        try:
            return [result for results in pool.map(results_of, share) for result in results]
        finally:
            progress.stopped.set()


def workers_of(material: Material, accelerator: Accelerator) -> int:
    """Return how many groups a process trains at a time: one on a GPU, unless heads are linear."""
    on_cpu = accelerator.device.type == "cpu" or material.linear
    return share_of_cores(accelerator) if on_cpu else 1


def collect(cell: Cell, data: Data, results: Sequence[FoldResult]) -> Predictions:
    """Join the folds' probabilities with what the dataset says of every clip, by clip id."""
    about = _about(cell, data, results)
    clip_ids = data.column("clip_id")
    described = zip(*(data.column(name) for name in CLIP_COLUMNS), strict=True)
    said = dict(zip(clip_ids, described, strict=True))
    labels = dict(zip(clip_ids, data.labels, strict=True))
    rows = [
        {
            **dict(zip(CLIP_COLUMNS, said[clip_id], strict=True)),
            "run": about.run,
            "protocol": cell.protocol,
            "fold": result.fold,
            "seed": result.seed,
            **({"label_source": "perceived"} if cell.labels_from == VOTES else {}),
            "label": data.classes[labels[clip_id]],
            **{f"p_{name}": p for name, p in zip(data.classes, chances, strict=True)},
        }
        for result in results
        for clip_id, chances in zip(result.clip_ids, result.probabilities.tolist(), strict=True)
    ]
    return Predictions(about, pa.Table.from_pylist(rows, schema=prediction_schema(about)))


def _about(cell: Cell, data: Data, results: Sequence[FoldResult]) -> About:
    folds = {result.fold for result in results}
    reasons = Counter(why for _, why in {(one.fold, why) for one in results for why in one.notes})
    notes = [f"{count} of {len(folds)} folds: {why}" for why, count in sorted(reasons.items())]
    if SYNTHETIC in data.column("elicitation"):
        notes.append("fabricated speech: these figures say nothing about real voices")
    adaptation = parse_adapt(cell.adapt)
    if adaptation.by != PLAIN:
        notes.append(adaptation.note(data.domains(adaptation.by)))
    if data.store.degradation != NONE:
        notes.append(f"trained on degraded recordings: {data.store.degradation}")
    if data.augmented:
        notes.append(
            "half of the time a training clip is heard in a degraded copy of it: "
            f"{', '.join(data.augmented)}"
        )
    notes += data.notes
    if cell.seeds > 1:
        notes.append(
            f"averaged over {cell.seeds} seeds: confusions count every clip {cell.seeds} times"
        )
    protocol = PROTOCOLS[cell.protocol]
    untested = len(data.clips) - len({clip_id for result in results for clip_id in result.clip_ids})
    if untested:
        notes.append(f"{untested} of {len(data.clips)} clips are not tested: {protocol.untested}")
    return About(
        run=_run_name(cell, data),
        protocol=cell.protocol,
        label_set=cell.labels,
        labels_from=cell.labels_from,
        alternatives=tuple(sorted(cell.alternatives)),
        classes=data.classes,
        encoder=data.store.encoder,
        window=data.store.window,
        head=cell.head,
        sampler=cell.sampler,
        train_on=cell.train_on,
        seeds=cell.seeds,
        adapt=adaptation.name,
        degraded=data.degraded,
        augmented=tuple(data.augmented),
        loss=cell.loss,
        stop=cell.stop,
        epochs=round(median([one.epochs for one in results if one.epochs] or [0])),
        tune=cell.tune,
        tune_epochs=round(median(one.tune_epochs for one in results)),
        temperature=median(one.temperature for one in results),
        dataset=data.fingerprint[:12],
        corpora=tuple(f"{name} {digest:.12}" for name, digest in sorted(data.corpora.items())),
        leaks=protocol.leaks,
        notes=tuple(notes),
    )


def _run_name(cell: Cell, data: Data) -> str:
    """Name a run by what it did, what tells runs apart first: tables cut long names."""
    window = [] if data.store.window == "short" else [data.store.window]
    encoder = [data.store.encoder, *window]
    tuned = "" if cell.tune == NO_TUNING else f"tuned-{cell.tune}"
    unusual = [
        (tuned, ""),
        (data.degraded, NONE),
        (f"trained on {data.store.degradation}", f"trained on {NONE}"),
        (cell.loss, CROSS_ENTROPY),
        (cell.stop, FIXED),
        (cell.labels_from, ACTED),
    ]
    adapted = parse_adapt(cell.adapt).name
    by = [cell.sampler, cell.head, *(asked for asked, usual in unusual if asked != usual)]
    by += sorted(cell.alternatives)
    by += [f"augmented {','.join(data.augmented)}"] if data.augmented else []
    by += [f"layer {','.join(map(str, cell.layers))}"] if cell.layers else []
    by += [f"{cell.pooling} only"] if cell.pooling != heads.BOTH else []
    first = [adapted] if adapted != PLAIN else []
    return " ".join([*first, *by, *encoder, cell.protocol, cell.labels, cell.train_on])


def _print_summary(out: Path, predictions: Predictions) -> None:
    """Say where the run is, and what its reader must know; what it is worth is for `report`."""
    folds = len(set(predictions.column("fold")))
    clips, seeds = len(set(predictions.column("clip_id"))), predictions.about.seeds
    times = f", from {seeds} seeds," if seeds > 1 else ""
    print(f"train: {clips} clips predicted in {folds} folds{times} in {out}")
    for note in predictions.about.notes:
        print(f"train: {note}")
