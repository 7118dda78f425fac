"""Logistic regression as a head: scikit-learn's, on all layers side by side."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ser_generalize.adapt import Known
from ser_generalize.heads import Features, Probabilities, fit_scaler
from ser_generalize.mixture import Mixture, Rows

C = 0.003
STEPS = 1000


def train_logistic(
    features: Features,
    train: Rows,
    mixture: Mixture,
    test: Rows,
    classes: int,
    weighted: bool = False,
    known: Known | None = None,
) -> Probabilities:
    """Return the test clips' probabilities [clips, classes]; a class not trained on gets 0.

    `features` are clip-normalised [clips, layers, width], all rows are positions in them, and the
    scaler is fitted on the real clips of `train`, then updated by what is `known` of the domain of
    every clip. With `weighted` every class counts alike.
    """
    model = LogisticRegression(C=C, max_iter=STEPS, class_weight="balanced" if weighted else None)
    inputs = _standardised(torch.from_numpy(features), torch.from_numpy(train), known)
    heard, counts = mixture.in_all_copies()
    model.fit(heard.of(inputs), heard.label, counts)
    probabilities = np.zeros((len(test), classes), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(inputs[test])
    return probabilities


def _standardised(features: Tensor, train: Tensor, known: Known | None) -> NDArray[np.float32]:
    """Return all layers side by side, [clips, layers * width]."""
    scaler = fit_scaler(features, train)
    if known is not None:
        scaler = known.of_all(scaler)
    values: NDArray[np.float32] = scaler(features).flatten(1).numpy()
    return values
