"""What a report says before it is drawn: runs by label set, their scores and differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ser_generalize.benchmark.sections import Row
from ser_generalize.errors import InputError
from ser_generalize.labels import VOTES
from ser_generalize.predictions import PLAIN, About, Predictions, read_predictions
from ser_generalize.protocols import LEAKS, tests_clips_again
from ser_generalize.scores import uar
from ser_generalize.statistics import (
    MACRO_AVERAGE,
    Clusters,
    Result,
    compare,
    score,
    speaker_clusters,
)


@dataclass(frozen=True)
class Speaker:
    """One speaker's clips; `uar` is None where the speaker lacks classes that the corpus has."""

    name: str
    clips: int
    uar: float | None
    lacking: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run under a name that is unique in the report."""

    name: str
    predictions: Predictions
    results: Sequence[Result]

    @property
    def about(self) -> About:
        """What was run."""
        return self.predictions.about

    @cached_property
    def clusters(self) -> dict[str, Clusters]:
        """The confusion counts of every corpus by speaker."""
        return speaker_clusters([self.predictions])

    @property
    def leaks(self) -> list[str]:
        """One sentence per promise that the protocol does not make."""
        return [
            LEAKS.get(leak, f"Not kept apart in training and test: {leak}.")
            for leak in self.about.leaks
        ]

    @cached_property
    def crossed(self) -> list[Row]:
        """UAR by the corpus trained on, where a clip is tested by models of several corpora."""
        if not tests_clips_again(self.about.protocol):
            return []
        codes, folds = self.predictions.codes("fold")
        origins, table = (
            np.array([fold.partition(">")[0] for fold in folds]),
            self.predictions.table,
        )
        return [
            _crossed_row(self.about, str(origin), result)
            for origin in np.unique(origins)
            for result in score(Predictions(self.about, table.filter(origins[codes] == origin)))
            if result.corpus != MACRO_AVERAGE
        ]

    @property
    def adapted(self) -> str:
        """What a label set or a corpus is followed by where unlabelled test clips were used."""
        return "" if self.about.adapt == PLAIN else f", {self.about.adapt}"

    def result(self, corpus: str) -> Result | None:
        """Return the result for a corpus, None where there is none."""
        return next((result for result in self.results if result.corpus == corpus), None)

    def values(self, column: str) -> list[str]:
        """Return the distinct values of a column of the predictions, sorted, without nulls."""
        return sorted(set(pc.unique(self.predictions.table[column]).to_pylist()) - {None})

    def classes(self, corpus: str) -> list[str]:
        """Return the classes of which the corpus has test clips: UAR averages over these."""
        present = self.confusion(corpus).sum(-1) > 0
        return [name for name, there in zip(self.about.classes, present, strict=True) if there]

    def confusion(self, corpus: str) -> NDArray[np.int64]:
        """Return a corpus's confusion counts over all seeds, true by predicted, shape [K, K]."""
        return np.asarray(self.clusters[corpus].counts[0].sum(0))

    def speakers(self, corpus: str) -> list[Speaker]:
        """Return the known speakers of a corpus, the one with the highest UAR first."""
        group, classes = self.clusters[corpus], self.about.classes
        present = self.confusion(corpus).sum(-1) > 0
        found = []
        for name, counts in zip(group.speakers, group.counts[0], strict=True):
            lacks = present & (counts.sum(-1) == 0)
            lacking = tuple(label for label, lack in zip(classes, lacks, strict=True) if lack)
            value = None if lacking else float(uar(counts))
            clips = int(counts.sum()) // self.about.seeds
            found.append(Speaker(name, clips, value, lacking))
        return sorted((one for one in found if one.name), key=lambda one: -(one.uar or -1))


def _crossed_row(about: About, origin: str, result: Result) -> Row:
    estimate = result.estimates["uar"]
    return Row(
        part="",
        table="crossed",
        value=estimate.value,
        corpus=result.corpus,
        trained_on=origin,
        protocol=about.protocol,
        adapt=about.adapt,
        low=estimate.interval.low if estimate.interval else None,
        high=estimate.interval.high if estimate.interval else None,
        chance=result.chance,
        clips=result.clips,
        speakers=result.speakers,
        note=estimate.note,
    )


@dataclass(frozen=True)
class Comparison:
    """A run minus the first run of its group; without common clips, `note` says why not."""

    run: Run
    results: Sequence[Result]
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the run that is compared with the first."""
        return self.run.name

    def result(self, corpus: str) -> Result | None:
        """Return the result for a corpus, None where there is none."""
        return next((result for result in self.results if result.corpus == corpus), None)


@dataclass(frozen=True)
class Group:
    """The runs that share a label set, where its labels come from, its map, and an adaptation.

    Scores of other groups are not comparable with them.
    """

    label_set: str
    classes: tuple[str, ...]
    runs: Sequence[Run]
    comparisons: Sequence[Comparison]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read and score run folders.

    Raises InputError for a folder given twice, one that is no finished run and one without clips,
    and for runs that saw a corpus in different states.
    """
    repeated = [
        str(path) for path, times in Counter(map(Path.resolve, folders)).items() if times > 1
    ]
    if repeated:
        raise InputError(f"{repeated[0]} is given more than once; give every run folder once")
    predictions = [read_predictions(folder) for folder in folders]
    names = _unique_names([run.about.run for run in predictions], folders)
    check_same_corpora({name: run.about for name, run in zip(names, predictions, strict=True)})
    return [Run(name, run, score(run)) for name, run in zip(names, predictions, strict=True)]


