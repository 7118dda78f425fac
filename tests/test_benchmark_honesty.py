"""The part `honesty`: planted leaks, corpora, votes and label maps are found."""

from pathlib import Path

import pytest
from make_dataset import Row, rows_of
from make_store import write_corpora
from make_study import Folders, numbers, planted, section_of, sections_of

from ser_generalize.benchmark.sections import Section
from ser_generalize.labels import EMOTIONS
from ser_generalize.statistics import MACRO_AVERAGE

PART = ("--only", "honesty", "--head", "logistic")
PROBE = "How well an embedding tells its corpus"


def raters_hear_neutral(rows: list[Row]) -> list[Row]:
    """Give every clip votes: for its own emotion, but for neutral where it was sad."""
    return [
        row | {"votes": [{"label": _heard(row), "count": 5}, {"label": "other", "count": 1}]}
        for row in rows
    ]


def _heard(row: Row) -> str:
    emotion = None if row["emotion"] is None else EMOTIONS[row["emotion"]]
    return "neutral" if emotion in ("sad", None) else emotion


@pytest.fixture(scope="module")
def leaky(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Two corpora whose speakers each have their own way of every emotion."""
    folder = tmp_path_factory.mktemp("leaky")
    plant = planted(speaker__label4=1.5, corpus=2.0)
    return write_corpora(folder, dataset, store, {"crema_d": raters_hear_neutral}, plant)


@pytest.fixture(scope="module")
def found(leaky: Folders, tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return sections_of(leaky, tmp_path_factory.mktemp("study") / "out", *PART)


def test_a_random_split_claims_what_it_knows_of_its_speakers(found: list[Section]) -> None:
    rows = {row.corpus: row for row in numbers(found, "leak")}
    assert all(row.leaks == "speaker,session,text" for row in rows.values())
    macro = rows[MACRO_AVERAGE]
    assert macro.low is not None and macro.low > 0.3
    said = section_of(found, "What a random split would have claimed").findings[0]
    assert said.startswith("a random split would have claimed +")
    assert said.endswith("points of UAR too many in the macro-average over corpora")


def test_known_sentences_are_compared_on_the_same_clips(found: list[Section]) -> None:
    rows = {row.corpus: row for row in numbers(found, "text-leak")}
    assert {row.compared_with.split()[-3] for row in rows.values()} == {"text"}
    assert {row.protocol for row in rows.values()} == {"within"}
    assert rows["ravdess"].clips == rows["crema_d"].clips > 0


def test_the_probe_recognises_a_corpus_by_its_sound(found: list[Section]) -> None:
    (row,) = numbers(found, "probe")
    assert (row.value, row.chance, row.label_set) == (1.0, 0.5, "corpora")
    assert {row.corpus: row.value for row in numbers(found, "probe-corpora")} == {
        "crema_d": 1.0, "ravdess": 1.0
    }  # fmt: skip


def test_the_probe_does_not_recognise_a_corpus_by_speakers_that_it_heard(
    dataset: Path, store: Path, tmp_path: Path
) -> None:
    """Where corpora sound alike and every speaker is unlike any other, it can only guess."""
    plant = planted(noise=0.3, speaker=3.0)
    folders = write_corpora(tmp_path, dataset, store, {"other": lambda rows: rows}, plant)
    found = sections_of(folders, tmp_path / "out", *PART)
    (row,) = numbers(found, "probe")
    assert row.value < 0.75


def test_models_of_either_labels_are_scored_on_either(found: list[Section], leaky: Folders) -> None:
    rows = numbers(found, "labels")
    assert {row.corpus for row in rows} == {"crema_d"}
    assert len({row.setting for row in rows}) == len(rows) == 4
    assert len({row.clips for row in rows}) == 1
    said = section_of(found, "Acted against perceived labels").findings
    (agreement,) = [one for one in said if one.startswith("crema_d: of ")]
    sad, every = clips_of(leaky, "crema_d", "sad"), rows[0].clips
    assert agreement.endswith(f"{100 * (1 - sad / every):.1f} % have the same")
    differences = numbers(found, "labels-minus")
    assert {row.setting for row in differences} == {
        "scored on the corpus's own labels", "scored on raters' labels"
    }  # fmt: skip
    score = {row.setting: row.value for row in rows}
    for row in differences:
        raters, own = (
            score[f"trained on {labels}, {row.setting}"]
            for labels in ("raters' labels", "the corpus's own labels")
        )
        assert row.value == pytest.approx(raters - own)


def clips_of(folders: Folders, corpus: str, emotion: str) -> int:
    return sum(EMOTIONS[row["emotion"]] == emotion for row in rows_of(folders[0], corpus))


def test_another_label_map_lets_other_clips_in(found: list[Section], leaky: Folders) -> None:
    (row,) = [row for row in numbers(found, "maps") if row.corpus == "ravdess"]
    (difference,) = numbers(found, "maps-minus")
    assert row.setting == difference.setting == "ravdess-calm-is-neutral"
    assert row.clips == difference.clips + clips_of(leaky, "ravdess", "calm")


def test_one_corpus_is_not_told_from_others(dataset: Path, store: Path, tmp_path: Path) -> None:
    found = sections_of((dataset, store), tmp_path / "out", *PART)
    assert section_of(found, PROBE).notes == ["a single corpus cannot be told from others"]
    assert numbers(found, "leak")
