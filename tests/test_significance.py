"""Tests of differences: exactness, error rates at the corpora's speaker counts, known values."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_predictions import predictions, speaker_recalls
from numpy.typing import NDArray
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy import stats
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from ser_generalize import significance, statistics
from ser_generalize.predictions import Predictions
from ser_generalize.scores import uar
from ser_generalize.significance import (
    contributions,
    detectable_difference,
    exchange_test,
    holm,
    mean_ranks,
    paired,
    permutation_test,
    rank_biserial,
    smallest_exchange_p,
    smallest_p,
    speaker_differences,
    standardised_difference,
    undecidable,
    wilcoxon_test,
)
from ser_generalize.statistics import (
    MACRO_AVERAGE,
    Clusters,
    Sampled,
    common_clips,
    compare,
    difference_estimate,
    sample,
    speaker_clusters,
    unpaired,
)

SIMULATIONS = 8_000
Counts = NDArray[np.int64]


def clusters_of(first: Predictions, second: Predictions) -> dict[str, Clusters]:
    return speaker_clusters(common_clips(first, second))


def null_counts(
    generator: np.random.Generator, speakers: int, clips: int = 12, better: float = 0.0
) -> Counts:
    """Draw two runs' counts [2, S, 4, 4] on the same speakers, the second better in logits."""
    recalls = speaker_recalls(generator, speakers, 4, 1.0, 0.7)
    shift = np.array([0.0, better])[:, None, None] + generator.normal(0, 0.4, (2, speakers, 4))
    odds = recalls / (1 - recalls) * np.exp(shift)
    recalls = odds / (1 + odds)
    shares = np.repeat((1 - recalls[..., None]) / 3, 4, axis=-1)
    shares[..., range(4), range(4)] = recalls
    return generator.multinomial(clips, shares)


def swapped(counts: Counts, swaps: tuple[int, ...]) -> float:
    """Return the difference in UAR when the two runs are swapped for some speakers."""
    runs = np.array(counts)
    for speaker, swap in enumerate(swaps):
        if swap:
            runs[:, speaker] = runs[::-1, speaker]
    first, second = uar(runs.sum(1))
    return float(second - first)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
@settings(deadline=None, max_examples=25)
def test_swapping_the_counts_of_speakers_gives_the_same_p(seed: int, speakers: int) -> None:
    counts = null_counts(np.random.default_rng(seed), speakers, clips=5)
    observed = swapped(counts, (0,) * speakers)
    assert contributions(counts).sum() == pytest.approx(observed)
    every = [swapped(counts, swaps) for swaps in product((0, 1), repeat=speakers)]
    as_large = np.mean(np.abs(every) >= abs(observed) - 1e-12)
    assert permutation_test(contributions(counts)) == pytest.approx(as_large)


@pytest.mark.parametrize("speakers", [2, 4, 10, 14, 24, 91])
def test_permutation_test_is_scipys(speakers: int) -> None:
    generator = np.random.default_rng(speakers)
    values = generator.normal(0.5 / np.sqrt(speakers), 1, speakers)
    exact = speakers <= significance.EXACT_SPEAKERS
    expected = stats.permutation_test(
        (values, np.zeros(speakers)),
        lambda one, two, axis: (one - two).sum(axis),
        permutation_type="samples",
        n_resamples=np.inf if exact else 10_000,
        vectorized=True,
        rng=1,
    ).pvalue
    assert permutation_test(values) == pytest.approx(expected, abs=1e-12 if exact else 0.02)


@pytest.mark.parametrize(("speakers", "clips"), [(8, 100), (10, 100), (24, 14), (91, 13)])
def test_of_runs_that_are_alike_one_in_twenty_is_called_different(
    speakers: int, clips: int
) -> None:
    generator = np.random.default_rng(speakers)
    values = [permutation_test(contributions(null_counts(generator, speakers, clips)))
              for _ in range(SIMULATIONS)]  # fmt: skip
    assert 0.04 <= np.mean(np.array(values) <= 0.05) <= 0.06


def test_where_counts_are_coarse_the_test_errs_on_the_side_of_no_difference() -> None:
    generator = np.random.default_rng(0)
    values = [permutation_test(contributions(null_counts(generator, 8, clips=3)))
              for _ in range(SIMULATIONS)]  # fmt: skip
    assert 0.01 < np.mean(np.array(values) <= 0.05) < 0.05


