"""UAR, macro-F1 and accuracy: equality with scikit-learn, absent classes, evaluate.Metric."""

import socket
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from make_predictions import predictions
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from ser_generalize import metrics, scores
from ser_generalize.errors import InputError
from ser_generalize.predictions import Predictions

LABELS, PREDICTED = np.random.default_rng(0).integers(0, 5, (2, 400))


def test_confusion_equals_scikit_learn() -> None:
    counts = scores.confusion(LABELS, PREDICTED, 5)
    assert (counts == confusion_matrix(LABELS, PREDICTED, labels=range(5))).all()


@pytest.mark.parametrize("absent", [(), (2,), (0, 4)], ids=str)
def test_metrics_equal_scikit_learn_over_the_classes_present(absent: tuple[int, ...]) -> None:
    rows = ~np.isin(LABELS, absent)
    labels, predicted = LABELS[rows], PREDICTED[rows]
    present = sorted(set(labels))
    counts = scores.confusion(labels, predicted, 5)
    with pytest.warns(UserWarning, match="not in y_true") if absent else nullcontext():
        assert scores.uar(counts) == pytest.approx(balanced_accuracy_score(labels, predicted))
    expected = f1_score(labels, predicted, labels=present, average="macro")
    assert scores.macro_f1(counts) == pytest.approx(expected)
    assert scores.accuracy(counts) == pytest.approx(accuracy_score(labels, predicted))


@pytest.mark.parametrize("name", scores.METRICS)
def test_metrics_are_vectorised_over_leading_dimensions(name: str) -> None:
    metric, counts = scores.METRICS[name], np.random.default_rng(1).integers(0, 9, (3, 2, 4, 4))
    one_by_one = [[metric(counts[i, j]) for j in range(2)] for i in range(3)]
    assert metric(counts) == pytest.approx(np.array(one_by_one))


def test_a_class_never_predicted_has_no_f1_and_no_reference_has_no_score() -> None:
    counts = np.array([[2, 0], [2, 0]])
    assert scores.macro_f1(counts) == pytest.approx((2 * 2 / 6 + 0) / 2)
    assert np.isnan(scores.uar(np.zeros((2, 2), int)))
    assert scores.chance(counts) == 0.5


@pytest.mark.parametrize("predicted", [[0, 5], [-1, 0], [0]], ids=str)
def test_confusion_refuses_what_it_cannot_count(predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"predictions|outside"):
        scores.confusion(np.array([0, 1]), np.array(predicted), 5)


def test_corpus_metrics_average_corpora_with_equal_weight() -> None:
    run = predictions(corpora={"big": (6, 30), "small": (4, 2)}, missing=[("big:00", "sad")])
    found = scores.corpus_metrics(run)
    big, small = found["corpora"]["big"], found["corpora"]["small"]
    assert (big["clips"], big["speakers"]) == (6 * 4 * 30 - 30, 6)
    assert found["macro_average"]["uar"] == pytest.approx((big["uar"] + small["uar"]) / 2)
    expected = balanced_accuracy_score(run.labels(), run.probabilities().argmax(1))
    assert found["pooled"]["uar"] == pytest.approx(expected)
    assert found["pooled"]["clips"] == big["clips"] + small["clips"]


def test_corpus_metrics_refuse_a_run_without_clips() -> None:
    run = predictions()
    with pytest.raises(InputError, match="no clip"):
        scores.corpus_metrics(Predictions(run.about, run.table.slice(0, 0)))


@pytest.mark.parametrize(
    ("name", "key"),
    [("UnweightedAverageRecall", "uar"), ("MacroF1", "macro_f1"), ("Accuracy", "accuracy")],
)
def test_evaluate_metrics_work_offline_and_in_batches(
    name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("used the network"))
    metric = getattr(metrics, name)()
    expected = {key: float(scores.METRICS[key](scores.confusion(LABELS, PREDICTED, 5)))}
    assert metric.compute(predictions=PREDICTED, references=LABELS) == expected
    for part in np.array_split(np.arange(400), 3):
        metric.add_batch(predictions=PREDICTED[part], references=LABELS[part])
    assert metric.compute() == expected


def test_importing_scores_imports_no_torch() -> None:
    code = "import sys, ser_generalize.scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
