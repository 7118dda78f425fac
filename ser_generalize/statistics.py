"""How sure a result is: intervals and paired differences whose sampling unit is the speaker.

Clips of one speaker resemble each other, so an interval over clips is too narrow. Speakers are
resampled with replacement (cluster bootstrap: Field and Welsh 2007, J. R. Stat. Soc. B 69) as
multinomial weights on per-speaker confusion counts. Percentiles of the resamples cover too little
when speakers are few (.79 instead of .95 with four), so the resamples give the standard error, and
Student's t the interval: on the logit scale for a score, which keeps it inside [0, 1], on the plain
scale for a difference. Its degrees of freedom count effective speakers (Kish 1965), because a
corpus that six of its three hundred speakers dominate tells little more than six speakers do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from ser_generalize.errors import InputError, listing
from ser_generalize.predictions import Predictions, repeated_clips
from ser_generalize.scores import METRICS, Counts, chance

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95
MINIMUM_SPEAKERS = 4
MACRO_AVERAGE = "macro-average"
METHOD = (
    "95 % confidence intervals: Student's t with the standard error of a bootstrap over speakers "
    f"({RESAMPLES:,} resamples), on the logit scale for scores, paired by clip for differences"
)
SCORE_METHOD = "speaker bootstrap, t on the logit scale"
DIFFERENCE_METHOD = "speaker bootstrap paired by clip, t"
SAME = "no interval: every speaker scores the same"
NO_SPREAD = 1e-9  # a standard error below this is rounding

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval: within [0, 1] for a score, [-1, 1] for a difference."""

    low: float
    high: float
    speakers: int
    method: str


@dataclass(frozen=True)
class Estimate:
    """A metric or a difference with its interval; where there is none, `note` says why."""

    value: float
    interval: Interval | None
    note: str = ""


@dataclass(frozen=True)
class Result:
    """The estimates of every metric for one corpus, or for the macro-average over corpora."""

    corpus: str
    clips: int
    speakers: int  # known ones
    chance: float  # UAR of guessing, 1 / classes that the corpus holds
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Sampled:
    """A value, its sampling variance over speakers and that variance's degrees of freedom."""

    value: float
    variance: float  # NaN under two speakers
    degrees: float


@dataclass(frozen=True)
class Clusters:
    """Confusion counts of a corpus by speaker, for one run or for several on the same clips."""

    speakers: tuple[str, ...]  # sorted; "" stands for all clips of unknown speaker together
    counts: Counts  # [runs, S, K, K]
    clips: int

    @property
    def known(self) -> int:
        """The number of speakers that have a name."""
        return len([speaker for speaker in self.speakers if speaker])


MakeEstimate = Callable[[Sampled, int], Estimate]


def score(predictions: Predictions) -> list[Result]:
    """Score a run: a Result per corpus, then their macro-average where there are several.

    A corpus's metrics pool its clips; nothing is averaged over speakers. The macro-average takes
    the corpora as given: its interval speaks about new speakers of them, not about new corpora.
    Raises InputError for a run without a test clip.
    """
    if not predictions.table.num_rows:
        raise InputError(f"run {predictions.about.run!r} predicts no clip, so it has no score")
    return results(speaker_clusters([predictions]), score_estimate)


def compare(first: Predictions, second: Predictions) -> list[Result]:
    """Return `second` minus `first` on their common clips, per corpus and macro-averaged.

    Clips are joined on clip_id (and on the fold where a run predicts a clip in several folds), with
    all their seeds, both
    runs share the resampling weights, and speakers are the clusters. Raises InputError where the
    runs have other classes, share no clip, or disagree on the true class of a shared clip.
    """
    return results(speaker_clusters(common_clips(first, second)), difference_estimate)


def speaker_clusters(runs: Sequence[Predictions]) -> dict[str, Clusters]:
    """Count per corpus and speaker; the runs must be of the same clips (`common_clips`).

    A clip counts once for every seed. UAR and accuracy of such counts are their means over seeds,
    and all metrics are alike for counts and for multiples of them, so runs may differ in seeds.
    """
    counted = [_speaker_counts(run) for run in runs]
    return {
        corpus: Clusters(speakers, np.stack([counts[corpus][1] for counts in counted]), clips)
        for corpus, (speakers, _, clips) in counted[0].items()
    }


def pooled(clusters: Mapping[str, Clusters]) -> Clusters:
    """Return the speakers of all corpora as those of one, in which large corpora rule."""
    groups = list(clusters.values())
    return Clusters(
        tuple(speaker for group in groups for speaker in group.speakers),
        np.concatenate([group.counts for group in groups], axis=1),
        sum(group.clips for group in groups),
    )


