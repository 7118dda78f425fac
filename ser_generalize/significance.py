"""Whether a difference is real: tests, effect sizes and their limits, whose unit is the speaker.

Two runs on the same clips differ by chance where swapping them, speaker by speaker, makes
differences as large (Fisher 1935; Good 2005). UAR is linear in the counts of hits, so swapping a
speaker's counts flips the sign of what that speaker adds to the difference. With n speakers there
are 2^n swaps, half of which only mirror the others: no p-value under 2 / 2^n exists, whatever the
difference. Ties count as large, so where every speaker has a few clips the test is cautious.

Holm's procedure is four lines here rather than a dependency on statsmodels, which takes a second to
import; the tests compare with it, and the critical difference with scikit-posthocs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import friedmanchisquare, nct, rankdata, studentized_range, wilcoxon

from ser_generalize.scores import Counts, uar
from ser_generalize.statistics import (
    LEVEL,
    MACRO_AVERAGE,
    MINIMUM_SPEAKERS,
    NO_SPREAD,
    Clusters,
    Sampled,
    macro_average,
    sample,
)

ALPHA = 1 - LEVEL
POWER = 0.8
EXACT_SPEAKERS = 14  # up to here all 2^n swaps are counted
DRAWS = 10_000
SEED = 0
TEST_METHOD = (
    "p-values: two-sided paired permutation test that swaps the two runs speaker by speaker (all "
    f"swaps up to {EXACT_SPEAKERS} speakers, else {DRAWS:,} drawn), adjusted by Holm's procedure "
    "over the averages of a table and over its single corpora"
)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """What speakers say of the difference in UAR between two runs on the same clips.

    What is over speakers' own UARs takes those who have all classes that the corpus has; it is None
    for fewer than two of them, or where they do not differ at all, and for the macro-average.
    """

    corpus: str
    speakers: int  # known ones
    p: float  # permutation test; 1 for a single speaker
    wilcoxon: float | None = None  # p of the signed-rank test over speakers' UARs
    standardised: float | None = None  # mean over deviation of speakers' differences
    rank_biserial: float | None = None  # of their signed ranks, in [-1, 1]
    detectable: float | None = None  # the difference that such a comparison finds with POWER


def p_values(clusters: Mapping[str, Clusters]) -> dict[str, float]:
    """Test the last run minus the first per corpus, and the macro-average where there are several.

    Takes what `statistics.speaker_clusters` makes of the runs' common clips. To the macro-average a
    corpus's speakers add in so far as the corpus does.
    """
    added = {name: contributions(group.counts) for name, group in clusters.items()}
    found = {name: permutation_test(values) for name, values in added.items()}
    if len(added) > 1:
        found[MACRO_AVERAGE] = permutation_test(np.concatenate(list(added.values())) / len(added))
    return found


def paired(clusters: Mapping[str, Clusters]) -> list[Paired]:
    """Return what speakers say per corpus, then of the macro-average where there are several.

    Takes what `p_values` takes.
    """
    p = p_values(clusters)
    found = [_corpus(name, group, p[name]) for name, group in clusters.items()]
    return [*found, _macro(list(clusters.values()), p[MACRO_AVERAGE])] if len(p) > 1 else found


def contributions(counts: Counts) -> Values:
    """Return what every speaker adds to the difference in UAR, last run minus first, [S].

    Takes the counts of one corpus, [runs, S, K, K]; the runs may differ in their number of seeds.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    clips = counts.sum((1, -1))  # [runs, K]
    present = clips[0] > 0
    shares: Values = hits[..., present] / clips[:, None, present]
    return np.asarray((shares[-1] - shares[0]).mean(-1))


