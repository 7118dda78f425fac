"""Every paired difference of UAR among runs, as the README states them.

    python tests/benchmarks/compare_runs.py runs/*
    python tests/benchmarks/compare_runs.py runs/* --speakers ravdess:07 ravdess:08

`report` compares with its first run only; this prints all pairs, in points, with 95 % intervals
over speakers (not corrected for their number). With `--speakers` only their test clips count, and
the UAR of every run on them comes first.
"""

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa

from ser_generalize.predictions import Predictions, read_predictions
from ser_generalize.scores import confusion, uar
from ser_generalize.statistics import compare


def main() -> None:
    """Read the runs and print either table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--speakers", nargs="+")
    arguments = parser.parse_args()
    runs = {_name(path, run): run for path in arguments.runs for run in [read_predictions(path)]}
    if arguments.speakers:
        runs = {name: of_speakers(run, arguments.speakers) for name, run in runs.items()}
        print_scores(runs)
    print_pairs(runs)


def _name(path: Path, run: Predictions) -> str:
    """Name a run, and say where it knew unlabelled clips of its test speakers."""
    return path.name if run.about.adapt == "none" else f"{path.name} [{run.about.adapt}]"


def print_pairs(runs: dict[str, Predictions]) -> None:
    """Print UAR of the second run minus the first for every pair and corpus."""
    for first, second in combinations(runs, 2):
        for result in compare(runs[first], runs[second]):
            difference = result.estimates["uar"]
            ends = difference.interval
            interval = f"({100 * ends.low:+.1f} to {100 * ends.high:+.1f})" if ends else "(none)"
            mark = " *" if ends and (ends.low > 0 or ends.high < 0) else ""
            value = f"{100 * difference.value:+5.1f}"
            print(f"{second} - {first}, {result.corpus}: {value} {interval}{mark}")


def of_speakers(run: Predictions, speakers: list[str]) -> Predictions:
    """Return what a run says of some speakers' clips."""
    wanted = np.isin(run.column("speaker").astype(str), speakers)
    return replace(run, table=run.table.filter(pa.array(wanted)))


def print_scores(runs: dict[str, Predictions]) -> None:
    """Print the pooled UAR of every run and corpus."""
    for name, run in runs.items():
        corpora, predicted = run.column("corpus"), run.probabilities().argmax(1)
        for corpus in sorted(set(corpora)):
            rows = corpora == corpus
            counts = confusion(run.labels()[rows], predicted[rows], len(run.about.classes))
            print(f"{name}, {corpus}: {100 * float(uar(counts)):.1f} ({rows.sum()} clips)")


if __name__ == "__main__":
    main()
