"""What a probability is worth: temperature, calibration error, and when to give no answer.

All is judged on speakers that it was not fitted on: the clips are split by speaker into groups, and
each group is judged by what the others gave.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import beta, t

from ser_generalize.predictions import Predictions

GROUPS = 5  # of speakers, for judging what was fitted on the others
BINS = 15  # of confidence (Guo et al. 2017)
TEMPERATURES = (0.05, 1000.0)
RATE = 0.1  # of errors among the clips that are answered
DOUBT = 0.05  # chance that the true rate lies above the one asked for
SHARES = tuple(np.arange(1, 11) / 10)  # of the clips, that may be answered
MINIMUM_SPEAKERS = 4  # fewer say too little of the next one

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Abstention:
    """Below which confidence no answer is given, and what that is worth on other speakers."""

    below: float
    rate: float  # of errors among the answered, that it is meant to stay under
    answered: float  # share of the clips
    errors: float  # share of the answered


@dataclass(frozen=True)
class Calibration:
    """What makes scores probabilities, and how good they are.

    `probabilities` [n, classes] are those of every clip under the temperature that the other
    groups of speakers gave; the errors are expected calibration errors, in [0, 1].
    """

    temperature: float
    probabilities: Floats
    error_before: float
    error_after: float
    abstention: Abstention | None  # None: no threshold keeps the rate, or too few speakers


@dataclass(frozen=True)
class Bin:
    """The clips whose confidence lies in one interval."""

    clips: int
    confidence: float  # their mean, in [0, 1]
    accuracy: float


def calibrate(
    scores: NDArray[Any], labels: Labels, speakers: NDArray[Any], rate: float = RATE
) -> Calibration:
    """Fit temperature and abstention to the scores of speakers that nothing was trained on.

    `scores` [n, classes] are logits or log-probabilities, `speakers` whoever speaks each clip.
    """
    groups = speaker_groups(speakers)
    temperatures = _by_others(groups, lambda rows: fit_temperature(scores[rows], labels[rows]))
    probabilities = softmax(scores / temperatures[:, None], axis=1).astype(np.float64)
    return Calibration(
        temperature=fit_temperature(scores, labels),
        probabilities=probabilities,
        error_before=calibration_error(softmax(scores, axis=1), labels),
        error_after=calibration_error(probabilities, labels),
        abstention=_abstention(probabilities, labels, speakers, groups, rate),
    )


def calibrate_predictions(predictions: Predictions, rate: float = RATE) -> Calibration:
    """Calibrate a run; a clip of unknown speaker counts as a speaker of its own."""
    names = zip(predictions.column("speaker"), predictions.column("clip_id"), strict=True)
    speakers = np.array([speaker or clip_id for speaker, clip_id in names], dtype=object)
    with np.errstate(divide="ignore"):  # a class not trained on has no probability
        scores = np.log(predictions.probabilities().astype(np.float64))
    return calibrate(scores, predictions.labels(), speakers, rate)


def fit_temperature(scores: NDArray[Any], labels: Labels) -> float:
    """Return the temperature by which logits [n, classes] are likeliest (Guo et al. 2017).

    Clips of a class that their model was not trained on, of logit -inf, say nothing of it.
    """
    known = np.isfinite(scores[np.arange(len(labels)), labels])
    if not known.any():
        return 1.0
    scores, labels = scores[known], labels[known]
    shifted = np.asarray(scores - scores.max(1, keepdims=True), dtype=np.float64)
    own = shifted[np.arange(len(labels)), labels].mean()

    def loss(logarithm: float) -> float:
        temperature = np.exp(logarithm)
        sums = np.exp(shifted / temperature) @ np.ones(shifted.shape[1])  # >= 1: no overflow
        return float(np.log(sums).mean() - own / temperature)

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def reliability(probabilities: NDArray[Any], labels: Labels) -> list[Bin]:
    """Return the bins of equal width that hold clips, the least confident first."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(int(there.sum()), float(confidence[there].mean()), float(right[there].mean()))
        for number in range(BINS)
        if (there := place == number).any()
    ]


def calibration_error(probabilities: NDArray[Any], labels: Labels) -> float:
    """Return the expected calibration error in [0, 1]: how far confidence is from accuracy."""
    bins = reliability(probabilities, labels)
    return sum(one.clips * abs(one.confidence - one.accuracy) for one in bins) / len(labels)


def choose_threshold(
    confidence: Floats, wrong: NDArray[np.bool_], speakers: NDArray[Any], rate: float
) -> float | None:
    """Return the least confidence at which errors stay under `rate` among speakers to come.

    Of ten thresholds, which answer a tenth to all of the clips, the lowest is taken whose error has
    an upper limit under the rate; the limits hold together with 95 % confidence (Bonferroni), so
    that trying many does not make one pass by luck. None where none does.
    """
    names, speaker = np.unique(speakers.astype(str), return_inverse=True)
    if len(names) < MINIMUM_SPEAKERS:
        return None
    for share in sorted(SHARES, reverse=True):
        threshold = float(np.quantile(confidence, 1 - share)) if share < 1 else 0.0
        answered = confidence >= threshold
        clips = answered & wrong, answered
        errors, answers = (np.bincount(speaker[rows], minlength=len(names)) for rows in clips)
        if upper_limit(errors, answers, DOUBT / len(SHARES)) <= rate:
            return threshold
    return None


def upper_limit(wrong: NDArray[Any], answered: NDArray[Any], doubt: float) -> float:
    """Return the upper limit of the error rate, from the clips of every speaker, shape [S] each.

    The larger of two: of a ratio over speakers drawn as clusters (Cochran 1977, section 6.3, with
    Student's t), and of clips drawn alone (Clopper and Pearson 1934), for where nobody erred.
    """
    errors, clips, speakers = wrong.sum(), answered.sum(), len(answered)
    if errors == clips:
        return 1.0
    share = errors / clips
    spread = np.square(wrong - share * answered).sum() * speakers / (speakers - 1)
    clustered = share + t.ppf(1 - doubt, speakers - 1) * np.sqrt(spread) / clips
    alone = beta.ppf(1 - doubt, errors + 1, clips - errors)
    return float(max(clustered, alone))


def _abstention(
    probabilities: Floats, labels: Labels, speakers: NDArray[Any], groups: Labels, rate: float
) -> Abstention | None:
    confidence, wrong = probabilities.max(1), probabilities.argmax(1) != labels

    def choose(rows: NDArray[np.bool_]) -> float:
        chosen = choose_threshold(confidence[rows], wrong[rows], speakers[rows], rate)
        return np.inf if chosen is None else chosen  # no answer at all

    below = choose(np.ones(len(labels), dtype=bool))
    answered = confidence >= _by_others(groups, choose)
    if below == np.inf or not answered.any():
        return None
    errors = float(wrong[answered].mean())
    if errors > rate:  # what it promises did not hold where that could be seen
        return None
    return Abstention(below, rate, float(answered.mean()), errors)


def speaker_groups(speakers: NDArray[Any]) -> Labels:
    """Return the group of every clip: speakers in turn, so that those of a corpus are spread."""
    _, number = np.unique(speakers.astype(str), return_inverse=True)
    return np.asarray(number % GROUPS, dtype=np.int64)


def _by_others(groups: Labels, fit: Callable[[NDArray[np.bool_]], float]) -> Floats:
    """Return for every clip what is fitted on the other groups (on all, where there is one)."""
    values = np.empty(len(groups))
    for group in np.unique(groups):
        others = groups != group
        values[~others] = fit(others if others.any() else ~others)
    return values