def test_a_better_run_is_called_better_the_more_often_the_more_speakers() -> None:
    def power(speakers: int) -> float:
        generator = np.random.default_rng(speakers)
        values = [permutation_test(contributions(null_counts(generator, speakers, better=0.3)))
                  for _ in range(300)]  # fmt: skip
        return float(np.mean(np.array(values) <= 0.05))

    assert power(4) == 0 < power(10) < power(24) < power(91)
    assert power(91) > 0.9


@pytest.mark.parametrize("speakers", [1, 2, 4, 5])
def test_with_few_speakers_no_difference_is_large_enough(speakers: int) -> None:
    p = permutation_test(np.full(speakers, 0.5))
    assert p == smallest_p(speakers) > 0.05
    assert f"the smallest p there is {p:.2g}, whatever" in undecidable(speakers, p)


def test_six_speakers_decide_alone_but_not_among_many_comparisons() -> None:
    assert not undecidable(6, smallest_p(6))
    assert "0.31 after Holm over 10 comparisons" in undecidable(6, smallest_p(6), 10)
    assert not undecidable(24, smallest_p(24), 100)


@pytest.mark.parametrize("sizes", [[(2, 2)], [(2, 3)], [(3, 3)], [(1, 2), (2, 2)]])
def test_groups_that_are_wholly_unlike_have_the_smallest_p(sizes: list[tuple[int, int]]) -> None:
    right, wrong = np.eye(4) * 5, np.roll(np.eye(4), 1, axis=1) * 5
    groups = [(np.stack([wrong] * few), np.stack([right] * many)) for few, many in sizes]
    assert exchange_test(groups) == pytest.approx(smallest_exchange_p(sizes), abs=0.015)


def test_a_paired_test_sees_what_speakers_have_in_common() -> None:
    corpora = {"ravdess": (24, 8), "savee": (4, 10), "tess": (2, 20)}
    first, second = predictions(corpora=corpora), predictions("x", mean=1.8, corpora=corpora)
    found = {one.corpus: one for one in paired(clusters_of(first, second))}
    assert found["ravdess"].p < 0.001 and found["savee"].p == 0.125 and found["tess"].p == 0.5
    assert found[MACRO_AVERAGE].p < 0.001
    assert found["tess"].detectable is None and found["ravdess"].detectable is not None
    same = {one.corpus: one for one in paired(clusters_of(first, first))}
    assert same["ravdess"].p == 1 and same["ravdess"].wilcoxon is None
    assert same["ravdess"].rank_biserial is same["ravdess"].standardised is None


def test_macro_average_weighs_corpora_alike() -> None:
    corpora = {"ravdess": (6, 8), "savee": (4, 10)}
    first, second = predictions(corpora=corpora), predictions("x", mean=1.3, corpora=corpora)
    groups = list(clusters_of(first, second).values())
    added = np.concatenate([contributions(group.counts) / 2 for group in groups])
    macro = compare(first, second)[-1]
    assert added.sum() == pytest.approx(macro.estimates["uar"].value)
    assert paired(clusters_of(first, second))[-1].p == permutation_test(added)


def test_runs_with_other_numbers_of_seeds_are_compared_by_shares() -> None:
    counts = null_counts(np.random.default_rng(0), 9)
    more = np.stack([counts[0], 3 * counts[1]])
    np.testing.assert_allclose(contributions(more), contributions(counts))


def test_speakers_differences_are_scikit_learns_of_speakers_with_all_classes() -> None:
    missing = [("ravdess:03", "sad")]
    runs = [predictions(missing=missing), predictions("x", mean=1.5, missing=missing)]

    def score(run: Predictions, speaker: str) -> float:
        rows = run.column("speaker") == speaker
        predicted = run.probabilities()[rows].argmax(1)
        return float(balanced_accuracy_score(run.labels()[rows], predicted))

    names = sorted(set(runs[0].column("speaker")) - {"ravdess:03"})
    expected = [score(runs[1], name) - score(runs[0], name) for name in names]
    found = speaker_differences(clusters_of(*runs)["ravdess"].counts)
    np.testing.assert_allclose(found, expected)
    assert wilcoxon_test(found) == pytest.approx(stats.wilcoxon(expected).pvalue)
    t = stats.ttest_1samp(expected, 0).statistic
    assert standardised_difference(found) == pytest.approx(t / np.sqrt(len(expected)))


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=30))
@settings(deadline=None, max_examples=30)
def test_rank_biserial_is_told_by_the_rank_sums_of_scipy(values: list[int]) -> None:
    differences = np.array(values, dtype=np.float64)
    found = rank_biserial(differences)
    nonzero = differences[differences != 0]
    if not len(nonzero):
        assert found is None
        return
    above = stats.wilcoxon(
        nonzero, alternative="greater", method="asymptotic"
    ).statistic  # the positive rank sum
    assert found == pytest.approx(2 * above / (len(nonzero) * (len(nonzero) + 1) / 2) - 1)