def permutation_test(contributed: Values) -> float:
    """Return the two-sided p-value of a sum over speakers when every sign is as likely as not.

    Exact up to EXACT_SPEAKERS. Beyond, of DRAWS random swaps, the observed one counted among them
    (Phipson and Smyth 2010), so that p is never 0.
    """
    signs = _signs(len(contributed))
    observed = abs(contributed.sum())
    as_large = int((np.abs(signs @ contributed) >= observed - NO_SPREAD).sum())
    if len(contributed) <= EXACT_SPEAKERS:
        return as_large / len(signs)
    return (as_large + 1) / (len(signs) + 1)


@lru_cache(maxsize=32)  # every comparison on the same corpus needs the same signs
def _signs(speakers: int) -> Values:
    """Return swaps as rows of signs, [swaps, S]: all but mirror images, or as many as drawn."""
    if speakers <= EXACT_SPEAKERS:
        swaps = np.arange(2 ** (speakers - 1))[:, None] >> np.arange(speakers) & 1
    else:
        swaps = np.random.default_rng(SEED).integers(0, 2, (DRAWS, speakers))
    signs: Values = 1.0 - 2.0 * swaps.astype(np.float64)
    signs.setflags(write=False)  # cached, so shared
    return signs


def exchange_test(groups: Sequence[tuple[Counts, Counts]]) -> float:
    """Return the two-sided p-value of a difference in UAR between two groups of other speakers.

    Takes their counts [S, K, K] in every corpus; the difference is averaged over corpora. Were the
    groups alike, speakers of a corpus might have been of either: they are dealt anew DRAWS times,
    the observed deal counted among them.
    """
    drawn = np.mean([_exchanged(*pair, seed) for seed, pair in enumerate(groups)], axis=0)
    observed, others = abs(drawn[0]), np.abs(drawn[1:])
    return float((1 + (others >= observed - NO_SPREAD).sum()) / (1 + DRAWS))


def _exchanged(first: Counts, second: Counts, seed: int) -> Values:
    """Return UAR of the second group minus the first: as observed, then of random deals."""
    counts = np.concatenate([first, second]).astype(np.float64)
    size, total = len(first), counts.sum(0)
    generator = np.random.default_rng([SEED, seed])
    order = generator.permuted(np.tile(np.arange(len(counts)), (DRAWS, 1)), axis=1)
    order = np.concatenate([np.arange(len(counts))[None], order])
    in_first = (order < size).astype(np.float64)
    dealt = (in_first @ counts.reshape(len(counts), -1)).reshape(-1, *total.shape)
    return uar(total - dealt) - uar(dealt)


def speaker_differences(counts: Counts) -> Values:
    """Return the differences in UAR, last run minus first, of speakers who have all classes."""
    present = counts[0].sum((0, -1)) > 0
    complete = (counts[0].sum(-1)[:, present] > 0).all(-1)
    values = uar(counts[:, complete])
    return np.asarray(values[-1] - values[0], dtype=np.float64)


def wilcoxon_test(differences: Values) -> float | None:
    """Return the two-sided p-value of the signed-rank test; None where nobody differs."""
    found = differences[np.abs(differences) > NO_SPREAD]
    return float(wilcoxon(found).pvalue) if len(found) else None


def standardised_difference(differences: Values) -> float | None:
    """Return the mean over the standard deviation (Cohen's d of paired values), else None."""
    if len(differences) < 2 or (deviation := float(differences.std(ddof=1))) <= NO_SPREAD:
        return None
    return float(differences.mean()) / deviation


def rank_biserial(differences: Values) -> float | None:
    """Return the matched-pairs rank-biserial correlation in [-1, 1] (Kerby 2014), else None.

    It is the share of the rank sum that speaks for the second run minus that against it.
    """
    found = differences[np.abs(differences) > NO_SPREAD]
    if not len(found):
        return None
    ranks = rankdata(np.abs(found))
    return float((np.sign(found) * ranks).sum() / ranks.sum())


