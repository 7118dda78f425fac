"""UAR, macro-F1 and accuracy as pure functions of confusion counts, vectorised over leading axes.

A class that the references do not hold is left out of UAR and of macro-F1: it has no recall. For
UAR this is the convention of scikit-learn's `balanced_accuracy_score`, for macro-F1 that of its
`f1_score(average="macro", labels=<classes in the references>)`. A clip predicted as such a class
still counts as an error of its true class, and a class never predicted has an F1 of 0.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ser_generalize.errors import InputError
from ser_generalize.protocols import tests_clips_again

if TYPE_CHECKING:  # for the signature only: at run time this module imports nothing above base
    from ser_generalize.predictions import Predictions

Counts = NDArray[Any]  # confusion counts, shape [..., K, K]: rows are true, columns predicted
Scores = NDArray[np.float64]


def confusion(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Count true against predicted classes.

    Takes class positions in [0, classes), both of shape [n]; returns counts of shape
    [classes, classes], rows true, columns predicted. Raises ValueError for unequal lengths or for
    positions outside the range.
    """
    labels, predicted = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    if labels.shape != predicted.shape:
        raise ValueError(f"{labels.shape} labels against {predicted.shape} predictions")
    both = np.concatenate([labels, predicted])
    if both.size and (both.min() < 0 or both.max() >= classes):
        raise ValueError(f"class positions {both.min()}..{both.max()} outside [0, {classes})")
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def recalls(counts: Counts) -> Scores:
    """Return the recall of every class in [0, 1], shape [..., K]; NaN for a class without clips."""
    return _ratio(_hits(counts), _clips(counts))


def uar(counts: Counts) -> Scores:
    """Return the unweighted average recall in [0, 1], shape [...]; NaN without any reference."""
    return _mean_over_present(recalls(counts), counts)


def macro_f1(counts: Counts) -> Scores:
    """Return the F1 score averaged over the classes present, in [0, 1], shape [...]; else NaN."""
    f1 = _ratio(2 * _hits(counts), _clips(counts) + np.einsum("...ij->...j", counts))
    return _mean_over_present(f1, counts)


def accuracy(counts: Counts) -> Scores:
    """Return the share of clips classified correctly (WA), in [0, 1], shape [...]; else NaN."""
    return _ratio(np.einsum("...ii->...", counts), np.einsum("...ij->...", counts))


def chance(counts: Counts) -> Scores:
    """Return the UAR of guessing: one over the number of classes present, shape [...]."""
    present = (counts.sum(-1) > 0).sum(-1)
    return _ratio(np.ones(np.shape(present)), present)


METRICS: dict[str, Callable[[Counts], Scores]] = {
    "uar": uar,
    "macro_f1": macro_f1,
    "accuracy": accuracy,
}


def corpus_metrics(predictions: "Predictions") -> dict[str, Any]:
    """Return a run's point metrics, ready for metrics.json.

    `corpora` holds them for every corpus, pooled over its clips; `macro_average` is the plain mean
    over corpora, the headline; `pooled` counts all clips alike, so that large corpora rule it. Of
    several seeds all predictions count, which for UAR and accuracy is the mean over seeds; `seeds`
    holds the macro-average of each. `folds`, where several models test the same clips, tells those
    models apart. All values lie in [0, 1]. Raises InputError for a run without a test clip.
    """
    corpus = predictions.column("corpus")
    if not len(corpus):
        raise InputError(f"run {predictions.about.run!r} predicts no clip, so it has no metrics")
    labels, predicted = predictions.labels(), predictions.probabilities().argmax(1)
    clips, speakers = predictions.column("clip_id"), predictions.column("speaker")
    repeats = tests_clips_again(predictions.about.protocol)

    def points(rows: Any) -> dict[str, Any]:
        counts = confusion(labels[rows], predicted[rows], len(predictions.about.classes))
        values = {name: float(metric(counts)) for name, metric in METRICS.items()}
        known = set(speakers[rows]) - {None}
        classes = int((counts.sum(-1) > 0).sum())  # what UAR and macro-F1 average over
        return {
            **values,
            "classes": classes,
            "clips": len(set(clips[rows])),
            "speakers": len(known),
        }

    def by(column: NDArray[Any]) -> dict[str, Any]:
        return {str(name): points(column == name) for name in sorted(set(column))}

    def macro(rows: Any) -> dict[str, float]:
        found = [points(rows & (corpus == name)) for name in sorted(set(corpus[rows]))]
        return {name: float(np.mean([row[name] for row in found])) for name in METRICS}

    everything, seed = np.ones(len(corpus), dtype=bool), predictions.column("seed")
    corpora = by(corpus)
    return {
        "corpora": corpora,
        "macro_average": {**macro(everything), "corpora": len(corpora)},
        "pooled": points(everything),
        "seeds": {str(each): macro(seed == each) for each in sorted(set(seed))},
        **({"folds": by(predictions.column("fold"))} if repeats else {}),
    }


def _hits(counts: Counts) -> Counts:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _clips(counts: Counts) -> Counts:
    """Return the clips of every class; of many small matrices `sum` takes five times as long."""
    return np.einsum("...ij->...i", counts)


def _ratio(numerator: Counts, denominator: Counts) -> Scores:
    ratio = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _mean_over_present(values: Scores, counts: Counts) -> Scores:
    present, each = _clips(counts) > 0, np.ones(counts.shape[-1])
    return _ratio(np.where(present, values, 0) @ each, present @ each)
