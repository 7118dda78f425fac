"""Every set of corpora as a training set: trained once, tested on every corpus outside of it.

What is kept of a set is how often each class of each speaker was taken for which: one Parquet file
for every group of heads that was trained together, so that a study that is killed loses one group.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator
from numpy.typing import NDArray

from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.shapley import Game, Subset, sampling_order
from ser_generalize.benchmark.speed import clips_per_second, duration
from ser_generalize.cell import Cell
from ser_generalize.command import progress_bar
from ser_generalize.data import Data, describe
from ser_generalize.experiment import Progress, workers_of
from ser_generalize.files import staged, write_text
from ser_generalize.groups import Material, Task, group_size, train_jobs
from ser_generalize.launch import in_step, joined, single_threads
from ser_generalize.protocols import UNION, Fold

PLAN = "plan.json"
SCHEMA = pa.schema(
    {
        "trained_on": pa.string(),  # corpora joined by "+"
        "corpus": pa.string(),
        "speaker": pa.string(),  # null: all clips of unknown speaker
        "counts": pa.list_(pa.int32()),  # true by predicted, row after row
    }
)


@dataclass(frozen=True)
class Plan:
    """Which sets are trained on: the first ones of the sampling order, or all."""

    sets: Sequence[Subset]
    all_sets: int
    least: int  # with fewer, some mean would have no set to be over
    seconds: float  # that all of them would take

    @property
    def is_sample(self) -> bool:
        """Whether some sets are left out."""
        return len(self.sets) < self.all_sets


def cell_of(study: Study) -> Cell:
    """Return the cell whose clips and head are used, from a single seed."""
    return study.cell(protocol="loco", train_on=UNION, seeds=1)


def folder_of(study: Study, folder: Path) -> Path:
    """Name the folder by its content, as those of cells are."""
    cell = cell_of(study)
    text = json.dumps(describe(cell, study.reader.data(cell)), sort_keys=True)
    return folder / f"sets-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def train_sets(study: Study, folder: Path) -> None:
    """Train on every set of corpora, or on as many as the budget allows; what is done stays."""
    if len(study.corpora) < 2:
        return
    accelerator = joined()
    reader, cell = study.reader, cell_of(study)
    where = in_step(lambda: folder_of(study, folder))
    plan = read_plan(study, where)
    if plan is not None and len(done_sets(where)) >= len(plan.sets):
        return
    in_step(lambda: reader.folds(cell))  # proves that no corpus shares a speaker with another
    material = in_step(lambda: reader.material(cell))
    if plan is None:
        plan = in_step(lambda: _make_plan(study, material, accelerator))
        if accelerator.is_main_process:
            _write_plan(study, where, plan)
    accelerator.wait_for_everyone()
    _train(study, material, plan, where, accelerator)


def _make_plan(study: Study, material: Material, accelerator: Accelerator) -> Plan:
    """Take the sets that the budget allows, all or none of the least; say how long they take."""
    order, least = sampling_order(len(study.corpora))
    rate = clips_per_second(material, accelerator)
    corpus = material.data.column("corpus")
    clips = np.array([np.count_nonzero(corpus == name) for name in study.corpora])
    cost = np.array([clips[list(one)].sum() for one in order]) * material.cell.recipe.epochs
    ends = np.cumsum(cost) / rate
    count = int(np.searchsorted(ends, 60 * study.budget, side="right"))
    if count < least:
        count = 0
    plan = Plan(order[:count], len(order), least, float(ends[-1]))
    taken = duration(float(ends[count - 1])) if count else "no time"
    accelerator.print(
        f"benchmark: all {len(order):,} sets of corpora to train on take about "
        f"{duration(plan.seconds)}; with --budget {study.budget:g} minutes, {count:,} of them are "
        f"trained, about {taken}"
    )
    return plan


def read_plan(study: Study, where: Path) -> Plan | None:
    """Return the plan that was made under this budget, None where there is none."""
    if not (where / PLAN).is_file():
        return None
    saved = json.loads((where / PLAN).read_text(encoding="utf-8"))
    if saved["budget"] != study.budget:
        return None
    order, least = sampling_order(len(study.corpora))
    return Plan(order[: saved["sets"]], len(order), least, saved["seconds"])


def _write_plan(study: Study, where: Path, plan: Plan) -> None:
    saved = {"budget": study.budget, "sets": len(plan.sets), "seconds": plan.seconds}
    write_text(where / PLAN, json.dumps(saved) + "\n")


def _train(
    study: Study, material: Material, plan: Plan, where: Path, accelerator: Accelerator
) -> None:
    """Train this process's share of what is left, the largest sets first."""
    done, corpus = done_sets(where), material.data.column("corpus")
    tasks = [_task(study, corpus, one) for one in plan.sets]
    tasks = sorted(
        (task for task in tasks if task.fold.name not in done),
        key=lambda task: (-len(task.fold.train), task.fold.name),
    )
    size, workers = group_size(material), workers_of(material, accelerator)
    groups = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    share = groups[accelerator.process_index :: accelerator.num_processes]
    epochs, show = material.cell.recipe.epochs, accelerator.is_local_main_process
    voices = Voices(material.data)
    total = sum(len(task.fold.train) for group in share for task in group) * epochs
    with (
        progress_bar(total, "sets of corpora", "clip", show) as bar,
        single_threads(workers) as pool,
    ):
        progress = Progress(bar)
        try:
            list(pool.map(lambda one: _train_group(material, voices, one, where, progress), share))
        finally:
            progress.stopped.set()
    accelerator.wait_for_everyone()