def detectable_difference(sampled: Sampled) -> float | None:
    """Return the smallest true difference that a t-test finds with POWER; None without variance.

    Takes the variance of a difference and its degrees of freedom, as `statistics.sample` estimates
    them: fewer speakers or more spread among them, and only larger differences can be found.
    """
    if math.isnan(sampled.variance) or sampled.variance <= NO_SPREAD**2:
        return None
    critical = stdtrit(sampled.degrees, 1 - ALPHA / 2)

    def lacking(noncentrality: float) -> float:
        return float(nct.sf(critical, sampled.degrees, noncentrality)) - POWER

    # The other tail adds less than a millionth of power.
    return float(brentq(lacking, 0, 20 * critical)) * math.sqrt(sampled.variance)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return Holm-adjusted p-values (1979) of a family, in its order; None is no member of it."""
    order = sorted((p, index) for index, p in enumerate(values) if p is not None)
    adjusted, largest = list(values), 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted


def smallest_p(speakers: int) -> float:
    """Return the smallest two-sided p-value that a paired test of so many speakers can have."""
    smallest = 2.0 ** (1 - max(speakers, 1))
    return smallest if speakers <= EXACT_SPEAKERS else max(smallest, 1 / (DRAWS + 1))


def smallest_exchange_p(sizes: Sequence[tuple[int, int]]) -> float:
    """Return the smallest p-value that groups of so many speakers, corpus by corpus, can have."""
    deals = math.prod(math.comb(first + second, first) for first, second in sizes)
    mirrored = all(first == second for first, second in sizes)  # one that only swaps the groups
    return max((1 + mirrored) / deals, 1 / (DRAWS + 1))


def undecidable(speakers: int, smallest: float, comparisons: int = 1) -> str:
    """Return what a test cannot decide with so few speakers, empty where it can.

    `smallest` is the smallest p-value that there is, and `comparisons` are those of the family, for
    all of which it pays.
    """
    adjusted = min(1.0, comparisons * smallest)
    if adjusted <= ALPHA:
        return ""
    family = f", {adjusted:.2g} after Holm over {comparisons} comparisons" * (comparisons > 1)
    return (
        f"{speakers} speakers cannot decide: the smallest p there is {smallest:.2g}{family}, "
        "whatever the difference"
    )


@dataclass(frozen=True)
class Ranks:
    """How methods rank over corpora (Demsar 2006, J. Mach. Learn. Res. 7); rank 1 is the best.

    Methods whose mean ranks differ by less than `critical` cannot be told apart (Nemenyi).
    """

    mean: tuple[float, ...]  # of every method
    critical: float
    p: float  # Friedman's test that all methods are alike
    corpora: int


def mean_ranks(values: Values) -> Ranks:
    """Rank methods by their scores [corpora, methods] on at least 2 corpora, of at least 3 methods.

    Friedman's p rests on a chi-squared that is rough under about ten corpora.
    """
    corpora, methods = values.shape
    ranks = rankdata(-values, axis=1)
    alike = bool((ranks == ranks[:, :1]).all())
    p = 1.0 if alike else float(friedmanchisquare(*values.T).pvalue)
    quantile = studentized_range.ppf(LEVEL, methods, np.inf) / math.sqrt(2)
    critical = quantile * math.sqrt(methods * (methods + 1) / (6 * corpora))
    return Ranks(tuple(ranks.mean(0).tolist()), float(critical), p, corpora)


def _corpus(name: str, group: Clusters, p: float) -> Paired:
    differences = speaker_differences(group.counts)
    return Paired(
        name,
        group.known,
        p,
        wilcoxon_test(differences),
        standardised_difference(differences),
        rank_biserial(differences),
        _detectable(sample(group.counts)["uar"], group.known),
    )


def _macro(groups: Sequence[Clusters], p: float) -> Paired:
    sampled = macro_average([sample(group.counts)["uar"] for group in groups])
    speakers = sum(group.known for group in groups)
    return Paired(MACRO_AVERAGE, speakers, p, detectable=_detectable(sampled, speakers))


def _detectable(sampled: Sampled, speakers: int) -> float | None:
    return detectable_difference(sampled) if speakers >= MINIMUM_SPEAKERS else None
