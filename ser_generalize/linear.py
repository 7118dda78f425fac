"""Heads that are fitted at once, on all layers side by side: logistic regression and LDA."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.linear_model import LogisticRegression

from ser_generalize.adapt import Known
from ser_generalize.batches import class_weights
from ser_generalize.heads import LDA, LOGISTIC, Features, fit_scaler
from ser_generalize.mixture import Labels
from ser_generalize.training import Job, Trained

C = 0.003  # of logistic regression, scikit-learn's
STEPS = 1000
# Of LDA, chosen as the recipe of networks was (see `training`): .2, .5 and .8 were compared.
SHRINKAGE = 0.5

Values = NDArray[np.float32]  # [rows, inputs], standardised
Counts = NDArray[np.float64]  # how much every row counts
Fit = Callable[[Values, Labels, Counts, int], tuple[Values, NDArray[np.float32]]]


def train_linear(
    head: str,
    features: Features,
    job: Job,
    classes: int,
    weighted: bool = False,
    known: Known | None = None,
) -> Trained:
    """Fit the `head` of that name to a job; the logit of a class not trained on is -inf.

    `features` are clip-normalised [clips, layers, width]. The scaler is fitted on the real clips of
    the training part, then updated by what is `known` of the domain of every clip. With `weighted`
    every class counts alike.
    """
    clips = torch.from_numpy(features)
    scaler = fit_scaler(clips, torch.from_numpy(job.train))
    scaled = scaler(clips) if known is None else known.of_all(scaler)(clips)
    inputs: Values = scaled.flatten(1).numpy()
    heard, counts = job.mixture.in_all_copies()
    present, labels = np.unique(heard.label, return_inverse=True)
    if counts is None:
        counts = np.ones(len(labels))
    if weighted:
        counts = counts * class_weights(labels, len(present))[labels]
    weight = np.zeros((classes, inputs.shape[1]), np.float32)
    bias = np.full(classes, -np.inf, np.float32)
    weight[present], bias[present] = FITS[head](heard.of(inputs), labels, counts, len(present))
    parameters = {
        "linear.0.weight": weight,
        "linear.0.bias": bias,
        "mean": scaler.mean.numpy(),
        "deviation": scaler.deviation.numpy(),
    }
    return Trained(inputs[job.test] @ weight.T + bias, 1.0, 0, parameters)


def logistic_regression(
    values: Values, labels: Labels, counts: Counts, classes: int
) -> tuple[Values, NDArray[np.float32]]:
    """Return the weights [classes, inputs] and biases [classes] of scikit-learn's regression."""
    model = LogisticRegression(C=C, max_iter=STEPS).fit(values, labels, counts)
    weight, bias = model.coef_, model.intercept_
    if classes == 2:  # of which scikit-learn gives the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def discriminant_analysis(
    values: Values, labels: Labels, counts: Counts, classes: int
) -> tuple[Values, NDArray[np.float32]]:
    """Return the weights [classes, inputs] and biases [classes] of linear discriminant analysis.

    Clips of a class are normally distributed about its mean, all classes with one covariance. It is
    shrunken half-way to a sphere of the same trace (Friedman 1989), without which it could not be
    inverted: there are more inputs than clips. scikit-learn's (`solver="lsqr"`) is equal, but knows
    no `counts` and inverts [inputs, inputs] matrices where [rows, rows] ones say the same.
    """
    share = counts / counts.sum()
    member = np.zeros((classes, len(labels)))
    member[labels, np.arange(len(labels))] = share
    prior = member.sum(axis=1)
    means = ((member / prior[:, None]) @ values).astype(np.float32)
    spread = np.sqrt(share, dtype=np.float32)[:, None] * (values - means[labels])
    rows, inputs = spread.shape
    trace = max(np.square(spread).sum(dtype=np.float64), 1e-6)  # 0 of one clip of every class
    sphere = SHRINKAGE * trace / inputs
    if rows < inputs:  # Woodbury's identity
        gram = (spread @ spread.T).astype(np.float64)
        gram.flat[:: rows + 1] += sphere / (1 - SHRINKAGE)
        within = cho_solve(cho_factor(gram, overwrite_a=True), spread @ means.T)
        weight = (means - within.T @ spread) / sphere
    else:
        covariance = (1 - SHRINKAGE) * (spread.T @ spread).astype(np.float64)
        covariance.flat[:: inputs + 1] += sphere
        weight = cho_solve(cho_factor(covariance, overwrite_a=True), means.T).T
    return weight, np.log(prior) - (weight * means).sum(axis=1) / 2


FITS: dict[str, Fit] = {LOGISTIC: logistic_regression, LDA: discriminant_analysis}
