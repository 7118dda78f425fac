"""Rows of the study: the statistics' own numbers, tests over a family, ranks, and their wording."""

from dataclasses import fields, replace

import pyarrow as pa
import pytest
from make_predictions import predictions
from statsmodels.stats.multitest import multipletests

from ser_generalize.benchmark.rows import (
    DETECTABLE,
    MEAN_RANK,
    RANK_BISERIAL,
    STANDARDISED,
    adjusted,
    difference_rows,
    effect_rows,
    in_words,
    rank_rows,
    score_rows,
    verdict,
)
from ser_generalize.benchmark.sections import POOLED, ROW_SCHEMA, Row
from ser_generalize.scores import corpus_metrics
from ser_generalize.statistics import MACRO_AVERAGE, compare, score

CORPORA = {"ravdess": (24, 8), "savee": (4, 10), "tess": (2, 20)}
FIRST = predictions(corpora=CORPORA)
SECOND = predictions("better", mean=1.8, corpora=CORPORA, sampler="smote")


def by_corpus(rows: list[Row]) -> dict[str, Row]:
    assert len({row.corpus for row in rows}) == len(rows)
    return {row.corpus: row for row in rows}


def test_scores_are_those_of_the_statistics_and_pooled_beside_them() -> None:
    rows = by_corpus(score_rows("grid", "uar", FIRST, pooled=True, setting="clips=5"))
    for result in score(FIRST):
        row, estimate = rows[result.corpus], result.estimates["uar"]
        ends = estimate.interval
        assert (row.value, row.chance, row.note) == (estimate.value, 0.25, estimate.note)
        assert (row.low, row.high) == ((ends.low, ends.high) if ends else (None, None))
    pooled = rows[POOLED]
    assert pooled.value == corpus_metrics(FIRST)["pooled"]["uar"]
    assert (pooled.speakers, pooled.clips) == (30, 24 * 32 + 4 * 40 + 2 * 80)
    assert pooled.low is not None and pooled.low < pooled.value
    assert {row.setting for row in rows.values()} == {"clips=5"}


def test_rows_fit_the_file_that_they_are_written_to() -> None:
    rows = [*score_rows("grid", "uar", FIRST), *difference_rows("grid", "smote", FIRST, SECOND)]
    table = pa.Table.from_pylist([vars(row) for row in rows], schema=ROW_SCHEMA)
    assert table.column_names != [field.name for field in fields(Row)]  # another order, same names
    assert table["p"].null_count == len(rows) // 2 and table["value"].null_count == 0


def test_one_corpus_has_no_average() -> None:
    assert [row.corpus for row in score_rows("grid", "uar", predictions())] == ["ravdess"]


def test_differences_say_what_is_compared_and_are_adjusted_over_their_table() -> None:
    rows = adjusted(
        difference_rows("grid", "smote", FIRST, SECOND, ("uar", "accuracy"), pooled=True)
    )
    assert {(row.sampler, row.run, row.compared_with) for row in rows} == {
        ("smote", "better", "base")
    }
    tested = [row for row in rows if row.metric == "uar"]
    for result in compare(FIRST, SECOND):
        assert by_corpus(tested)[result.corpus].value == result.estimates["uar"].value
    expected = multipletests([row.p for row in tested], method="holm")[1]
    assert [row.p_adjusted for row in tested] == pytest.approx(expected)
    assert all(row.p is row.p_adjusted is None for row in rows if row.metric == "accuracy")
    savee = by_corpus(tested)["savee"]
    assert "4 speakers cannot decide" in savee.note and "over 5 comparisons" in savee.note
    assert not by_corpus(tested)["ravdess"].note


def test_effect_sizes_stand_where_they_exist() -> None:
    rows = effect_rows("grid", "effects", FIRST, SECOND)
    found = {(row.corpus, row.metric): row for row in rows}
    assert found["ravdess", RANK_BISERIAL].value > 0.9
    wilcoxon = found["ravdess", RANK_BISERIAL].p
    assert wilcoxon is not None and wilcoxon < 0.001
    assert found["ravdess", STANDARDISED].value > 1
    assert ("tess", DETECTABLE) not in found and (MACRO_AVERAGE, RANK_BISERIAL) not in found
    assert 0 < found[MACRO_AVERAGE, DETECTABLE].value < 0.2


def test_ranks_are_over_corpora_that_every_method_was_scored_on() -> None:
    corpora = dict.fromkeys("abcde", (6, 10))
    runs = {"none": 0.2, "smote": 0.8, "under": 2.0}
    rows = [
        row
        for sampler, mean in runs.items()
        for row in score_rows("grid", "uar", predictions(sampler, corpora, mean, sampler=sampler))
    ]
    partly = [row for row in rows if (row.corpus, row.sampler) != ("a", "none")]
    found, critical = rank_rows(partly, "sampler", "ranks")
    assert {row.sampler: row.value for row in found} == {"none": 3, "smote": 2, "under": 1}
    assert {row.metric for row in found} == {MEAN_RANK}
    assert critical == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    assert "over 4 corpora; Friedman p = ." in found[0].note
    assert rank_rows([row for row in rows if row.sampler != "smote"], "sampler", "x") == ([], None)


def test_a_sentence_says_no_more_than_the_interval() -> None:
    row = by_corpus(adjusted(difference_rows("grid", "smote", FIRST, SECOND)))["ravdess"]
    assert verdict(row, "SMOTE", "no sampler").startswith("SMOTE beat no sampler on ravdess: +")
    assert in_words(row).endswith("; 24 speakers; p < .001)")
    unsure = replace(row, value=0.01, low=-0.02, high=0.04, p_adjusted=0.2)
    assert verdict(unsure, "SMOTE", "no sampler") == (
        "SMOTE and no sampler cannot be told apart on ravdess: +1.0 (−2.0 to +4.0; 24 speakers; "
        "p = .200) points"
    )
    doubtful = replace(row, p_adjusted=0.06)
    assert "cannot be told apart" in verdict(doubtful, "SMOTE", "no sampler")
    few = replace(row, low=None, high=None)
    assert verdict(few, "a", "b").startswith("too few speakers to tell a from b on ravdess: +")
    assert "fell behind" in verdict(replace(row, value=-0.1, low=-0.2, high=-0.05), "a", "b")
