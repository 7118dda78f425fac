"""Robustness: what worse recordings cost a model that was trained on good ones."""

from collections import Counter
from collections.abc import Iterator, Sequence
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
from ser_generalize.degradation import KINDS, NONE
from ser_generalize.embeddings import read_manifest

NAME = "robustness"
TITLE = "Worse recordings than those trained on"
QUESTION = "What do noise, rooms, telephones, codecs, level and pace cost?"


def cells(study: Study) -> list[Cell]:
    """Return a cell tested on recordings as they are, and one for every degraded store."""
    stores = degraded_stores(study)
    return [study.cell(), *(study.cell(test_embeddings=path) for path in stores.values())]


def degraded_stores(study: Study) -> dict[str, Path]:
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
    """Return UAR by degradation, and what each costs beside recordings as they are."""
    stores, plain = degraded_stores(study), runs.get(study.cell())
    notes = [f"nothing was asked about {', '.join(absent)}"] if (absent := _absent(stores)) else []
    how = "make stores with `ser-generalize embed --degrade KIND:N` and give them to --embeddings"
    if plain is None or not stores:
        return [Section(NAME, TITLE, QUESTION, notes=[*notes, how])]
    cells_of = {name: study.cell(test_embeddings=store) for name, store in stores.items()}
    tested = {name: runs[cell] for name, cell in cells_of.items() if cell in runs}
    scores = score_rows(NAME, "degraded", plain, setting="as recorded")
    costs: list[Row] = []
    for name, run in tested.items():
        scores += score_rows(NAME, "degraded", run, setting=name)
        costs += difference_rows(NAME, "degraded-minus-clean", plain, run, setting=name)
    costs = families(costs)
    tables, figures = _tables(scores, costs), [*_figures(scores, costs)]
    return [Section(NAME, TITLE, QUESTION, _findings(costs), tables, figures, notes)]


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
    severities = Counter(_kind(row) for row in {row.setting: row for row in scores}.values())
    graded = [row for row in scores if severities[_kind(row)] > 1]
    if graded:
        yield Figure(
            "degraded", "curve", "UAR by severity",
            "A panel per kind of degradation; the band is the 95 % interval over speakers.",
            graded, x="setting", series="corpus",
        )  # fmt: skip


def _kind(row: Row) -> str:
    return row.setting.partition(":")[0]


def _absent(stores: dict[str, Path]) -> list[str]:
    asked = {name.partition(":")[0] for name in stores}
    return [kind for kind in KINDS if kind not in asked]


def _findings(costs: Sequence[Row]) -> list[str]:
    """Return what costs most and what costs nothing for sure, in sentences."""
    rows = sorted(macro(costs), key=lambda row: row.value)
    worse = [row for row in rows if is_clear(row) and row.value < 0]
    said = [f"{row.setting} costs most: {in_words(row)} points" for row in worse[:1]]
    said += [f"{row.setting} costs {in_words(row)} points" for row in worse[1:3]]
    harmless = [row.setting for row in rows if not is_clear(row)]
    if harmless:
        said.append(f"not to be told apart from recordings as they are: {', '.join(harmless)}")
    return said


ROBUSTNESS = Part(NAME, QUESTION, cells, sections)
