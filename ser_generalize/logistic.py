"""Logistic regression as a head: scikit-learn's, on all layers side by side."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

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
) -> Probabilities:
    """Return the test clips' probabilities [clips, classes]; a class not trained on gets 0.

    `features` are clip-normalised [clips, layers, width], all rows are positions in them, and the
    scaler is fitted on the real clips of `train`. With `weighted` every class counts alike.
    """
    scaler = fit_scaler(torch.from_numpy(features), torch.from_numpy(train))
    model = LogisticRegression(C=C, max_iter=STEPS, class_weight="balanced" if weighted else None)

    def standardised(values: Features) -> Features:
        return scaler(torch.from_numpy(values)).numpy().reshape(len(values), -1)

    model.fit(standardised(mixture.of(features)), mixture.label)
    probabilities = np.zeros((len(test), classes), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(standardised(features[test]))
    return probabilities
