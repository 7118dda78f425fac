"""Robustness: what worse recordings cost a model that was trained on good ones.

And whether training on worse recordings as well helps, where those tested on are worse in a way
that it never heard: a head that knows noise from training says little about telephones.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ser_generalize.benchmark.part import Part, Runs, Study
from ser_generalize.benchmark.rows import (
    difference_rows,
    families,
    in_words,
    is_clear,
    macro,
    score_rows,
)
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import Cell
from ser_generalize.degradation import KINDS, NONE, parse_degradation
from ser_generalize.embeddings import read_manifest
from ser_generalize.predictions import Predictions

NAME = "robustness"
TITLE = "Worse recordings than those trained on"
QUESTION = (
    "What do noise, rooms, telephones, codecs, level and pace cost, and does it help to train on "
    "recordings that are worse in other ways?"
)
AUGMENTED = "Trained on worse recordings too"
CLEAN = "as recorded"

Stores = Mapping[str, Path]  # by degradation


def cells(study: Study) -> list[Cell]:
    """Return a cell tested on recordings as they are, and one for every degraded store.

    Each once more trained on degraded recordings as well, if there are two kinds of them.
    """
    stores = degraded_stores(study)
    return [*_plain(study, stores).values(), *_augmented(study, stores).values()]


def _plain(study: Study, stores: Stores) -> dict[str, Cell]:
    """Return the cells that are trained on recordings as they are, by what they are tested on."""
    tested = {name: study.cell(test_embeddings=path) for name, path in stores.items()}
    return {CLEAN: study.cell(), **tested}


def _augmented(study: Study, stores: Stores) -> dict[str, Cell]:
    """Return the cells trained on all degraded recordings but those of the kind tested on."""
    if len(set(map(_kind, stores))) < 2:
        return {}
    tested = {
        name: study.cell(
            test_embeddings=path,
            augment=tuple(one for other, one in stores.items() if _kind(other) != _kind(name)),
        )
        for name, path in stores.items()
    }
    return {CLEAN: study.cell(augment=tuple(stores.values())), **tested}


def degraded_stores(study: Study) -> Stores:
    """Return the study's stores that differ from the first by their degradation only."""
    key, _ = read_manifest(study.store)
    found = {}
    for store in study.embeddings:
        other, _ = read_manifest(store)
        if other.degradation != NONE and replace(other, degradation=NONE) == key:
            found[other.degradation] = store
    return dict(sorted(found.items(), key=_severity))


def _severity(item: tuple[str, Path]) -> tuple[int, float]:
    """Sort by kind, and within a kind by its number."""
    kind, _, number = item[0].partition(":")
    return list(KINDS).index(kind), float(number or 0)


def sections(study: Study, runs: Runs, _: Path) -> Sequence[Section]:
    """Return what every degradation costs, and what it is worth to train on others."""
    stores = degraded_stores(study)
    plain = {name: runs[cell] for name, cell in _plain(study, stores).items() if cell in runs}
    notes = [f"nothing was asked about {', '.join(absent)}"] if (absent := _absent(stores)) else []
    how = "make stores with `ser-generalize embed --degrade KIND:N` and give them to --embeddings"
    if CLEAN not in plain or not stores:
        return [Section(NAME, TITLE, QUESTION, notes=[*notes, how])]
    scores: list[Row] = []
    costs: list[Row] = []
    for name, run in plain.items():
        scores += score_rows(NAME, "degraded", run, setting=name)
        if name != CLEAN:
            costs += difference_rows(NAME, "degraded-minus-clean", plain[CLEAN], run, setting=name)
    costs = families(costs)
    tables, figures = _tables(scores, costs), [*_figures(scores, costs)]
    return [
        Section(NAME, TITLE, QUESTION, _findings(costs), tables, figures, notes),
        _gains(plain, _augmented(study, stores), runs),
    ]


