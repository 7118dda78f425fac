"""The paper's grid: does resampling help, in every corpus by itself and in their union?

arXiv 2406.09933 compares no sampling, random under-sampling, SMOTE and ADASYN under leave one
speaker out, for four and five emotions, on single corpora and on the union.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import difference_rows, in_words, is_clear, macro, score_rows
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.labels import LABEL_SETS, NATIVE
from ser_generalize.predictions import Predictions
from ser_generalize.protocols import EACH, UNION
from ser_generalize.scores import METRICS
from ser_generalize.statistics import MACRO_AVERAGE
from ser_generalize.summary import percent

NAME = "grid"
QUESTION = "Does resampling the training part help, and in which corpora?"
PLAIN = "none"
SAMPLERS = (PLAIN, "under", "smote", "adasyn")
FEWEST_SETS = 5  # to say how a difference goes with the imbalance

TRAINED_ON = {EACH: "each corpus by itself", UNION: "the union of all corpora"}


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
    settings = [
        {name: runs[cell] for name, cell in setting.items() if cell in runs}
        for setting in _settings(study)
    ]
    tables, figures, findings = [], [], list[str]()
    for labels, way in product((*LABEL_SETS, NATIVE), (EACH, UNION)):
        chosen = [one for one in settings if _is_of(one, labels, way)]
        if chosen:
            tables += _tables(chosen, labels, way)
            findings += _verdicts(tables[-1].rows, labels, way)
    by_imbalance = [row for one in settings for row in _imbalance_rows(one)]
    if by_imbalance:
        figures.append(_imbalance_figure(by_imbalance))
        findings += _trends(by_imbalance)
    notes = [] if len(study.corpora) > 1 else ["one corpus: there is no union to train on"]
    return [Section(NAME, "The paper's grid", QUESTION, findings, tables, figures, notes)]


def _is_of(setting: dict[str, Predictions], labels: str, way: str) -> bool:
    about = next((run.about for run in setting.values()), None)
    return about is not None and (about.label_set, about.train_on) == (labels, way)


def _tables(settings: Sequence[dict[str, Predictions]], labels: str, way: str) -> list[Table]:
    """Return the scores of all samplers, and their differences to no sampling."""
    name, where = f"{labels}-{way}", f"label set {labels}, trained on {TRAINED_ON[way]}"
    scores = [
        row
        for setting in settings
        for run in setting.values()
        for row in score_rows(NAME, name, run, tuple(METRICS), pooled=True)
    ]
    differences = [
        row
        for setting in settings
        if PLAIN in setting
        for sampler, run in setting.items()
        if sampler != PLAIN
        for row in difference_rows(NAME, f"{name}-minus-none", setting[PLAIN], run)
    ]
    shown = ("corpus", "sampler")
    return [
        Table(
            name, f"Scores, {where}", "Of every sampler, speaker by speaker left out.", scores,
            (*shown, "metric"),
        ),
        Table(
            f"{name}-minus-none", f"Minus no sampling, {where}",
            "Paired by clip: above zero, the sampler helps.", differences, shown,
        ),
    ]  # fmt: skip


def _verdicts(differences: Sequence[Row], labels: str, way: str) -> Iterator[str]:
    """Yield what the average over corpora says of every sampler; nothing of native labels."""
    if labels == NATIVE:
        return
    for row in macro(differences):
        if row.corpus != MACRO_AVERAGE and len({one.corpus for one in differences}) > 1:
            continue
        verb = "changes" if is_clear(row) else "shows no clear change of"
        yield (
            f"{row.sampler} {verb} UAR by {in_words(row)} points on {row.corpus}, label set "
            f"{labels}, trained on {TRAINED_ON[way]}"
        )


def imbalance(run: Predictions) -> dict[str, float]:
    """Return for every corpus of a run how many times its rarest class fits in its largest."""
    corpus, labels = run.column("corpus"), run.labels()
    found = {}
    for name in sorted(set(corpus)):
        counts = np.unique(labels[corpus == name], return_counts=True)[1]
        found[name] = float(counts.max() / counts.min())
    return found


def _imbalance_rows(setting: dict[str, Predictions]) -> list[Row]:
    """Return every sampler's difference to none on every corpus that is trained by itself."""
    plain = setting.get(PLAIN)
    if plain is None or plain.about.train_on != EACH:
        return []
    ratios = imbalance(plain)
    return [
        replace(row, setting=f"imbalance={ratios[row.corpus]:.3g}")
        for sampler, run in setting.items()
        if sampler != PLAIN
        for row in difference_rows(NAME, "by-imbalance", plain, run)
        if row.corpus != MACRO_AVERAGE
    ]


def _imbalance_figure(rows: Sequence[Row]) -> Figure:
    return Figure(
        "by-imbalance", "scatter", "What a sampler changes, by how imbalanced a corpus is",
        "A dot is a corpus under a label set; the ratio is that of its largest class to its "
        "rarest, the difference in UAR is to no sampling.", rows, x="setting",
    )  # fmt: skip


def _trends(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how the gain of every sampler goes with imbalance, by rank correlation."""
    for sampler in SAMPLERS[1:]:
        points = [(_ratio(row), row.value) for row in rows if row.sampler == sampler]
        ratios, gains = np.array(points).T if points else (np.zeros(0), np.zeros(0))
        if len(points) < FEWEST_SETS or len(set(ratios)) < 2 or len(set(gains)) < 2:
            continue
        found = spearmanr(ratios, gains)
        yield (
            f"{sampler}: the rank correlation of its gain with imbalance is "
            f"{found.statistic:+.2f} (p {found.pvalue:.2g}, {len(points)} sets of clips, median "
            f"gain {percent(float(np.median(gains)))} points)"
        )


def _ratio(row: Row) -> float:
    return float(row.setting.partition("=")[2])


GRID = Part(NAME, QUESTION, cells, sections)
