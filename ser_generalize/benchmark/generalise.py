"""Generalisation proper: corpora that were never trained on, how many it takes, and which ones."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import difference_rows, in_words, is_clear, macro, score_rows
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.benchmark.subsets import train_sets
from ser_generalize.benchmark.worth import worth_section
from ser_generalize.cell import Cell
from ser_generalize.predictions import Predictions
from ser_generalize.protocols import EACH, MATCHED, UNION
from ser_generalize.statistics import MACRO_AVERAGE

NAME = "generalise"
QUESTION = "How well does a model recognise emotions in a corpus that it was not trained on?"
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
    return {way: study.cell(train_on=way) for way in (EACH, MATCHED, UNION)}


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


def _across_section(across: dict[str, Predictions], own: Predictions | None) -> Section:
    """Return what is left of UAR on corpora that were not trained on."""
    tables, figures, findings = [], [], list[str]()
    if (loco := across.get("loco")) is not None:
        rows = score_rows(NAME, "loco", loco, ("uar", "macro_f1", "accuracy"), pooled=True)
        tables.append(
            Table("loco", "Leave one corpus out", "Trained on all other corpora.", rows,
                  ("corpus", "metric"))
        )  # fmt: skip
        findings += [
            f"trained on all other corpora, UAR on {row.corpus} is {in_words(row)} where guessing "
            f"gives {100 * (row.chance or 0):.0f}"
            for row in macro(row for row in rows if row.metric == "uar")
            if row.corpus == MACRO_AVERAGE
        ]
    if loco is not None and own is not None:
        lost = difference_rows(NAME, "loco-minus-own", own, loco)
        title = "What is lost without the tested corpus"
        caption = "Leave one corpus out minus leave one speaker out within the corpus."
        tables.append(Table("loco-minus-own", title, caption, lost))
        findings += [
            f"a corpus's own speakers are worth {in_words(_negated(row))} points of UAR over all "
            "other corpora together"
            for row in macro(lost)
            if row.corpus == MACRO_AVERAGE and is_clear(row)
        ]
    if (cross := across.get("cross")) is not None:
        matrix = _matrix(cross, own)
        caption = (
            "A row is the corpus trained on, a column the one tested; on the diagonal, speakers of "
            "the corpus itself, one left out at a time."
        )
        tables.append(
            Table("cross", "From one corpus to another", caption, matrix,
                  ("trained_on", "corpus"), rows_by="trained_on", columns_by="corpus")
        )  # fmt: skip
        figures.append(
            Figure("cross", "matrix", "From one corpus to another", caption, matrix,
                   series="trained_on")
        )  # fmt: skip
        findings += _extremes(matrix)
    return Section(NAME, "Corpora never heard", QUESTION, findings, tables, figures)


def _matrix(cross: Predictions, own: Predictions | None) -> list[Row]:
    """Return UAR from every corpus to every other one, and within each where that was run."""
    rows = []
    for fold in sorted(set(cross.column("fold"))):
        table = cross.table.filter(pc.equal(cross.table["fold"], fold))
        trained_on = fold.partition(">")[0]
        rows += score_rows(NAME, "cross", Predictions(cross.about, table), trained_on=trained_on)
    if own is not None:
        within = score_rows(NAME, "cross", own)
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


def _size_section(sizes: dict[str, Predictions], ablated: dict[str, Predictions]) -> Section:
    """Return what the union adds, how much of that is its size, and what each corpus adds to it."""
    tables, findings, notes = [], list[str](), list[str]()
    for first, second, what in (
        (EACH, UNION, "the union instead of the corpus itself"),
        (EACH, MATCHED, "as many clips, but of all corpora (diversity)"),
        (MATCHED, UNION, "all clips of the union instead of as many (size)"),
    ):
        if first in sizes and second in sizes:
            name = f"{second}-minus-{first}"
            rows = difference_rows(NAME, name, sizes[first], sizes[second])
            caption = "Leave one speaker out; paired by clip."
            tables.append(Table(name, f"Minus: {what}", caption, rows))
            findings += [
                f"{what}: {in_words(row)} points of UAR, macro-averaged"
                for row in macro(rows)
                if row.corpus == MACRO_AVERAGE
            ]
    if UNION in sizes and ablated:
        rows = _ablation(sizes[UNION], ablated)
        caption = "The union minus the union without the corpus of the row, on every other corpus."
        tables.append(
            Table("ablation", "What each corpus adds to the union", caption, rows,
                  ("setting", "corpus"), rows_by="setting", columns_by="corpus")
        )  # fmt: skip
        findings += _most_and_least(rows)
    elif not ablated:
        notes.append(f"the ablation needs {FEWEST_TO_ABLATE} corpora and their finished cells")
    question = "Does training on the union help, and is it its size or its diversity?"
    return Section(NAME, "The union and its parts", question, findings, tables, notes=notes)


def _ablation(union: Predictions, ablated: dict[str, Predictions]) -> list[Row]:
    return [
        replace(row, setting=f"without={left_out}", run=union.about.run)
        for left_out, run in ablated.items()
        for row in difference_rows(NAME, "ablation", run, union)
    ]


def _most_and_least(rows: Sequence[Row]) -> Iterator[str]:
    ordered = sorted(
        (row for row in rows if row.corpus == MACRO_AVERAGE), key=lambda row: row.value
    )
    for word, row in (("most", ordered[-1]), ("least", ordered[0]))[: len(ordered)]:
        name = row.setting.partition("=")[2]
        yield f"{name} adds the {word} to the union: {in_words(row)} points on the other corpora"


def _negated(row: Row) -> Row:
    low, high = row.high, row.low
    return replace(
        row,
        value=-row.value,
        low=None if low is None else -low,
        high=None if high is None else -high,
    )


GENERALISE = Part(NAME, QUESTION, cells, sections, train_sets, together=True)