def _gains(plain: Mapping[str, Predictions], augmented: Mapping[str, Cell], runs: Runs) -> Section:
    """Return what training on degraded recordings is worth on those as they are and worse ones."""
    pairs = {
        name: (plain[name], runs[cell])
        for name, cell in augmented.items()
        if name in plain and cell in runs
    }
    if not pairs:
        why = "not run yet" if augmented else "give --embeddings two kinds of degraded stores"
        return Section(NAME, AUGMENTED, QUESTION, notes=[why])
    scores, gains = [], []
    for name, (before, after) in pairs.items():
        scores += score_rows(NAME, "augmented", after, setting=name)
        gains += difference_rows(NAME, "augmented-minus-plain", before, after, setting=name)
    gains = families(gains)
    caption = (
        "Half of the time a training clip is heard in a degraded copy of it, never of the kind "
        "tested on."
    )
    tables = [
        Table("augmented", "UAR when trained on worse recordings too", caption, scores,
              ("corpus", "setting")),
        Table("augmented-minus-plain", "Minus training on recordings as they are",
              "The same test recordings; paired by clip, tested over speakers; p by Holm.", gains,
              ("corpus", "setting")),
    ]  # fmt: skip
    figure = Figure(
        "augmented-minus-plain", "intervals", "What training on worse recordings is worth",
        "UAR on the recordings named, with 95 % intervals over speakers: trained on degraded "
        "copies of other kinds too, minus trained on recordings as they are.", gains, x="setting",
        series="corpus",
    )  # fmt: skip
    return Section(NAME, AUGMENTED, QUESTION, _gain_findings(gains), tables, [figure])


def _tables(scores: Sequence[Row], costs: Sequence[Row]) -> list[Table]:
    return [
        Table("degraded", "UAR on worse recordings",
              "Trained on recordings as they are, tested on degraded ones.", scores,
              ("corpus", "setting")),
        Table("degraded-minus-clean", "Minus recordings as they are",
              "The same heads and clips; paired by clip, tested over speakers; p by Holm.", costs,
              ("corpus", "setting")),
    ]  # fmt: skip


def _figures(scores: Sequence[Row], costs: Sequence[Row]) -> Iterator[Figure]:
    """Yield what every degradation costs, and UAR over severity where a kind has several."""
    if costs:
        yield Figure(
            "degraded-minus-clean", "intervals", "What worse recordings cost",
            "UAR on degraded recordings minus that on the same recordings as they are, with 95 % "
            "intervals over speakers.", costs, x="setting", series="corpus",
        )  # fmt: skip
    severities = Counter(_kind(name) for name in {row.setting for row in scores})
    graded = [row for row in scores if severities[_kind(row.setting)] > 1]
    if graded:
        yield Figure(
            "degraded", "curve", "UAR by severity",
            "A panel per kind of degradation; the band is the 95 % interval over speakers.",
            graded, x="setting", series="corpus",
        )  # fmt: skip


def _kind(degradation: str) -> str:
    return degradation.partition(":")[0]


def _absent(stores: Stores) -> list[str]:
    asked = set(map(_kind, stores))
    return [kind for kind in KINDS if kind not in asked]


def _findings(costs: Sequence[Row]) -> list[str]:
    """Return what costs most and what costs nothing for sure, in sentences."""
    rows = sorted(macro(costs), key=lambda row: row.value)
    worse = [row for row in rows if is_clear(row) and row.value < 0]
    said = [f"{_words(row)} costs most: {in_words(row)} points of UAR" for row in worse[:1]]
    said += [f"{_words(row)} costs {in_words(row)} points" for row in worse[1:3]]
    harmless = [_words(row) for row in rows if not is_clear(row)]
    if harmless:
        said.append(f"not to be told apart from recordings as they are: {', '.join(harmless)}")
    return said


def _gain_findings(gains: Sequence[Row]) -> list[str]:
    """Return where training on other kinds of degradation helps or harms for sure, and where not.

    Recordings as they are come last: what it does to them is another question.
    """
    rows = sorted(macro(gains), key=lambda row: (row.setting == CLEAN, -row.value))
    said = [
        f"tested on {_words(row)}, training on recordings that are worse in "
        f"{'any way' if row.setting == CLEAN else 'other ways'} is worth {in_words(row)} points"
        for row in rows
        if is_clear(row)
    ]
    undecided = [_words(row) for row in rows if not is_clear(row)]
    if undecided:
        said.append(f"tested on {', '.join(undecided)}, it cannot be told from not doing so")
    return said


def _words(row: Row) -> str:
    if row.setting == CLEAN:
        return "recordings as they are"
    return parse_degradation(row.setting).words


ROBUSTNESS = Part(NAME, QUESTION, cells, sections)