@pytest.mark.parametrize("members", [1, 2, 5, 30])
def test_holm_is_that_of_statsmodels(members: int) -> None:
    values = (np.random.default_rng(members).random(members) ** 3).tolist()
    np.testing.assert_allclose(holm(values), multipletests(values, method="holm")[1])
    assert holm([None, *values, None]) == [None, *holm(values), None]


@pytest.mark.parametrize("speakers", [4, 10, 24, 91])
def test_detectable_difference_is_that_of_a_power_analysis(speakers: int) -> None:
    spread = 0.08
    sampled = Sampled(0.0, spread**2 / speakers, speakers - 1)
    expected = TTestPower().solve_power(nobs=speakers, alpha=0.05, power=0.8) * spread
    found = detectable_difference(sampled)
    assert found == pytest.approx(expected, rel=1e-3)
    generator = np.random.default_rng(speakers)
    drawn = generator.normal(found, spread, (2_000, speakers))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(
        0.8, abs=0.03
    )


def test_critical_difference_is_that_of_demsar_and_nemenyis_test() -> None:
    generator = np.random.default_rng(3)
    values = generator.random((14, 4)) + np.array([0, 0.15, 0.3, 0.9])
    ranks = mean_ranks(values)
    assert ranks.critical == pytest.approx(1.25, abs=0.005)  # Demsar 2006, section 3.2.4
    assert ranks.p == stats.friedmanchisquare(*values.T).pvalue
    expected = posthoc_nemenyi_friedman(values).to_numpy()
    gaps = np.abs(np.subtract.outer(ranks.mean, ranks.mean))
    assert ((gaps > ranks.critical) == (expected < 0.05)).all()
    assert (gaps > ranks.critical).any() and min(ranks.mean) == ranks.mean[3]


def test_methods_that_are_all_alike_share_a_rank() -> None:
    ranks = mean_ranks(np.full((5, 3), 0.5))
    assert (ranks.mean, ranks.p) == ((2.0, 2.0, 2.0), 1.0)


GROUPS = [(4, 6), (10, 14), (43, 48)]  # EmoDB's, RAVDESS's and CREMA-D's order of sizes


@pytest.mark.parametrize("sizes", GROUPS)
def test_of_groups_that_are_alike_one_in_twenty_is_called_different(sizes: tuple[int, int]) -> None:
    generator, values = np.random.default_rng(sum(sizes)), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(significance, "DRAWS", 200)  # enough for a rate
        for _ in range(1_500):
            counts = null_counts(generator, sum(sizes))[0]
            values.append(exchange_test([(counts[: sizes[0]], counts[sizes[0] :])]))
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.05, abs=0.017)


def test_exchange_test_is_scipys_where_speakers_have_as_many_clips() -> None:
    counts = null_counts(np.random.default_rng(4), 14)[0]
    first, second = counts[:6], counts[6:]
    expected = stats.permutation_test(
        (uar(first), uar(second)),
        lambda one, two, axis: two.mean(axis) - one.mean(axis),
        permutation_type="independent",
        n_resamples=10_000,
        vectorized=True,
        rng=0,
    ).pvalue
    assert exchange_test([(first, second)]) == pytest.approx(expected, abs=0.02)


def test_a_gap_in_several_corpora_is_seen_where_one_alone_is_too_small() -> None:
    generator = np.random.default_rng(2)
    pairs = []
    for _ in range(5):
        worse, better = null_counts(generator, 5, better=1.0)
        pairs.append((worse, better[::-1]))
    assert exchange_test(pairs) < 0.01
    assert exchange_test(pairs) < min(exchange_test([pair]) for pair in pairs)


@pytest.mark.parametrize("sizes", GROUPS)
def test_interval_of_a_gap_covers(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics.resample, "__defaults__", (500, statistics.SEED))
    generator, hits = np.random.default_rng(sum(sizes)), 0
    for _ in range(600):
        counts = null_counts(generator, sum(sizes))[0]
        first, second = (sample(part[None])["uar"] for part in np.split(counts, sizes[:1]))
        found = difference_estimate(unpaired(first, second), min(sizes)).interval
        hits += found is not None and found.low <= 0 <= found.high
    assert hits / 600 == pytest.approx(0.95, abs=0.027)
