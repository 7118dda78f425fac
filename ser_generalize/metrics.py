"""The metrics as `evaluate.Metric` classes, because `evaluate.load` fetches code from the Hub.

The arithmetic is in `scores`, which is what training and reports use: importing `evaluate` takes
seconds and imports torch.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from ser_generalize import scores

INPUTS = """predictions, references: class positions (non-negative integers), one per clip.
Returns a dictionary of one value in [0, 1]; NaN when there is no reference."""


class _ConfusionMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """A metric of the confusion counts; works offline and, in one process, in memory."""

    score: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
        super().__init__(*arguments, **options)

    def _info(self) -> evaluate.MetricInfo:
        integer = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=self.title,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": integer, "references": integer}),
        )

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        labels, predicted = np.asarray(references), np.asarray(predictions)
        classes = int(max(labels.max(initial=0), predicted.max(initial=0))) + 1
        metric: Callable[[scores.Counts], scores.Scores] = scores.METRICS[self.score]
        return {self.score: float(metric(scores.confusion(labels, predicted, classes)))}


class UnweightedAverageRecall(_ConfusionMetric):
    """UAR: recall averaged over the classes that the references hold; `{"uar": ...}`."""

    score, title = "uar", "Unweighted average recall over the classes of the references."


class MacroF1(_ConfusionMetric):
    """Macro-F1: F1 averaged over the classes that the references hold; `{"macro_f1": ...}`."""

    score, title = "macro_f1", "F1 averaged over the classes of the references."


class Accuracy(_ConfusionMetric):
    """Accuracy (WA): the share of clips classified correctly; `{"accuracy": ...}`."""

    score, title = "accuracy", "Share of clips classified correctly."
