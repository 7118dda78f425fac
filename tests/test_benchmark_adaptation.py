"""The part `adaptation`: what is planted in speakers' voices is found, apart from plain results."""

from pathlib import Path

import pytest
from make_store import write_corpora
from make_study import Folders, numbers, planted, section_of, sections_of

from ser_generalize.benchmark import curve
from ser_generalize.benchmark.curve import CONDITIONS, MIXED, NEUTRAL, NOTHING
from ser_generalize.benchmark.sections import Section
from ser_generalize.cell import Cell
from ser_generalize.statistics import MACRO_AVERAGE
from ser_generalize.training import Recipe

PART = ("--only", "adaptation", "--head", "64")
BY = {kind: f"speaker-adapted by {kind}" for kind in (MIXED, NEUTRAL)}


def train_less(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Cell, "recipe", property(lambda cell: Recipe(loss=cell.loss, epochs=25)))


@pytest.fixture(scope="module")
def voices(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Two corpora in which speakers differ more than emotions do."""
    folder = tmp_path_factory.mktemp("voices")
    plant = planted(noise=0.5, label4=1.0, speaker=2.5)
    return write_corpora(folder, dataset, store, {"other": list}, plant)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "out"


@pytest.fixture(scope="module")
def found(voices: Folders, out: Path) -> list[Section]:
    with pytest.MonkeyPatch.context() as patch:
        train_less(patch)
        return sections_of(voices, out, *PART)


def test_adapted_scores_stand_apart_from_plain_ones(found: list[Section]) -> None:
    for protocol in ("loso", "loco", "cross"):
        rows = numbers(found, f"{protocol}-adapted")
        ways = {(row.adapt, row.sampler) for row in rows}
        assert ways == {
            (adapt, sampler)
            for adapt in ("corpus-adapted", "speaker-adapted")
            for sampler in ("none", "smote")
        }
        assert {row.protocol for row in rows} == {protocol}
        assert {row.adapt for row in numbers(found, f"{protocol}-minus-plain")} == {
            "none", "corpus-adapted", "speaker-adapted"
        }  # fmt: skip


def test_adaptation_to_speakers_finds_what_was_hidden_by_their_voices(found: list[Section]) -> None:
    for protocol in ("loso", "loco", "cross"):
        rows = {
            (row.corpus, row.adapt, row.sampler): row
            for row in numbers(found, f"{protocol}-minus-plain")
        }
        row = rows[MACRO_AVERAGE, "speaker-adapted", "none"]
        assert row.value > 0.1 and row.low is not None and row.low > 0
        assert row.p_adjusted is not None and row.p is not None and row.p_adjusted >= row.p
        assert abs(rows[MACRO_AVERAGE, "none", "smote"].value) < row.value / 2
    first = section_of(found, "Adaptation: new speakers of a known corpus").findings[0]
    assert first.startswith("speaker-adapted") and " beat plain in the macro-average" in first


def test_with_four_speakers_a_corpus_decides_nothing_and_says_so(found: list[Section]) -> None:
    rows = [row for row in numbers(found, "loso-minus-plain") if row.corpus == "ravdess"]
    assert all("4 speakers cannot decide" in row.note for row in rows)
    metrics = {row.metric for row in numbers(found, "effects")}
    assert metrics == {
        "rank-biserial correlation", "standardised difference", "detectable difference"
    }  # fmt: skip


def test_a_curve_runs_from_nothing_to_all_that_the_run_knew(found: list[Section]) -> None:
    for protocol in ("loso", "loco"):
        curve_rows = {
            (row.corpus, row.adapt, row.setting): row.value
            for row in numbers(found, f"{protocol}-curve")
        }
        settings = {condition.setting for condition in CONDITIONS}
        for corpus in ("ravdess", "other"):
            for kind in BY.values():
                assert {s for c, k, s in curve_rows if (c, k) == (corpus, kind)} == settings
            assert (
                curve_rows[corpus, BY[MIXED], "clips=0"]
                == curve_rows[corpus, BY[NEUTRAL], "clips=0"]
            )
            (run,) = [
                row.value
                for row in numbers(found, f"{protocol}-adapted")
                if (row.corpus, row.adapt, row.sampler) == (corpus, "speaker-adapted", "none")
            ]
            assert curve_rows[corpus, BY[MIXED], "clips=all"] == pytest.approx(run, abs=1e-3)
        nothing = curve_rows[MACRO_AVERAGE, BY[MIXED], "clips=0"]
        assert curve_rows[MACRO_AVERAGE, BY[MIXED], "clips=all"] > nothing + 0.1
    said = section_of(found, "How much of a new voice: new speakers of a known corpus").findings[0]
    assert said.startswith("no number of known clips can be told apart from no adaptation; all of")
    assert "8 speakers cannot decide: the smallest p there is 0.0078, 0.1 after Holm" in said


def test_what_is_measured_is_not_measured_again(
    voices: Folders, out: Path, found: list[Section], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_less(monkeypatch)
    monkeypatch.delattr(curve, "Training")
    again = sections_of(voices, out, *PART, "--report-only")
    assert numbers(again, "loso-curve") == numbers(found, "loso-curve")
    assert NOTHING.draws == 1


def test_an_unfinished_study_says_that_the_curve_is_missing(
    voices: Folders, tmp_path: Path
) -> None:
    found = sections_of(voices, tmp_path / "out", *PART, "--report-only")
    title = "How much of a new voice: a corpus that was never trained on"
    assert section_of(found, title).notes == (
        ["the curve under loco is not measured yet: run the study again"]
    )
    logistic = sections_of(
        voices, tmp_path / "two", "--only", "adaptation", "--head", "logistic", "--report-only"
    )
    assert "needs a head that is trained in epochs" in logistic[0].notes[0]
