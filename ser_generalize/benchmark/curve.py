"""How much of a new voice is needed: heads are trained once, then told of more and more of it.

The same heads score their test speakers knowing none, a few or all of their unlabelled clips, of
any emotion or neutral ones only, drawn several times. The clips known are among those scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import softmax

from ser_generalize.adapt import SIMULATED, SPEAKER, Known, UnlabelledClips, parse_adapt
from ser_generalize.benchmark.grid import folder_name
from ser_generalize.benchmark.part import Study
from ser_generalize.cell import Cell
from ser_generalize.command import progress_bar
from ser_generalize.experiment import collect, workers_of
from ser_generalize.files import staged
from ser_generalize.groups import Material, Task, group_size, make_groups
from ser_generalize.heads import parse_head
from ser_generalize.labels import EMOTIONS
from ser_generalize.launch import joined, single_threads
from ser_generalize.mixture import Rows
from ser_generalize.predictions import FILE_NAME as PREDICTIONS
from ser_generalize.predictions import Predictions, read_predictions, write_predictions
from ser_generalize.protocols import PROTOCOLS, IndivisibleError
from ser_generalize.reader import Reader
from ser_generalize.run import FoldResult
from ser_generalize.training import Training, steps_of

MIXED, NEUTRAL = "clips of any emotion", "neutral clips"
DRAWS = 3  # of which clips are known
NOT_LINEAR = (
    "the curve over numbers of clips needs a head that is trained in epochs; choose another --head"
)


@dataclass(frozen=True)
class Condition:
    """What is known of every speaker: how many clips (None: all) of which kind."""

    kind: str
    clips: int | None

    @property
    def setting(self) -> str:
        """The `setting` of its rows."""
        return f"clips={'all' if self.clips is None else self.clips}"

    @property
    def name(self) -> str:
        """The folder of its predictions."""
        return f"{'neutral' if self.kind == NEUTRAL else 'mixed'}-{self.setting}"

    @property
    def draws(self) -> int:
        """How often the clips are drawn: nothing and everything is the same every time."""
        return DRAWS if self.clips else 1


NOTHING = Condition(MIXED, 0)
CONDITIONS = (
    *(Condition(MIXED, clips) for clips in (*SIMULATED, None)),
    *(Condition(NEUTRAL, clips) for clips in (*SIMULATED[1:], None)),
)


def cell_of(study: Study, protocol: str) -> Cell:
    """Return the cell whose heads are scored."""
    return study.cell(protocol=protocol, adapt=SPEAKER, train_on=PROTOCOLS[protocol].train_on[0])


def measure_curve(study: Study, folder: Path, protocol: str) -> None:
    """Train the heads of a protocol and write their predictions under every condition, at once."""
    reader, cell = study.reader, cell_of(study, protocol)
    where = folder / folder_name(cell, reader)
    if where.is_dir():
        return
    try:
        results = _curve(reader, cell)
    except IndivisibleError as error:
        print(f"benchmark: no curve over clips of new voices: {error}")
        return
    with staged(where) as temporary:
        for condition, found in results.items():
            run = _named(condition, collect(_asked(cell, condition), reader.data(cell), found))
            write_predictions(temporary / condition.name / PREDICTIONS, run)


def read_curve(study: Study, folder: Path, protocol: str) -> dict[Condition, Predictions]:
    """Return what is measured of a protocol, nothing where it is not measured."""
    if not any(folder.glob(f"{protocol}-*")):
        return {}
    where = folder / folder_name(cell_of(study, protocol), study.reader)
    if not where.is_dir():
        return {}
    return {condition: read_predictions(where / condition.name) for condition in CONDITIONS}


def _asked(cell: Cell, condition: Condition) -> Cell:
    few = "" if condition.clips is None else f":{condition.clips}"
    return replace(cell, adapt=f"{SPEAKER}{few}")


def _named(condition: Condition, run: Predictions) -> Predictions:
    """Say of a run by neutral clips that it is one; the rest is said by the cell."""
    if condition.kind != NEUTRAL:
        return run
    few = "all" if condition.clips is None else condition.clips
    adapt = f"{parse_adapt(SPEAKER).name} by {few} neutral clips"
    name = run.about.run.replace(run.about.adapt, adapt)
    return Predictions(replace(run.about, adapt=adapt, run=name), run.table)


def _curve(reader: Reader, cell: Cell) -> dict[Condition, list[FoldResult]]:
    """Return the results of every fold, seed and draw, by what is known of the test speakers."""
    material, folds, accelerator = reader.material(cell), reader.folds(cell), joined()
    known = list(_conditions(material))
    workers = workers_of(material, accelerator)
    groups = make_groups(folds, cell.seeds, group_size(material), workers)
    results: dict[Condition, list[FoldResult]] = {}
    with (
        progress_bar(len(groups), f"curve, {cell.protocol}", "group") as bar,
        single_threads(workers) as pool,
    ):
        for scored in pool.map(lambda tasks: list(_scored(material, tasks, known)), groups):
            for condition, result in scored:
                results.setdefault(condition, []).append(result)
            bar.update()
    return results


def _scored(
    material: Material, tasks: list[Task], conditions: Sequence[tuple[Condition, int, Known]]
) -> Iterator[tuple[Condition, FoldResult]]:
    """Train the heads of some tasks and yield what they say under every condition."""
    training, tasks = _trained(material, tasks)
    tests = [task.fold.test for task in tasks]
    ids = [material.data.clips.select(rows)["clip_id"] for rows in tests]
    for condition, draw, known in conditions:
        for task, clip_ids, logits in zip(tasks, ids, training.predict(tests, known), strict=True):
            yield (
                condition,
                FoldResult(
                    fold=task.fold.name,
                    seed=task.seed * DRAWS + draw,
                    clip_ids=list(clip_ids),
                    probabilities=softmax(logits, axis=1),
                    notes=(),
                    epochs=material.cell.recipe.epochs,
                    temperature=1.0,
                ),
            )


def _trained(material: Material, tasks: list[Task]) -> tuple[Training, list[Task]]:
    """Return the trained heads of some tasks, and the tasks in their order."""
    cell, data = material.cell, material.data
    pairs = [(material.job(task)[0], task) for task in tasks]
    pairs.sort(key=lambda pair: -steps_of(pair[0], cell.recipe))
    jobs, hidden = [job for job, _ in pairs], parse_head(cell.head) or ()
    classes, unlabelled = len(data.classes), material.unlabelled
    training = Training(material.on_device, jobs, hidden, classes, cell.recipe, unlabelled)
    training.run(data.labels, lambda: None)
    return training, [task for _, task in pairs]


def _conditions(material: Material) -> Iterator[tuple[Condition, int, Known]]:
    """Yield what is known of every speaker under every condition, draw by draw."""
    data, unlabelled = material.data, material.unlabelled
    assert unlabelled is not None
    emotions = np.array([*data.clips["emotion"], *data.others["emotion"]], dtype=object)
    neutral = emotions == EMOTIONS.index("neutral")
    for condition in CONDITIONS:
        allowed = [
            rows[neutral[rows]] if condition.kind == NEUTRAL else rows for rows in unlabelled.rows
        ]
        for draw in range(condition.draws):
            yield condition, draw, _drawn(unlabelled, allowed, condition.clips, draw)


def _drawn(
    unlabelled: UnlabelledClips, allowed: Sequence[Rows], clips: int | None, draw: int
) -> Known:
    """Return what so many clips of every speaker say; more clips of a draw include the fewer."""
    generator = np.random.default_rng(draw)
    return unlabelled.known([generator.permutation(rows)[:clips] for rows in allowed])
