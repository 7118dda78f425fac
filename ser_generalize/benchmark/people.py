"""Groups of speakers and clips: whom a model hears less well, and how sure that is."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ser_generalize.benchmark.foreign import foreign_section, measure_foreign
from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    adjusted,
    estimated,
    in_words,
    is_clear,
    of_about,
    score_rows,
    where,
)
from ser_generalize.benchmark.sections import DIFFERENCE, Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.predictions import Predictions
from ser_generalize.scores import Counts
from ser_generalize.significance import exchange_test, smallest_exchange_p
from ser_generalize.statistics import (
    MACRO_AVERAGE,
    Clusters,
    Sampled,
    difference_estimate,
    macro_average,
    sample,
    speaker_clusters,
    unpaired,
)

NAME = "groups"
QUESTION = "Whom does a model hear less well, and does English carry over to other languages?"
TITLE = "Groups of speakers"
BANDS = ((30, "under 30"), (45, "30 to 44"), (60, "45 to 59"), (200, "60 and over"))  # years

Values = NDArray[np.object_]


def _bands(ages: Values) -> Values:
    def band(age: int | None) -> str | None:
        return None if age is None else next(name for end, name in BANDS if age < end)

    return np.array([band(age) for age in ages], dtype=object)


def _as_is(values: Values) -> Values:
    return values


# What clips are grouped by: a column of the predictions, and how its values are put into groups.
GROUPINGS: Mapping[str, Callable[[Values], Values]] = {
    "sex": _as_is,
    "age": _bands,
    "language": _as_is,
    "elicitation": _as_is,
}


@dataclass(frozen=True)
class Gap:
    """Two groups within a corpus; `sampled` is the second minus the first."""

    corpus: str
    groups: tuple[str, str]
    counts: tuple[Counts, Counts]  # of the classes that both have
    clips: int
    speakers: tuple[int, int]

    @property
    def sampled(self) -> Sampled:
        """The difference in UAR, of independent speakers."""
        first, second = (sample(counts[None])["uar"] for counts in self.counts)
        return unpaired(first, second)


def cells(study: Study) -> list[Cell]:
    """Return leave-one-speaker-out within every corpus."""
    return [study.cell()]


def sections(study: Study, runs: Runs, folder: Path) -> Sequence[Section]:
    """Return the groups that the predictions tell apart, and what English carries over to."""
    run = next((runs[cell] for cell in cells(study) if cell in runs), None)
    return [_groups(run), foreign_section(study, folder, NAME, QUESTION)]


def _groups(run: Predictions | None) -> Section:
    if run is None:
        return Section(NAME, TITLE, QUESTION, notes=["leave one speaker out is not finished"])
    tables, figures, findings, notes = [], [], list[str](), list[str]()
    for column, grouped in GROUPINGS.items():
        parts = _parts(run, column, grouped)
        scores = [
            row
            for name, part in parts.items()
            for row in score_rows(NAME, column, part, setting=f"{column}={name}")
        ]
        gaps = _tested(_gap_rows(parts, column, run))
        shown = ("corpus", "setting")
        caption = "Leave one speaker out within every corpus; clips of a group are scored together."
        tables.append(Table(column, f"UAR by {column}", caption, scores, shown))
        if not gaps:
            notes.append(f"{column}: no corpus has two groups of speakers to compare")
            continue
        caption = "Within a corpus, over the classes that both have; speakers are independent."
        tables.append(Table(f"{column}-gap", f"Gaps by {column}", caption, gaps, shown))
        figures.append(
            Figure(f"{column}-gap", "intervals", f"Gaps by {column}", caption, gaps,
                   series="setting")
        )  # fmt: skip
        findings += _findings(gaps)
    findings.sort(key=lambda said: "no gap" in said)
    return Section(NAME, TITLE, QUESTION, findings, tables, figures, notes)


def _parts(
    run: Predictions, column: str, grouped: Callable[[Values], Values]
) -> dict[str, Predictions]:
    """Return the clips of every group; those whose group is unknown are in none."""
    values = grouped(run.column(column))
    return {
        name: Predictions(run.about, run.table.filter(pa.array(values == name)))
        for name in sorted(set(values) - {None})
    }


def _tested(found: Iterable[tuple[Row, float]]) -> list[Row]:
    """Return gaps with adjusted p-values: averages over corpora are a family, corpora another."""
    kinds: dict[bool, list[tuple[Row, float]]] = {True: [], False: []}
    for row, smallest in found:
        kinds[row.corpus == MACRO_AVERAGE].append((row, smallest))
    return [
        row
        for kind in kinds.values()
        for row in adjusted([row for row, _ in kind], [smallest for _, smallest in kind])
    ]


def _gap_rows(
    parts: Mapping[str, Predictions], column: str, run: Predictions
) -> Iterator[tuple[Row, float]]:
    """Yield the gap between two groups of a corpus, or of each group to all others; their mean.

    With every one comes the smallest p-value that it can have.
    """
    clusters = {name: speaker_clusters([part]) for name, part in parts.items()}
    by_groups: dict[tuple[str, str], list[Gap]] = {}
    for corpus in sorted({corpus for found in clusters.values() for corpus in found}):
        here = {name: found[corpus] for name, found in clusters.items() if corpus in found}
        for gap in _gaps(corpus, here):
            by_groups.setdefault(gap.groups, []).append(gap)
    for (first, second), gaps in by_groups.items():
        said = {**of_about(run.about), "setting": f"{column}: {second} minus {first}"}
        for gap in gaps:
            yield _row(column, [gap], gap.corpus, gap.sampled, said)
        several = [gap for gap in gaps if min(gap.speakers) > 1]
        if len(several) > 1:
            average = macro_average([gap.sampled for gap in several])
            yield _row(column, several, MACRO_AVERAGE, average, said)


def _gaps(corpus: str, groups: Mapping[str, Clusters]) -> Iterator[Gap]:
    names = list(groups)
    if len(names) < 2:
        return
    pairs = [(names[0], names[1])] if len(names) == 2 else [("all others", name) for name in names]
    for first, second in pairs:
        against = [first] if first in groups else [name for name in names if name != second]
        gap = _gap(corpus, (first, second), [groups[name] for name in against], groups[second])
        if gap is not None:
            yield gap


def _gap(
    corpus: str, names: tuple[str, str], others: Sequence[Clusters], group: Clusters
) -> Gap | None:
    """Return two groups by their classes in common; None where they share speakers or no class.

    Clips of unknown speaker are left out: they may be anybody's.
    """
    counted = [_by_speaker([group]), _by_speaker(others)]
    if set(counted[0]) & set(counted[1]) or not all(counted):
        return None
    second, first = (np.stack(list(one.values())) for one in counted)
    shared = (first.sum((0, 2)) > 0) & (second.sum((0, 2)) > 0)
    if shared.sum() < 2:
        return None
    counts = (first * shared[:, None], second * shared[:, None])
    clips = sum(one.clips for one in (group, *others))
    return Gap(corpus, names, counts, clips, (len(first), len(second)))


def _by_speaker(groups: Sequence[Clusters]) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    for group in groups:
        for name, counts in zip(group.speakers, group.counts[0], strict=True):
            if name:
                found[name] = found.get(name, 0) + counts
    return found


def _row(
    column: str, gaps: Sequence[Gap], corpus: str, sampled: Sampled, said: dict[str, Any]
) -> tuple[Row, float]:
    """Return a gap, or the average of some, and the smallest p-value that it can have."""
    sizes = [gap.speakers for gap in gaps]
    row = Row(
        NAME,
        f"{column}-gap",
        corpus=corpus,
        kind=DIFFERENCE,
        clips=sum(gap.clips for gap in gaps),
        speakers=sum(map(sum, sizes)),
        p=exchange_test([gap.counts for gap in gaps]),
        **said,
        **estimated(difference_estimate(sampled, sum(map(min, sizes)))),
    )
    return row, smallest_exchange_p(sizes)


def _findings(gaps: Sequence[Row]) -> Iterator[str]:
    """Yield every gap that is one, else that there is none to be seen."""
    clear = [row for row in gaps if is_clear(row)]
    yield from (f"{row.setting} {where(row)}: {in_words(row)} points of UAR" for row in clear)
    settings = {row.setting for row in clear}
    for row in _widest([row for row in gaps if row.setting not in settings]):
        yield f"{row.setting}: no gap that chance would not make {where(row)}, {in_words(row)}"


def _widest(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield a row per setting: the average over corpora, or of one corpus its own."""
    for setting in dict.fromkeys(row.setting for row in rows):
        yield max(
            (row for row in rows if row.setting == setting),
            key=lambda row: (row.corpus == MACRO_AVERAGE, row.speakers),
        )


def measure(study: Study, folder: Path) -> None:
    """Train on English and test every other language."""
    measure_foreign(study, folder)


GROUPS = Part(NAME, QUESTION, cells, sections, measure)
