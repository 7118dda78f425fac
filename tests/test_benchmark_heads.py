"""The part `heads`: every head is asked of the same clips, and compared with the study's own."""

from pathlib import Path

import pytest
from make_store import write_corpora
from make_study import Folders, numbers, planted, sections_of

from ser_generalize.benchmark.heads import HEADS
from ser_generalize.benchmark.part import Study
from ser_generalize.benchmark.sections import Section
from ser_generalize.cell import Cell
from ser_generalize.statistics import MACRO_AVERAGE
from ser_generalize.training import Recipe

PART = ("--only", "heads", "--head", "8")


@pytest.fixture(scope="module")
def corpora(dataset: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folder = tmp_path_factory.mktemp("corpora")
    plant = planted(noise=0.5, label4=1.0)
    return write_corpora(folder, dataset, store, {"other": list, "third": list}, plant)


@pytest.fixture(scope="module")
def found(corpora: Folders, tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    with pytest.MonkeyPatch.context() as patch:  # a network of one epoch has learnt little
        patch.setattr(Cell, "recipe", property(lambda cell: Recipe(loss=cell.loss, epochs=1)))
        return sections_of(corpora, tmp_path_factory.mktemp("study") / "out", *PART)


def test_a_network_that_has_learnt_little_falls_behind_linear_heads(found: list[Section]) -> None:
    home, abroad, _ = found
    assert home.title.endswith("known corpus") and abroad.title.endswith("never trained on")
    for section, protocol in zip((home, abroad), ("loso", "loco"), strict=True):
        rows = numbers(found, f"{protocol}-heads-minus-own")
        averages = [row for row in rows if row.corpus == MACRO_AVERAGE]
        assert [(row.adapt, row.head) for row in averages] == [
            (adapt, head)
            for adapt in ("none", "speaker-adapted")
            for head in ("128", "logistic", "lda")
        ]  # fmt: skip
        linear = [row for row in averages if row.head != "128"]
        assert all(row.low is not None and row.low > 0.1 for row in linear)
        assert any(said.startswith("LDA beat a network of 8 units in") for said in section.findings)
        both = "LDA beat a network of 8 units, both speaker-adapted, in the macro-average"
        assert any(said.startswith(both) for said in section.findings)


def test_adapted_scores_stand_apart_from_plain_ones(found: list[Section]) -> None:
    for protocol in ("loso", "loco"):
        plain, adapted = (numbers(found, f"{protocol}-heads{end}") for end in ("", "-adapted"))
        assert {row.adapt for row in plain} == {"none"}
        assert {row.adapt for row in adapted} == {"speaker-adapted"}
        assert {row.head for row in plain} == {row.head for row in adapted}
        assert list(dict.fromkeys(row.head for row in plain)) == ["8", "128", "logistic", "lda"]


def test_no_head_is_asked_twice_and_one_corpus_has_no_elsewhere(corpora: Folders) -> None:
    data, store = corpora
    study = Study(str(data), (store,), ("other", "ravdess", "third"), 1, "lda")
    asked = HEADS.cells(study)
    assert len(asked) == len(set(asked)) == 2 * 2 * 3
    assert {cell.head for cell in asked} == {"lda", "128", "logistic"}
    alone = Study(str(data), (store,), ("ravdess",), 1, "128")
    assert {cell.protocol for cell in HEADS.cells(alone)} == {"loso"}
    (section,) = HEADS.sections(alone, {}, Path())
    assert section.notes == ["its heads are not finished"] and not section.tables
