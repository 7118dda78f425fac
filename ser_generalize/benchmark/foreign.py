"""From English to other languages: trained on the English clips of all corpora, tested elsewhere.

Beside it stands what the same clips get from a model of their own corpus and language, one speaker
left out at a time. Speakers who are tested are never trained on, in whatever language.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ser_generalize.adapt import SPEAKER
from ser_generalize.benchmark.grid import folder_name
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.rows import difference_rows, families, in_words, score_rows, verdict
from ser_generalize.benchmark.sections import Figure, Row, Section, Table
from ser_generalize.cell import ALL_LANGUAGES, DEFAULT_LANGUAGE, Cell
from ser_generalize.command import progress_bar
from ser_generalize.data import Data
from ser_generalize.experiment import collect, workers_of
from ser_generalize.files import staged
from ser_generalize.groups import group_size, make_groups, train_group
from ser_generalize.launch import joined, single_threads
from ser_generalize.predictions import (
    FILE_NAME,
    Predictions,
    read_predictions,
    write_predictions,
)
from ser_generalize.protocols import UNION, Clips, Fold, IndivisibleError, make_folds
from ser_generalize.reader import Reader
from ser_generalize.run import FoldResult
from ser_generalize.statistics import MACRO_AVERAGE

TITLE = "From English to other languages"
TABLE = "foreign"
PROTOCOL = "trained on English clips, tested on other languages, speakers apart"
OWN, ENGLISH, ADAPTED = "own", "english", "english-speaker"
APART = ("speaker", "sha256")
UNKNOWN = "und"  # the tag of a language that nobody named
SAID = {OWN: "the same language", ENGLISH: "English"}


def cell_of(study: Study) -> Cell:
    """Return the cell of all languages; a study of English alone leaves corpora out that count."""
    only_english = study.languages == (DEFAULT_LANGUAGE,)
    corpora = () if only_english else study.corpora
    return replace(study.cell(), corpora=corpora, languages=(ALL_LANGUAGES,))


def measure_foreign(study: Study, folder: Path) -> None:
    """Train on English, plain and adapted, and on each other language; write what they say.

    Nothing is written where the dataset has no English or nothing else.
    """
    reader, cell = study.reader, cell_of(study)
    where = folder / f"{TABLE}-{folder_name(cell, reader)}"
    if where.is_dir() or not all(part.any() for part in _english_and_others(reader.data(cell))):
        return
    runs = {
        ENGLISH: _named(_run(reader, cell, _to_others)),
        ADAPTED: _named(_run(reader, replace(cell, adapt=SPEAKER), _to_others)),
        OWN: _run(reader, cell, _own),
    }
    with staged(where) as temporary:
        for name, run in runs.items():
            if run is not None:
                write_predictions(temporary / name / FILE_NAME, run)


def foreign_section(study: Study, folder: Path, part: str, question: str) -> Section:
    """Return UAR in every other language, what English lacks there, and what adaptation adds."""
    runs = _read(study, folder)
    if ENGLISH not in runs:
        why = (
            "not measured yet, or the dataset lacks English clips or any in another language: ESD, "
            "EmoFilm and EmoDB have some"
        )
        return Section(part, TITLE, question, notes=[why])
    english, adapted, own = runs[ENGLISH], runs[ADAPTED], runs.get(OWN)
    plain = [(ENGLISH, english), *([(OWN, own)] if own else [])]
    scores = [row for name, run in plain for row in _scores(part, TABLE, run, SAID[name])]
    adapted_scores = _scores(part, f"{TABLE}-adapted", adapted, SAID[ENGLISH])
    gains = _differences(part, f"{TABLE}-adapted-minus-plain", english, adapted)
    lacks = _differences(part, f"{TABLE}-minus-own", own, english) if own else []
    shown = ("corpus", "setting", "trained_on")
    tables = [
        Table(TABLE, TITLE, "New speakers; beside English, the same corpus and language.", scores,
              shown),
        Table(f"{TABLE}-minus-own", "Trained on English minus on the same language",
              "Paired by clip; p by Holm.", lacks, ("corpus", "setting")),
        Table(f"{TABLE}-adapted", "Trained on English, adapted to the speaker",
              "By all unlabelled clips of the tested speaker: not comparable with plain results.",
              adapted_scores, shown),
        Table(f"{TABLE}-adapted-minus-plain", "What adaptation adds to English",
              "Paired by clip; p by Holm.", gains, ("corpus", "setting")),
    ]  # fmt: skip
    findings = [*_findings(scores, lacks), *_gains(gains)]
    return Section(part, TITLE, question, findings, [one for one in tables if one.rows],
                   _figures(scores))  # fmt: skip


def _figures(scores: Sequence[Row]) -> list[Figure]:
    """Return UAR on every corpus, a figure per language."""
    by_setting: dict[str, list[Row]] = {}
    for row in scores:
        if row.corpus != MACRO_AVERAGE:
            by_setting.setdefault(row.setting, []).append(row)
    return [
        Figure(f"{TABLE}-{setting.removeprefix('language=')}", "intervals", f"{TITLE}: {setting}",
               "UAR of new speakers, with 95 % intervals.", rows, series="trained_on")
        for setting, rows in by_setting.items()
    ]  # fmt: skip


def _read(study: Study, folder: Path) -> dict[str, Predictions]:
    if not any(folder.glob(f"{TABLE}-*")):
        return {}
    where = folder / f"{TABLE}-{folder_name(cell_of(study), study.reader)}"
    names = [name for name in (ENGLISH, ADAPTED, OWN) if (where / name).is_dir()]
    return {name: read_predictions(where / name) for name in names}


def _run(
    reader: Reader, cell: Cell, folds_of: Callable[[Data], Iterator[Fold]]
) -> Predictions | None:
    """Train and test the heads of some folds; None where there are no folds."""
    material, accelerator = reader.material(cell), joined()
    data, clips = material.data, _clips(material.data)
    folds = list(folds_of(data))
    for fold in folds:
        fold.check(clips, APART)
    if not folds:
        return None
    workers = workers_of(material, accelerator)
    groups = make_groups(folds, cell.seeds, group_size(material), workers)
    with (
        progress_bar(len(groups), f"languages, adapt {cell.adapt}", "group") as bar,
        single_threads(workers) as pool,
    ):
        results = list[FoldResult]()
        for found in pool.map(lambda tasks: train_group(material, tasks, lambda _: None), groups):
            results += found
            bar.update()
    return collect(cell, data, results)


def _to_others(data: Data) -> Iterator[Fold]:
    """Yield the fold that tests all other languages, without their speakers and recordings."""
    english, others = _english_and_others(data)
    clips, test = _clips(data), np.flatnonzero(others)
    near = clips.speaker.like(test) | clips.sha256.like(test)
    yield Fold("en>others", np.flatnonzero(english & ~near), test)


def _own(data: Data) -> Iterator[Fold]:
    """Yield the folds that leave a speaker of another language out, corpus by corpus."""
    tags, corpora = _languages(data), data.column("corpus")
    _, others = _english_and_others(data)
    for corpus, language in sorted(set(zip(corpora[others], tags[others], strict=True))):
        rows = np.flatnonzero((corpora == corpus) & (tags == language))
        if len(set(data.labels[rows])) < 2:
            continue
        try:
            folds = make_folds("loso", _clips(data, rows))
        except IndivisibleError:  # a single speaker: there is no model of the own language
            continue
        for fold in folds:
            parts = (rows[fold.train], rows[fold.test], rows[fold.validation])
            yield Fold(f"{language} {fold.name}", *parts)


def _clips(data: Data, rows: NDArray[np.int64] | None = None) -> Clips:
    clips = data.clips if rows is None else data.clips.select(rows)
    labels = data.labels if rows is None else data.labels[rows]
    names = {field.name for field in fields(Clips)} - {"label"}
    columns = {name: list(clips[name]) for name in names}
    return Clips.of({**columns, "label": [data.classes[label] for label in labels]})


def _languages(data: Data) -> NDArray[np.object_]:
    """Return the language of every clip without its region: "en" of "en-NZ"."""
    return np.array([primary(tag) for tag in data.clips["language"]], dtype=object)


def primary(tag: str) -> str:
    """Return the language of a BCP 47 tag."""
    return tag.partition("-")[0]


def _english_and_others(data: Data) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which clips are English, and which in another language that is known."""
    tags = _languages(data)
    return tags == DEFAULT_LANGUAGE, ~np.isin(tags, (DEFAULT_LANGUAGE, UNKNOWN))


