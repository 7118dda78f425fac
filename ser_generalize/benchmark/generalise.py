"""Generalisation proper: corpora that were never trained on, how many it takes, and which ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pyarrow.compute as pc

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    UAR,
    difference_rows,
    families,
    in_words,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.benchmark.subsets import train_sets
from ser_generalize.benchmark.worth import worth_section
from ser_generalize.cell import Cell
from ser_generalize.predictions import Predictions
from ser_generalize.protocols import EACH, MATCHED, UNION
from ser_generalize.scores import METRICS
from ser_generalize.statistics import MACRO_AVERAGE
from ser_generalize.summary import percent

NAME = "generalise"
QUESTION = "How well does a model recognise emotions in a corpus that it was not trained on?"
SIZES = {
    EACH: "the corpus itself",
    MATCHED: "as many clips of all corpora",
    UNION: "the union",
}
ONE_CORPUS = (
    "this part needs two corpora and the study has one; name more with --corpora, or add those in "
    "other languages with --languages all"
)
FEWEST_TO_ABLATE = 3  # of two, the union without one is the other one by itself


def cells(study: Study) -> list[Cell]:
    """Return the cells that train on other corpora than they test, or on fewer, or on less."""
    if len(study.corpora) < 2:
        return []
    return [*_across(study).values(), *_sizes(study).values(), *_ablated(study).values()]


def _across(study: Study) -> dict[str, Cell]:
    return {
        "loco": study.cell(protocol="loco", train_on=UNION),
        "cross": study.cell(protocol="cross"),
    }


def _sizes(study: Study) -> dict[str, Cell]:
    return {way: study.cell(train_on=way) for way in SIZES}


def _ablated(study: Study) -> dict[str, Cell]:
    """Return the union without every corpus."""
    if len(study.corpora) < FEWEST_TO_ABLATE:
        return {}
    return {
        left_out: study.cell(
            train_on=UNION, corpora=tuple(name for name in study.corpora if name != left_out)
        )
        for left_out in study.corpora
    }


def sections(study: Study, runs: Runs, folder: Path) -> Sequence[Section]:
    """Return what the cells and the sets of corpora say, as far as they are finished."""
    if len(study.corpora) < 2:
        return [Section(NAME, "Generalisation", QUESTION, notes=[ONE_CORPUS])]
    across = {name: runs[cell] for name, cell in _across(study).items() if cell in runs}
    sizes = {way: runs[cell] for way, cell in _sizes(study).items() if cell in runs}
    ablated = {name: runs[cell] for name, cell in _ablated(study).items() if cell in runs}
    return [
        _across_section(across, sizes.get(EACH)),
        _size_section(sizes, ablated),
        worth_section(study, folder, NAME),
    ]


def _across_section(across: Mapping[str, Predictions], own: Predictions | None) -> Section:
    """Return what is left of UAR on corpora that were not trained on."""
    tables, figures, findings = [], [], list[str]()
    if (loco := across.get("loco")) is not None:
        rows = score_rows(NAME, f"{NAME}-loco", loco, tuple(METRICS), pooled=True)
        title, caption = "Leave one corpus out", "Trained on all other corpora."
        tables.append(Table(f"{NAME}-loco", title, caption, rows, ("corpus", "metric")))
        findings += [
            f"trained on all other corpora, UAR is {in_words(row)} in the macro-average, where "
            f"guessing gives {percent(row.chance or 0)}"
            for row in rows
            if row.corpus == MACRO_AVERAGE and row.metric == UAR
        ]
        if own is not None:
            tables.append(_own_speakers(own, loco))
            findings += _averages(tables[-1].rows, "all other corpora", "the corpus's own speakers")
    if (cross := across.get("cross")) is not None:
        title, matrix = "From one corpus to another", _matrix(cross, own)
        caption = (
            "A row is the corpus trained on, a column the one tested; on the diagonal, speakers of "
            "the corpus itself, one left out at a time."
        )
        shown, name = ("trained_on", "corpus"), f"{NAME}-cross"
        tables.append(Table(name, title, caption, matrix, shown, *shown))
        figures.append(Figure(name, "matrix", title, caption, matrix, "trained_on", "corpus"))
        findings += _extremes(matrix)
    return Section(NAME, "Corpora never heard", QUESTION, findings, tables, figures)


def _own_speakers(own: Predictions, loco: Predictions) -> Table:
    name, title = f"{NAME}-loco-minus-own", "What is lost without the tested corpus"
    caption = "Leave one corpus out minus leave one speaker out within the corpus, paired by clip."
    return Table(name, title, caption, families(difference_rows(NAME, name, own, loco)))


def _averages(rows: Sequence[Row], second: str, first: str) -> list[str]:
    return [verdict(row, second, first) for row in rows if row.corpus == MACRO_AVERAGE]


def _matrix(cross: Predictions, own: Predictions | None) -> list[Row]:
    """Return UAR from every corpus to every other one, and within each where that was run."""
    rows = []
    for fold in sorted(set(cross.column("fold"))):
        table = cross.table.filter(pc.equal(cross.table["fold"], fold))
        trained_on = fold.partition(">")[0]
        run = Predictions(cross.about, table)
        rows += score_rows(NAME, f"{NAME}-cross", run, trained_on=trained_on)
    if own is not None:
        within = score_rows(NAME, f"{NAME}-cross", own)
        rows += [
            replace(row, trained_on=row.corpus) for row in within if row.corpus != MACRO_AVERAGE
        ]
    return sorted(rows, key=lambda row: (row.trained_on, row.corpus))


def _extremes(matrix: Sequence[Row]) -> Iterator[str]:
    """Yield the best and the worst pair of different corpora, over chance."""
    pairs = [row for row in matrix if row.trained_on != row.corpus]
    ordered = sorted(pairs, key=lambda row: row.value - (row.chance or 0))
    for word, row in (("best", ordered[-1]), ("worst", ordered[0]))[: len(ordered)]:
        yield f"the {word} pair is {row.trained_on} to {row.corpus}: UAR {in_words(row)}"


def _size_section(sizes: Mapping[str, Predictions], ablated: Mapping[str, Predictions]) -> Section:
    """Return what the union adds, how much of that is its size, and what each corpus adds to it."""
    tables, findings, notes = [], list[str](), list[str]()
    for first, second in combinations(SIZES, 2):
        if first in sizes and second in sizes:
            name = f"{NAME}-{second}-minus-{first}"
            rows = families(difference_rows(NAME, name, sizes[first], sizes[second]))
            title = f"{SIZES[second]} minus {SIZES[first]}"
            caption = "Leave one speaker out, paired by clip."
            tables.append(Table(name, title, caption, rows))
            findings += _averages(rows, SIZES[second], SIZES[first])
    if UNION in sizes and ablated:
        rows, title = _ablation(sizes[UNION], ablated), "What each corpus adds to the union"
        caption = "The union minus the union without the corpus of the row, on every other corpus."
        shown = ("setting", "corpus")
        tables.append(Table(f"{NAME}-ablation", title, caption, rows, shown, *shown))
        findings += _most_and_least(rows)
    else:
        notes.append(f"the ablation needs {FEWEST_TO_ABLATE} corpora and their finished cells")
    question = "Does training on the union help, and is it its size or its diversity?"
    return Section(NAME, "The union and its parts", question, findings, tables, notes=notes)


def _ablation(union: Predictions, ablated: Mapping[str, Predictions]) -> list[Row]:
    rows = [
        replace(row, setting=f"without={left_out}")
        for left_out, run in ablated.items()
        for row in difference_rows(NAME, f"{NAME}-ablation", run, union)
    ]
    return families(rows)


def _most_and_least(rows: Sequence[Row]) -> Iterator[str]:
    ordered = sorted(
        (row for row in rows if row.corpus == MACRO_AVERAGE), key=lambda row: row.value
    )
    for word, row in (("most", ordered[-1]), ("least", ordered[0]))[: len(ordered)]:
        name = row.setting.partition("=")[2]
        yield f"{name} adds the {word} to the union: {in_words(row)} points on the other corpora"


GENERALISE = Part(NAME, QUESTION, cells, sections, train_sets, together=True)
