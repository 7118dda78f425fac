"""The grid: the cells that the parts of a study ask for, each run once, in a folder of its own."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from accelerate import Accelerator

from ser_generalize.benchmark.part import Part, Study
from ser_generalize.benchmark.speed import clips_per_second, duration, training_clips
from ser_generalize.cell import Cell
from ser_generalize.command import progress_bar
from ser_generalize.data import describe
from ser_generalize.errors import InputError
from ser_generalize.experiment import Progress, train_cell
from ser_generalize.launch import in_step
from ser_generalize.predictions import Predictions, read_about, read_predictions
from ser_generalize.reader import Reader, order
from ser_generalize.run import DONE, check_run

RUNS = "runs"
KEPT = 16  # runs in memory: parts look at a few of them at a time


@dataclass(frozen=True)
class Grid:
    """The cells of a study by what they are, their folders, and why some cannot be run."""

    study: Study
    folders: Mapping[Cell, Path]  # in the order in which they are run
    impossible: Mapping[Cell, str]

    @property
    def todo(self) -> list[Cell]:
        """The cells that are not finished."""
        return [cell for cell, folder in self.folders.items() if not (folder / DONE).is_file()]

    @property
    def is_finished(self) -> bool:
        """Whether all is finished that can be."""
        return all(cell in self.impossible for cell in self.todo)

    @property
    def notes(self) -> list[str]:
        """What the finished runs say that their reader must know, and how many of them do."""
        finished = [folder for folder in self.folders.values() if (folder / DONE).is_file()]
        said = Counter(note for folder in finished for note in read_about(folder).notes)
        return [f"{note} ({count} of {len(finished)} runs)" for note, count in said.most_common()]

    def missing(self, part: Part) -> list[str]:
        """Return a line for every cell of a part that has no predictions, and why."""
        lines = []
        for cell in dict.fromkeys(map(self.study.explicit, part.cells(self.study))):
            if cell in self.impossible:
                lines.append(f"{title(cell)}: {self.impossible[cell]}")
            elif not (self.folders[cell] / DONE).is_file():
                lines.append(f"{title(cell)}: not run yet")
        return lines


class FinishedRuns(Mapping[Cell, Predictions]):
    """The predictions of finished cells, by the cells as parts ask for them; read when needed."""

    def __init__(self, grid: Grid, parts: Sequence[Part]) -> None:
        study, self._folders = grid.study, dict[Cell, Path]()
        for cell in (cell for part in parts for cell in part.cells(study)):
            folder = grid.folders.get(study.explicit(cell))
            if folder is not None and (folder / DONE).is_file():
                self._folders[cell] = folder
        self._read = lru_cache(maxsize=KEPT)(read_predictions)

    def __getitem__(self, cell: Cell) -> Predictions:
        return self._read(self._folders[cell])

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)

    def __contains__(self, cell: object) -> bool:  # Mapping's would read the predictions
        return cell in self._folders


def make_grid(study: Study, parts: Sequence[Part], out: Path) -> Grid:
    """Return the cells that some parts ask for; those that share clips come together."""
    cells = {study.explicit(cell) for part in parts for cell in part.cells(study)}
    folders, impossible = {}, {}
    for cell in sorted(cells, key=order):
        try:
            cell.check()
            folders[cell] = out / RUNS / folder_name(cell, study.reader)
        except InputError as error:
            impossible[cell] = str(error)
    return Grid(study, folders, impossible)


def folder_name(cell: Cell, reader: Reader) -> str:
    """Name a run by its content: equal names mean equal predictions."""
    description = describe(cell, reader.data(cell))
    text = json.dumps(description, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{cell.protocol}-{cell.labels}-{cell.train_on}-{cell.sampler}-{digest}"


def title(cell: Cell) -> str:
    """Return what tells a cell from others, in words."""
    plain = Cell(cell.dataset, cell.embeddings)
    named = ("labels_from", "loss", "stop", "adapt")
    unusual = [
        f"{name} {getattr(cell, name)}"
        for name in named
        if getattr(cell, name) != getattr(plain, name)
    ]
    unusual += [f"augmented by {len(cell.augment)} copies"] if cell.augment else []
    unusual += [f"tested on {cell.test_embeddings.name}"] if cell.test_embeddings else []
    few = [" ".join(cell.corpora)] if len(cell.corpora) < 4 else [f"{len(cell.corpora)} corpora"]
    said = [cell.protocol, f"labels {cell.labels}", f"train on {cell.train_on}", cell.sampler]
    return ", ".join([*said, *unusual, *cell.alternatives, *few, cell.embeddings.name])


def run_grid(grid: Grid, accelerator: Accelerator) -> Grid:
    """Train what is not finished, after saying how long that takes; return what then is.

    All processes of a launch take part. A cell over whose clips a protocol has no folds is found
    here: it is reported, and the others go on.
    """
    reader = grid.study.reader
    costs, impossible = in_step(lambda: _costs(grid, reader))
    grid = Grid(grid.study, grid.folders, {**grid.impossible, **impossible})
    if not costs:
        return grid
    rate = in_step(lambda: clips_per_second(reader.material(next(iter(costs))), accelerator))
    total, show = sum(costs.values()), accelerator.is_local_main_process
    accelerator.print(
        f"benchmark: {len(costs)} cells to train ({len(grid.folders) - len(costs)} are done), "
        f"about {duration(total / rate)} by a trial of {rate:,.0f} training clips a second"
    )
    with progress_bar(total // accelerator.num_processes, "benchmark", "clip", show) as bar:
        for number, cell in enumerate(costs, 1):
            bar.set_postfix_str(f"cell {number} of {len(costs)}: {title(cell)}"[:70])
            scale = costs[cell] / _plain_cost(cell, reader)
            _run(grid, cell, reader, accelerator, Progress(bar, scale))
    return grid


def _run(
    grid: Grid, cell: Cell, reader: Reader, accelerator: Accelerator, progress: Progress
) -> None:
    def prepare() -> None:
        check_run(grid.folders[cell], describe(cell, reader.data(cell)))
        reader.material(cell)

    in_step(prepare)
    train_cell(reader.material(cell), reader.folds(cell), grid.folders[cell], accelerator, progress)


def _plain_cost(cell: Cell, reader: Reader) -> int:
    """Return what a `Progress` of the cell counts."""
    clips = sum(len(fold.train) for fold in reader.folds(cell))
    return clips * cell.seeds * cell.recipe.epochs


def _costs(grid: Grid, reader: Reader) -> tuple[dict[Cell, int], dict[Cell, str]]:
    """Return how many clips the heads of every cell are trained on, and what has no folds."""
    costs, impossible = {}, {}
    for cell in grid.todo:
        try:
            costs[cell] = training_clips(cell, reader.folds(cell), reader.data(cell).labels)
        except InputError as error:
            impossible[cell] = str(error)
    return costs, impossible
