"""How UAR grows with the number of a speaker's unlabelled clips that a trained head is told of.

    python tests/benchmarks/calibration_curve.py --dataset data --embeddings embeddings

Leaves one speaker out, with the head and the training of `train --adapt speaker`; the same heads
then score their test speaker knowing 0, 1, 2, 5, 10, 20 or all of the speaker's clips, or as many
neutral ones, drawn at random several times. Prints UAR in percent and its difference to no clip in
points, with 95 % intervals over speakers. The clips known are among those scored.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from ser_generalize.adapt import SPEAKER, Known, UnlabelledClips
from ser_generalize.cell import Cell, Data, make_folds, read_data, read_features
from ser_generalize.experiment import collect
from ser_generalize.groups import Material, Task, group_size, make_groups
from ser_generalize.heads import parse_head
from ser_generalize.predictions import Predictions
from ser_generalize.run import FoldResult
from ser_generalize.statistics import Estimate, compare, score
from ser_generalize.training import Training, steps_of

ALL = 10**6
COUNTS = (0, 1, 2, 5, 10, 20, ALL)
DRAWS = 5
MIXED, NEUTRAL = "mixed", "neutral only"
Condition = tuple[str, int]


def main() -> None:
    """Train every fold once for every seed, score it under all conditions and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--embeddings", required=True, type=Path)
    parser.add_argument("--corpora", nargs="+", default=())
    parser.add_argument("--labels", default="four")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    cell = Cell(given.dataset, given.embeddings, labels=given.labels, adapt=SPEAKER,
                seeds=given.seeds, corpora=tuple(given.corpora))  # fmt: skip
    cell.check()
    data = read_data(cell)
    material = Material(cell, data, read_features(cell, data), torch.device("cpu"))
    print_curve(cell, data, curve(material))


def curve(material: Material) -> dict[Condition, list[FoldResult]]:
    """Return the results of every fold, seed and draw, by what is known of the test speakers."""
    folds = make_folds(material.cell, material.data)
    results: dict[Condition, list[FoldResult]] = {}
    for tasks in make_groups(folds, material.cell.seeds, group_size(material), 1):
        training, tasks = trained(material, tasks)
        for condition, draw, known in conditions(material):
            logits = training.predict([task.fold.test for task in tasks], known)
            results.setdefault(condition, []).extend(
                FoldResult(
                    task.fold.name,
                    task.seed * DRAWS + draw,
                    material.data.clips.select(task.fold.test)["clip_id"],
                    softmax(one, axis=1),
                    (),
                    epochs=material.cell.recipe.epochs,
                    temperature=1.0,
                )
                for task, one in zip(tasks, logits, strict=True)
            )
    return results


def trained(material: Material, tasks: list[Task]) -> tuple[Training, list[Task]]:
    """Return the trained heads of some tasks, and the tasks in their order."""
    cell, data = material.cell, material.data
    pairs = [(material.job(task)[0], task) for task in tasks]
    pairs.sort(key=lambda pair: -steps_of(pair[0], cell.recipe))
    jobs, hidden = [job for job, _ in pairs], parse_head(cell.head) or ()
    training = Training(material.on_device, jobs, hidden, len(data.classes), cell.recipe,
                        material.unlabelled)  # fmt: skip
    training.run(data.labels, lambda: None)
    return training, [task for _, task in pairs]


def conditions(material: Material) -> Iterator[tuple[Condition, int, Known]]:
    """Yield what is known of every speaker: of which clips how many, and which draw of them."""
    unlabelled, data = material.unlabelled, material.data
    assert unlabelled is not None
    emotions = np.array([*data.clips["emotion"], *data.others["emotion"]], dtype=object)
    for kind, may_be in ((MIXED, emotions == emotions), (NEUTRAL, emotions == 0)):
        for count in COUNTS:
            for draw in range(DRAWS):
                yield (kind, count), draw, _drawn(unlabelled, may_be, count, draw)


def _drawn(unlabelled: UnlabelledClips, may_be: NDArray[np.bool_], count: int, draw: int) -> Known:
    """Return what `count` clips of every speaker say; more clips of a draw include the fewer."""
    generator = np.random.default_rng(draw)
    allowed = [rows[may_be[rows]] for rows in unlabelled.rows]
    return unlabelled.known([generator.permutation(rows)[:count] for rows in allowed])


def print_curve(cell: Cell, data: Data, results: dict[Condition, list[FoldResult]]) -> None:
    """Print a row per corpus and condition."""
    runs = {condition: collect(cell, data, found) for condition, found in results.items()}
    emotions = [*data.clips["emotion"], *data.others["emotion"]]
    speakers = [*data.clips["speaker"], *data.others["speaker"]]
    print(f"{data.store.encoder}, {cell.labels}, {len(set(speakers))} speakers, {len(emotions)} "
          f"clips, {cell.seeds} seeds, {DRAWS} draws")  # fmt: skip
    for (kind, count), run in runs.items():
        for line in _lines(run, runs[kind, 0]):
            print(f"{kind:13}{'all' if count == ALL else count:>4}  {line}", flush=True)


def _lines(run: Predictions, none: Predictions) -> Iterator[str]:
    for result, minus in zip(score(run), compare(none, run), strict=True):
        uar, difference = result.estimates["uar"], minus.estimates["uar"]
        yield f"{result.corpus:15}{_percent(uar)}   minus none {_percent(difference, '+')}"


def _percent(estimate: Estimate, sign: str = "") -> str:
    ends = estimate.interval
    shown = f"({100 * ends.low:{sign}.1f} to {100 * ends.high:{sign}.1f})" if ends else "(none)"
    return f"{100 * estimate.value:{sign}5.1f} {shown}"


if __name__ == "__main__":
    main()