def check_same_corpora(runs: Mapping[str, About]) -> None:
    """Raise InputError where two runs were made of different states of a corpus, naming all three.

    Their clips, recordings or labels differ, so that their scores do not answer one question.
    """
    seen: dict[str, tuple[str, str]] = {}
    for run, about in runs.items():
        for corpus, _, digest in (named.partition(" ") for named in about.corpora):
            first, known = seen.setdefault(corpus, (run, digest))
            if known != digest:
                raise InputError(
                    f"runs {first!r} and {run!r} are of different data: corpus {corpus} has "
                    f"fingerprint {known} there and {digest} here; report them apart, or train one "
                    "of them again"
                )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs by label set and adaptation, in the order given; the first is compared with.

    A result that knew unlabelled clips of its test speakers is never set against a plain one here.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for run in runs:
        by = " by votes" if run.about.labels_from == VOTES else ""
        maps = "".join(f", {name}" for name in run.about.alternatives)
        label_set = run.about.label_set + by + maps + run.adapted
        groups.setdefault((label_set, run.about.classes), []).append(run)
    return [
        Group(label_set, classes, members, [_compare(members[0], run) for run in members[1:]])
        for (label_set, classes), members in groups.items()
    ]


def _compare(first: Run, run: Run) -> Comparison:
    try:
        return Comparison(run, compare(first.predictions, run.predictions))
    except InputError as error:  # two runs on other corpora are no mistake, only not comparable
        return Comparison(run, [], str(error))


def _unique_names(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Add the folder to names that are not unique, and the number where that is not enough."""
    for suffixes in ([folder.resolve().name for folder in folders], range(1, len(names) + 1)):
        times = Counter(names)
        names = [
            f"{name} ({suffix})" if times[name] > 1 else name
            for name, suffix in zip(names, suffixes, strict=True)
        ]
    return list(names)


def corpora(members: Sequence[Run | Comparison]) -> list[str]:
    """Return the corpora that any member has results for, the macro-average first."""
    names = {result.corpus for one in members for result in one.results}
    return sorted(names, key=lambda name: (name != MACRO_AVERAGE, name))


def missing_intervals(members: Sequence[Run | Comparison]) -> list[str]:
    """Return a line per corpus without an interval that says why."""
    notes = {
        f"* {result.corpus}: {result.estimates['uar'].note}": None  # a dictionary keeps the order
        for one in members
        for result in one.results
        if result.estimates["uar"].note
    }
    return list(notes)


def class_notes(runs: Sequence[Run]) -> list[str]:
    """Return a line per corpus that lacks classes: over which ones its scores are averaged."""
    notes: dict[str, None] = {}  # a dictionary keeps the order
    for run in runs:
        for corpus in run.clusters:
            here, all_of_them = run.classes(corpus), run.about.classes
            if len(here) < len(all_of_them):
                share = f"{len(here)} of {len(all_of_them)} classes ({', '.join(here)})"
                notes[f"averages on {corpus} are over {share}: it tests no other"] = None
    return list(notes)


def macro_notes(members: Sequence[Run | Comparison]) -> list[str]:
    """Return a line that says which corpora the macro-averages cover, where they differ."""
    covered: dict[str, list[str]] = {}
    for one in members:
        if one.result(MACRO_AVERAGE):
            names = ", ".join(name for name in corpora([one]) if name != MACRO_AVERAGE)
            covered.setdefault(names, []).append(one.name)
    parts = [f"over {names} for {', '.join(found)}" for names, found in covered.items()]
    return [f"the macro-average is {'; '.join(parts)}"] if len(parts) > 1 else []


def percent(share: float) -> str:
    """Format a share in [0, 1] as percent with one decimal."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Format a difference of shares as points of a hundred with its sign; zero has none."""
    rounded = f"{100 * difference:+.1f}"
    return "0.0" if float(rounded) == 0 else rounded.replace("-", "−")


def swarm(values: Sequence[float], gap: float) -> list[int]:
    """Return the row, 0 at the bottom, at which each dot is drawn so that none hides another.

    Takes values in [0, 1]; a dot moves up until it is at least `gap` from all dots of its row.
    """
    rows, last = [0] * len(values), list[float]()
    for index in sorted(range(len(values)), key=values.__getitem__):
        free = (row for row, value in enumerate(last) if values[index] - value >= gap)
        row = next(free, len(last))
        last[row : row + 1] = [values[index]]
        rows[index] = row
    return rows