def common_clips(first: Predictions, second: Predictions) -> list[Predictions]:
    """Return both runs cut to the clips they share, all their seeds; InputError as `compare`."""
    pair = f"{first.about.run!r} and {second.about.run!r}"
    if first.about.classes != second.about.classes:
        raise InputError(f"runs {pair} have different classes, so they cannot be compared")
    runs = (first, second)
    with_fold = any(_predicts_again(run) for run in runs)
    keys = [_keys(run, with_fold) for run in runs]
    shared = [pc.is_in(keys[0], keys[1]), pc.is_in(keys[1], keys[0])]
    if not pc.any(shared[0]).as_py():
        raise InputError(f"runs {pair} have no clip in common, so they cannot be compared")
    _check_same_truth(runs, keys, pair)
    return [
        Predictions(run.about, run.table.filter(rows))
        for run, rows in zip(runs, shared, strict=True)
    ]


@lru_cache(maxsize=32)  # every run on the same corpus needs the same weights
def speaker_weights(speakers: int, resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Return how often each resample draws each speaker: non-negative, rows sum to S, [B, S]."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(speakers, np.full(speakers, 1 / speakers), size=resamples)
    weights = drawn.astype(np.float64)
    weights.setflags(write=False)  # cached, so shared
    return weights


def resample(counts: Counts, resamples: int = RESAMPLES, seed: int = SEED) -> Counts:
    """Draw speakers with replacement: counts [..., S, K, K] to resampled counts [..., B, K, K]."""
    *leading, speakers, classes, _ = counts.shape
    flat = counts.reshape(*leading, speakers, classes * classes).astype(np.float64)
    drawn = speaker_weights(speakers, resamples, seed) @ flat
    return drawn.reshape(*leading, resamples, classes, classes)


def effective_speakers(counts: Counts) -> float:
    """Return Kish's effective number of speakers, in [1, S], from counts of shape [S, K, K]."""
    clips = counts.sum((-2, -1))
    return float(clips.sum() ** 2 / (clips**2).sum())


def sample(counts: Counts) -> dict[str, Sampled]:
    """Return every metric of the last run minus the first (of one run: itself), with its variance.

    Takes the counts of one corpus, shape [runs, S, K, K].
    """
    drawn, speakers = resample(counts), counts.shape[1]
    degrees = max(effective_speakers(counts[0]) - 1, 1.0)
    # The bootstrap's variance is that of a sample of S divided by S, not by S - 1.
    correction = speakers / (speakers - 1) if speakers > 1 else math.nan
    sampled = {}
    for name, metric in METRICS.items():
        value, draws = _last_minus_first(metric(counts.sum(1))), _last_minus_first(metric(drawn))
        sampled[name] = Sampled(float(value), float(draws.var()) * correction, degrees)
    return sampled


def unpaired(first: Sampled, second: Sampled) -> Sampled:
    """Return `second` minus `first` of independent speakers; degrees of freedom are Welch's."""
    halves = macro_average([replace(first, value=-first.value), second])
    return Sampled(2 * halves.value, 4 * halves.variance, halves.degrees)


def macro_average(sampled: Sequence[Sampled]) -> Sampled:
    """Average independent values; the degrees of freedom are Welch and Satterthwaite's (1946)."""
    values, variances, degrees = np.array(
        [(one.value, one.variance, one.degrees) for one in sampled]
    ).T
    total = float(variances.sum())
    # Without any variance (a run against itself) the degrees of freedom do not matter.
    together = total**2 / float((variances**2 / degrees).sum()) if total else float(degrees.sum())
    return Sampled(float(values.mean()), total / len(sampled) ** 2, together)


def _speaker_counts(
    run: Predictions,
) -> dict[str, tuple[tuple[str, ...], NDArray[np.int64], int]]:
    """Return per corpus the speakers, their confusion counts [S, K, K] and the number of clips."""
    corpus, names = run.codes("corpus")
    speaker, speakers = _ranked_speakers(run)
    classes, predicted = len(run.about.classes), run.probabilities().argmax(1)
    pairs, found = run.labels() * classes + predicted, {}
    for code, name in sorted(enumerate(names), key=lambda item: item[1]):
        rows = np.flatnonzero(corpus == code)
        if not len(rows):
            continue  # a dictionary may name what a filter has taken out
        here, index = np.unique(speaker[rows], return_inverse=True)
        size = len(here) * classes * classes
        counts = np.bincount(index * classes * classes + pairs[rows], minlength=size)
        shaped = counts.reshape(len(here), classes, classes)
        clips = pc.count_distinct(run.table["clip_id"].take(rows)).as_py()
        found[name] = tuple(speakers[one] for one in here), shaped, clips
    return found


def _ranked_speakers(run: Predictions) -> tuple[Rows, list[str]]:
    """Return who speaks every clip, as a position in the sorted names; "" is nobody known."""
    codes, names = run.codes("speaker")
    ranked = sorted({"", *names})
    place = {name: rank for rank, name in enumerate(ranked)}
    return np.array([*(place[name] for name in names), place[""]])[codes], ranked


def _last_minus_first(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values[0] if len(values) == 1 else values[-1] - values[0])


def results(clusters: Mapping[str, Clusters], estimate: MakeEstimate) -> list[Result]:
    """Return a Result per corpus, then their macro-average where there are several.

    `estimate` is `score_estimate` for one run, `difference_estimate` for the last minus the first.
    """
    sampled = {corpus: sample(group.counts) for corpus, group in clusters.items()}
    found = [
        Result(
            corpus,
            group.clips,
            group.known,
            float(chance(group.counts[0].sum(0))),
            {name: estimate(sampled[corpus][name], group.known) for name in METRICS},
        )
        for corpus, group in clusters.items()
    ]
    return [*found, _macro(found, sampled, estimate)] if len(found) > 1 else found


def _macro(
    corpora: Sequence[Result], sampled: Mapping[str, Mapping[str, Sampled]], estimate: MakeEstimate
) -> Result:
    speakers = sum(result.speakers for result in corpora)
    means = {name: macro_average([one[name] for one in sampled.values()]) for name in METRICS}
    return Result(
        MACRO_AVERAGE,
        sum(result.clips for result in corpora),
        speakers,
        float(np.mean([result.chance for result in corpora])),
        {name: estimate(mean, speakers) for name, mean in means.items()},
    )


def score_estimate(sampled: Sampled, speakers: int) -> Estimate:
    """Return a score in [0, 1] with its interval: t on the logit scale, by the delta method."""
    note = _why_no_interval(sampled, speakers)
    if note or sampled.variance <= NO_SPREAD**2:
        return Estimate(sampled.value, None, note or SAME)
    centre = logit(sampled.value)
    half = _half_width(sampled) / (sampled.value * (1 - sampled.value))
    low, high = float(expit(centre - half)), float(expit(centre + half))
    return Estimate(sampled.value, Interval(low, high, speakers, SCORE_METHOD))


def difference_estimate(sampled: Sampled, speakers: int) -> Estimate:
    """Return a difference in [-1, 1] with its interval: t on the plain scale, clipped.

    No difference at all without any variance (a run against itself) has an interval of zero width.
    """
    note = _why_no_interval(sampled, speakers)
    if note or (sampled.variance <= NO_SPREAD**2 and sampled.value):
        return Estimate(sampled.value, None, note or SAME)
    half = _half_width(sampled)
    low, high = max(sampled.value - half, -1.0), min(sampled.value + half, 1.0)
    return Estimate(sampled.value, Interval(low, high, speakers, DIFFERENCE_METHOD))


def _half_width(sampled: Sampled) -> float:
    quantile = stdtrit(sampled.degrees, (1 + LEVEL) / 2)
    return float(quantile * math.sqrt(sampled.variance))


def _why_no_interval(sampled: Sampled, speakers: int) -> str:
    if speakers < MINIMUM_SPEAKERS:
        return f"no interval: {speakers} known speakers, at least {MINIMUM_SPEAKERS} are needed"
    if math.isnan(sampled.variance):
        return "no interval: a corpus has a single speaker"
    return ""


def _predicts_again(run: Predictions) -> bool:
    """Return whether a run predicts a clip in several folds."""
    if run.clips_once:
        return False
    pairs = run.table.select(["clip_id", "fold"])
    folds = pairs.group_by("clip_id").aggregate([("fold", "count_distinct")])
    return bool(folds.num_rows) and pc.max(folds["fold_count_distinct"]).as_py() > 1


def _keys(run: Predictions, with_fold: bool) -> pa.ChunkedArray:
    """Return what every row predicts: a clip, and the fold where clips repeat."""
    columns = ["clip_id", *(["fold"] if with_fold else []), "seed"]
    if repeated_clips(run, columns):
        raise InputError(f"run {run.about.run!r} predicts a clip twice in one fold")
    clips = run.table["clip_id"]
    if not with_fold:
        return clips
    return pc.binary_join_element_wise(run.table["fold"].cast(pa.string()), clips, "\n")


def _check_same_truth(
    runs: Sequence[Predictions], keys: Sequence[pa.ChunkedArray], pair: str
) -> None:
    one, two = runs
    places = pc.index_in(keys[0], keys[1])  # null where only the first run predicts it
    theirs = pa.chunked_array([two.labels()]).take(places)
    differ = pc.not_equal(pa.chunked_array([one.labels()]), theirs).fill_null(False)
    clips = sorted(set(one.table["clip_id"].filter(differ).to_pylist()))
    if clips:
        raise InputError(
            f"runs {pair} disagree on the true class of {len(clips)} clips: {listing(clips, 3)}"
        )