def _task(study: Study, corpus: NDArray[np.object_], one: Subset) -> Task:
    names = [study.corpora[place] for place in one]
    inside = np.isin(corpus.astype(str), names)
    return Task(0, Fold("+".join(names), np.flatnonzero(inside), np.flatnonzero(~inside)), seed=0)


def _train_group(
    material: Material, voices: "Voices", tasks: Sequence[Task], where: Path, progress: Progress
) -> None:
    jobs = [material.job(task)[0] for task in tasks]
    heads = train_jobs(material, jobs, progress.of(tasks))
    rows = [
        row
        for task, head in zip(tasks, heads, strict=True)
        for row in voices.rows(task.fold, head.probabilities)
    ]
    names = hashlib.sha256(" ".join(task.fold.name for task in tasks).encode()).hexdigest()
    with staged(where / f"{names[:16]}.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary, compression="zstd")


class Voices:
    """The speakers of all clips as numbers; those unknown count as one for every corpus."""

    def __init__(self, data: Data) -> None:
        self._labels, self._classes = data.labels, len(data.classes)
        pairs = list(zip(data.clips["corpus"], data.clips["speaker"], strict=True))
        self._names = sorted(set(pairs), key=lambda pair: (pair[0], pair[1] or ""))
        number = {pair: place for place, pair in enumerate(self._names)}
        self._codes = np.array([number[pair] for pair in pairs])

    def rows(self, fold: Fold, probabilities: NDArray[np.float32]) -> Iterator[dict[str, object]]:
        """Yield how a head confused the clips of every speaker; it predicts no class unheard of."""
        learnt = np.isin(np.arange(self._classes), self._labels[fold.train])
        predicted = np.where(learnt, probabilities, -1.0).argmax(1)
        cells, codes = self._classes**2, self._codes[fold.test]
        index = codes * cells + self._labels[fold.test] * self._classes + predicted
        counts = np.bincount(index, minlength=len(self._names) * cells)
        for code in np.unique(codes):
            corpus, speaker = self._names[code]
            yield {
                "trained_on": fold.name,
                "corpus": corpus,
                "speaker": speaker,
                "counts": counts[code * cells : (code + 1) * cells].tolist(),
            }


def done_sets(where: Path) -> set[str]:
    """Return the names of the sets that were trained on."""
    files = where.glob("[!.]*.parquet")
    return {name for file in files for name in pq.read_table(file)["trained_on"].to_pylist()}


def read_games(study: Study, plan: Plan, where: Path) -> dict[str, Game]:
    """Return the game of every tested corpus over the sets of a plan, all of them trained on."""
    files = sorted(where.glob("[!.]*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files])
    place = {_name(study, one): number for number, one in enumerate(plan.sets)}
    number = np.array([place.get(name, -1) for name in table["trained_on"].to_pylist()])
    corpus = np.array(table["corpus"].to_pylist(), dtype=object)
    speaker = np.array([name or "" for name in table["speaker"].to_pylist()], dtype=object)
    counts = np.array(table["counts"].to_pylist())
    games = {}
    for name in study.corpora:
        here = (corpus == name) & (number >= 0)
        games[name] = _game(study, plan, name, number[here], speaker[here], counts[here])
    return games


def _game(
    study: Study,
    plan: Plan,
    tested: str,
    number: NDArray[np.int64],
    speaker: NDArray[np.object_],
    counts: NDArray[np.int64],
) -> Game:
    sets, set_index = np.unique(number, return_inverse=True)
    speakers, speaker_index = np.unique(speaker, return_inverse=True)
    classes = round(counts.shape[1] ** 0.5)
    confusions = np.zeros((len(sets), len(speakers), classes, classes))
    confusions[set_index, speaker_index] = counts.reshape(-1, classes, classes)
    clips = confusions[0].sum(-1)  # of true classes: the same whatever was trained on
    present = clips.sum(0) > 0
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    others = [place for place, name in enumerate(study.corpora) if name != tested]
    members = np.array([[place in plan.sets[one] for place in others] for one in sets])
    known = len([name for name in speakers if name])
    return Game(sets, members, hits[..., present], clips[:, present], known)


def _name(study: Study, one: Subset) -> str:
    return "+".join(study.corpora[place] for place in one)