def _named(run: Predictions | None) -> Predictions | None:
    """Say of a run from English what it is: no protocol of `train` is like it."""
    if run is None:
        return None
    about = replace(run.about, protocol=PROTOCOL, train_on=UNION,
                    run=run.about.run.replace(run.about.protocol, "from English"))  # fmt: skip
    index = run.table.column_names.index("protocol")
    said = pa.array([PROTOCOL] * run.table.num_rows)
    return Predictions(about, run.table.set_column(index, "protocol", said))


def _by_language(run: Predictions) -> dict[str, Predictions]:
    tags = np.array([primary(tag) for tag in run.column("language")], dtype=object)
    return {
        language: Predictions(run.about, run.table.filter(pa.array(tags == language)))
        for language in sorted(set(tags))
    }


def _scores(part: str, table: str, run: Predictions, trained_on: str) -> list[Row]:
    return [
        row
        for language, spoken in _by_language(run).items()
        for row in score_rows(
            part, table, spoken, trained_on=trained_on, setting=f"language={language}"
        )
    ]


def _differences(part: str, table: str, first: Predictions, second: Predictions) -> list[Row]:
    firsts, seconds = _by_language(first), _by_language(second)
    rows = [
        row
        for language in firsts
        if language in seconds
        for row in difference_rows(
            part, table, firsts[language], seconds[language], setting=f"language={language}"
        )
    ]
    return families(rows)


def _findings(scores: Sequence[Row], lacks: Sequence[Row]) -> Iterator[str]:
    for row in scores:
        if row.trained_on == SAID[ENGLISH] and row.corpus != MACRO_AVERAGE:
            yield (
                f"trained on English, UAR on {row.corpus} ({row.setting}) is {in_words(row)} where "
                f"guessing gives {100 * (row.chance or 0):.0f}"
            )
    for row in lacks:
        if row.corpus != MACRO_AVERAGE:
            yield f"{_tested(row)}: {verdict(row, 'training on English', 'on its own language')}"


def _tested(row: Row) -> str:
    return f"tested in {row.setting.removeprefix('language=')}"


def _gains(gains: Sequence[Row]) -> Iterator[str]:
    for row in gains:
        if row.corpus != MACRO_AVERAGE:
            yield f"{_tested(row)}: {verdict(row, 'English, speaker-adapted,', 'plain English')}"
