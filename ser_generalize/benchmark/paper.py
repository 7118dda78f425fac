"""The paper's grid: does resampling help, in every corpus by itself and in their union?

arXiv 2406.09933 compares no sampling, random under-sampling, SMOTE and ADASYN under leave one
speaker out, for four and five emotions, on single corpora and on the union.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    difference_rows,
    families,
    macro,
    p_value,
    rank_rows,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import POOLED, Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.labels import LABEL_SETS, NATIVE
from ser_generalize.predictions import Predictions
from ser_generalize.protocols import EACH, UNION
from ser_generalize.scores import METRICS
from ser_generalize.summary import points

NAME = "grid"
QUESTION = "Does resampling the training part help, and in which corpora?"
PLAIN = "none"
SAMPLERS = (PLAIN, "under", "smote", "adasyn")
TRAINED_ON = {EACH: "each corpus by itself", UNION: "the union of all corpora"}
FEWEST_SETS = 5  # to say how a difference goes with the imbalance
IMBALANCE = f"{NAME}-by-imbalance"

Setting = Mapping[str, Predictions]  # finished runs by sampler, alike in all else


def cells(study: Study) -> list[Cell]:
    """Return every sampler on every label set: each corpus by itself, the union, and native."""
    return [cell for setting in _settings(study) for cell in setting.values()]


def _settings(study: Study) -> list[dict[str, Cell]]:
    """Return the cells by sampler of everything in which samplers are compared."""
    ways = (EACH, UNION) if len(study.corpora) > 1 else (EACH,)
    plain = [study.cell(labels=labels, train_on=way) for labels, way in product(LABEL_SETS, ways)]
    plain += [study.cell(labels=NATIVE, corpora=(corpus,)) for corpus in study.corpora]
    return [{name: replace(cell, sampler=name) for name in SAMPLERS} for cell in plain]


def sections(study: Study, runs: Runs, _folder: Path) -> Sequence[Section]:
    """Return the scores of all samplers, their differences to none, and what imbalance has to do.

    Cells that are not finished are passed over.
    """
    tables, figures = list[Table](), list[Figure]()
    findings, by_imbalance = list[str](), list[Row]()
    for labels, way in product((*LABEL_SETS, NATIVE), (EACH, UNION)):
        found = [
            {name: runs[cell] for name, cell in setting.items() if cell in runs}
            for setting in _settings(study)
            if (setting[PLAIN].labels, setting[PLAIN].train_on) == (labels, way)
        ]
        if not any(found):
            continue
        name, where = f"{NAME}-{labels}-{way}", f"label set {labels}, {TRAINED_ON[way]}"
        scores, differences = _scores(found, name), _differences(found, f"{name}-minus-none")
        tables += _tables(name, where, scores, differences)
        figures += _figures(name, where, scores)
        findings += _verdicts(differences, where) if labels != NATIVE else []
        by_imbalance += _with_imbalance(found, differences) if way == EACH else []
    if by_imbalance:
        tables.append(_imbalance_table(by_imbalance))
        figures.append(_imbalance_figure(by_imbalance))
        findings += _trends(by_imbalance)
    notes = [] if len(study.corpora) > 1 else ["one corpus: there is no union to train on"]
    return [Section(NAME, "The paper's grid", QUESTION, findings, tables, figures, notes)]


def _scores(settings: Sequence[Setting], table: str) -> list[Row]:
    return [
        row
        for setting in settings
        for run in setting.values()
        for row in score_rows(NAME, table, run, tuple(METRICS), pooled=True)
    ]


def _differences(settings: Sequence[Setting], table: str) -> list[Row]:
    """Return every sampler minus none."""
    rows = [
        row
        for setting in settings
        if PLAIN in setting
        for sampler, run in setting.items()
        if sampler != PLAIN
        for row in difference_rows(NAME, table, setting[PLAIN], run, pooled=True)
    ]
    return families(rows)


def _tables(
    name: str, where: str, scores: Sequence[Row], differences: Sequence[Row]
) -> Iterator[Table]:
    caption = "Leave one speaker out; SMOTE and its kin see the training part only."
    yield Table(name, f"Samplers: {where}", caption, scores, ("corpus", "sampler", "metric"))
    if differences:
        caption = "Paired by clip: above zero, the sampler is better than none."
        title = f"Samplers minus none: {where}"
        yield Table(f"{name}-minus-none", title, caption, differences, ("corpus", "sampler"))


def _figures(name: str, where: str, scores: Sequence[Row]) -> Iterator[Figure]:
    """Yield UAR of every sampler on every corpus, and their ranks over corpora."""
    shown = [row for row in scores if row.metric == "uar"]
    caption = "Dots are UAR, lines 95 % intervals over speakers."
    yield Figure(name, "intervals", f"UAR by sampler: {where}", caption, shown)
    ranks, critical = rank_rows(scores, "sampler", f"{name}-ranks")
    if ranks:
        caption = "1 is best; methods closer than the critical difference cannot be told apart."
        title = f"Mean ranks of samplers over corpora: {where}"
        yield Figure(f"{name}-ranks", "ranks", title, caption, ranks, limit=critical)


def _verdicts(differences: Sequence[Row], where: str) -> list[str]:
    """Return what the average over corpora, or the only corpus, says of every sampler."""
    rows = macro(row for row in differences if row.corpus != POOLED)
    return [f"{verdict(row, row.sampler, 'no sampling')} ({where})" for row in rows]


def imbalance(run: Predictions) -> dict[str, float]:
    """Return for every corpus of a run how many times its rarest class fits in its largest."""
    corpus, labels = run.column("corpus"), run.labels()
    found = {}
    for name in sorted(set(corpus)):
        counts = np.unique(labels[corpus == name], return_counts=True)[1]
        found[name] = float(counts.max() / counts.min())
    return found


def _with_imbalance(settings: Sequence[Setting], differences: Sequence[Row]) -> list[Row]:
    """Return the differences on single corpora with how imbalanced those are."""
    ratios: dict[str, float] = {}
    for setting in settings:
        ratios |= imbalance(setting[PLAIN]) if PLAIN in setting else {}
    return [
        replace(row, table=IMBALANCE, setting=f"imbalance={ratios[row.corpus]:.3g}")
        for row in differences
        if row.corpus in ratios
    ]


def _imbalance_table(rows: Sequence[Row]) -> Table:
    return Table(
        IMBALANCE,
        "Which sampler for how imbalanced a corpus",
        "UAR minus that without sampling. Imbalance: clips of the largest class over the rarest.",
        sorted(rows, key=lambda row: (_ratio(row), row.corpus, -row.value)),
        ("setting", "corpus", "label_set", "sampler"),
    )


def _imbalance_figure(rows: Sequence[Row]) -> Figure:
    caption = "A dot is a corpus under a label set; above zero, the sampler is better than none."
    title = "What a sampler changes, by how imbalanced a corpus is"
    return Figure(IMBALANCE, "scatter", title, caption, rows, x="setting")


def _trends(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the gain of every sampler goes with imbalance, by rank correlation."""
    for sampler in SAMPLERS[1:]:
        pairs = [(_ratio(row), row.value) for row in rows if row.sampler == sampler]
        ratios, gains = zip(*pairs, strict=True) if pairs else ((), ())
        if len(pairs) < FEWEST_SETS or len(set(ratios)) < 2 or len(set(gains)) < 2:
            continue
        found = spearmanr(ratios, gains)
        yield (
            f"what {sampler} gains goes with imbalance by a rank correlation of "
            f"{found.statistic:+.2f} (p {p_value(found.pvalue)}; {len(pairs)} sets of clips; its "
            f"median is {points(float(np.median(gains)))} points)"
        )


def _ratio(row: Row) -> float:
    return float(row.setting.partition("=")[2])


GRID = Part(NAME, QUESTION, cells, sections)
