"""The part `groups`: planted gaps are found within corpora, and English is tested elsewhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_dataset import Row, rows_of
from make_store import write_corpora
from make_study import Folders, numbers, planted, section_of, sections_of

from ser_generalize.benchmark.foreign import PROTOCOL
from ser_generalize.benchmark.sections import Section
from ser_generalize.embeddings import Embeddings
from ser_generalize.statistics import MACRO_AVERAGE

PART = ("--only", "groups", "--head", "logistic")
FOREIGN = "From English to other languages"


def women_mumble(rows: list[Row], shape: tuple[int, ...]) -> Embeddings:
    """Plant emotions that are heard in men alone."""
    men = np.array([row["sex"] == "male" for row in rows])[:, None, None, None]
    clear, mumbled = planted(label4=1.5)(rows, shape), planted()(rows, shape)
    return np.where(men, clear, mumbled)


def spoken(language: str, speakers: str = "01 02 03 04") -> Callable[[list[Row]], list[Row]]:
    """Return what lets some speakers speak another language; the others speak English."""
    return lambda rows: [
        row | {"language": language} if row["speaker"][-2:] in speakers.split() else row
        for row in rows
    ]


def of_two_ages(rows: list[Row]) -> list[Row]:
    return [row | {"age": 25 if row["speaker"][-2:] < "03" else 61} for row in rows]


@pytest.fixture(scope="module")
def people(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    changes = {
        "emodb": spoken("de"),
        "esd": spoken("zh", "03 04"),
        "savee": of_two_ages,
        "jl_corpus": list,
        "tess": lambda rows: [row | {"sex": None} for row in rows],
    }
    folder = tmp_path_factory.mktemp("people")
    return write_corpora(folder, dataset, store, changes, women_mumble)


@pytest.fixture(scope="module")
def found(people: Folders, tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return sections_of(people, tmp_path_factory.mktemp("study") / "out", *PART)


def test_a_gap_is_found_over_corpora_and_undecided_within_four_speakers(
    found: list[Section],
) -> None:
    rows = {row.corpus: row for row in numbers(found, "sex-gap")}
    assert {row.setting for row in rows.values()} == {"sex: male minus female"}
    macro = rows[MACRO_AVERAGE]
    assert macro.value > 0.15 and macro.low is not None and macro.low > 0
    assert macro.p is not None and macro.p < 0.05
    assert rows["ravdess"].low is None and "at least 4 are needed" in rows["ravdess"].note
    assert "4 speakers cannot decide: the smallest p there is 0.33" in rows["ravdess"].note
    assert not macro.note
    assert "tess" not in rows  # nobody there is known to be of either sex
    said = section_of(found, "Groups of speakers").findings[0]
    assert said.startswith("sex: male minus female in the macro-average over corpora: +")


def test_scores_of_groups_are_of_their_clips_alone(found: list[Section], people: Folders) -> None:
    rows = {(row.corpus, row.setting): row for row in numbers(found, "sex")}
    inside = [row for row in rows_of(people[0], "ravdess") if row["label4"] is not None]
    for sex in ("female", "male"):
        row = rows["ravdess", f"sex={sex}"]
        assert (row.clips, row.speakers) == (sum(one["sex"] == sex for one in inside), 2)


def test_ages_are_put_into_bands(found: list[Section]) -> None:
    (row,) = numbers(found, "age-gap")
    assert (row.corpus, row.setting) == ("savee", "age: under 30 minus 60 and over")


def test_english_is_tested_on_the_other_languages_of_the_dataset(
    found: list[Section], people: Folders
) -> None:
    """EmoDB is no part of an English study, and its clips are what is asked about all the same."""
    rows = [row for row in numbers(found, "foreign") if row.trained_on == "English"]
    tested = {(row.corpus, row.setting): row for row in rows}
    assert set(tested) == {("emodb", "language=de"), ("esd", "language=zh")}
    assert {row.protocol for row in rows} == {PROTOCOL}
    german = [row for row in rows_of(people[0], "emodb") if row["label4"] is not None]
    assert (tested["emodb", "language=de"].clips) == len(german)
    assert {row.adapt for row in rows} == {"none"}
    assert {row.adapt for row in numbers(found, "foreign-adapted")} == {"speaker-adapted"}


def test_beside_english_stands_the_own_language(found: list[Section]) -> None:
    scores = {(row.corpus, row.trained_on): row.value for row in numbers(found, "foreign")}
    for row in numbers(found, "foreign-minus-own"):
        english, own = (
            scores[row.corpus, language] for language in ("English", "the same language")
        )
        assert row.value == pytest.approx(english - own)
    assert scores["emodb", "English"] > 0.3


def test_a_dataset_of_english_alone_says_what_is_lacking(
    dataset: Path, store: Path, tmp_path: Path
) -> None:
    found = sections_of((dataset, store), tmp_path / "out", *PART)
    (note,) = section_of(found, FOREIGN).notes
    assert "the dataset lacks English clips or any in another language" in note
