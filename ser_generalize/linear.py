"""Heads that are fitted at once, on all layers side by side: logistic regression and LDA."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.linear_model import LogisticRegression

from ser_generalize.adapt import Column, Known
from ser_generalize.batches import class_weights
from ser_generalize.calibration import GROUPS, fit_temperature, speaker_groups
from ser_generalize.errors import InputError
from ser_generalize.heads import LDA, LOGISTIC, Features, fit_scaler
from ser_generalize.mixture import Labels, Mixture, Rows
from ser_generalize.stopping import Logits
from ser_generalize.training import Job, Trained

C = 0.003  # of logistic regression, scikit-learn's
STEPS = 1000
# Of LDA, chosen as the recipe of networks was (see `training`): .2, .5 and .8 were compared.
SHRINKAGE = 0.5
ENOUGH = 500  # clips of held-out speakers for a temperature
SETTINGS = {
    LOGISTIC: {"C": C, "steps": STEPS},
    LDA: {"shrinkage": SHRINKAGE, "held_out": ENOUGH},
}
BLOCK = 4096  # rows whose deviations are in memory at a time

Values = NDArray[np.float32]  # [rows, inputs], standardised
Counts = NDArray[np.float64]  # how much every row counts
Biases = NDArray[np.float32]
Fit = Callable[[Values, Labels, Counts, int], tuple[Values, Biases]]


def train_linear(
    head: str,
    features: Features,
    job: Job,
    classes: int,
    weighted: bool = False,
    known: Known | None = None,
    speakers: Column | None = None,
) -> Trained:
    """Fit the `head` of that name to a job; the logit of a class not trained on is -inf.

    `features` are clip-normalised [clips, layers, width]. The scaler is fitted on the real clips of
    the training part, then updated by what is `known` of the domain of every clip. With `weighted`
    every class counts alike. LDA has a temperature, of training `speakers` [labelled clips] who are
    held out for it; without speakers, and of logistic regression, it is 1. Raises InputError,
    naming the fold, where features are not finite.
    """
    clips = torch.from_numpy(features)
    scaler = fit_scaler(clips, torch.from_numpy(job.train))
    scaled = scaler(clips) if known is None else known.of_all(scaler)(clips)
    inputs: Values = scaled.flatten(1).numpy()

    def fit(mixture: Mixture) -> tuple[Values, Biases]:
        return _fit(head, job.name, inputs, mixture, classes, weighted)

    weight, bias = fit(job.mixture)
    temperature = 1.0
    if head == LDA and speakers is not None:
        temperature = _temperature(inputs, job.mixture, _groups(speakers, job.train), fit)
    parameters = {
        "linear.0.weight": weight,
        "linear.0.bias": bias,
        "mean": scaler.mean.numpy(),
        "deviation": scaler.deviation.numpy(),
    }
    return Trained(inputs[job.test] @ weight.T + bias, temperature, 0, parameters)


def _fit(
    head: str, fold: str, inputs: Values, mixture: Mixture, classes: int, weighted: bool
) -> tuple[Values, Biases]:
    """Return the weights [classes, inputs] and biases [classes] that a mixture gives."""
    heard, counts = mixture.in_all_copies()
    values = heard.of(inputs)
    if not np.isfinite(values).all():
        raise InputError(
            f"fold {fold} cannot be fitted: look for embeddings that are not finite, and embed "
            "those clips again"
        )
    present, labels = np.unique(heard.label, return_inverse=True)
    if counts is None:
        counts = np.ones(len(labels))
    if weighted:
        counts = counts * class_weights(labels, len(present))[labels]
    weight = np.zeros((classes, inputs.shape[1]), np.float32)
    bias = np.full(classes, -np.inf, np.float32)
    weight[present], bias[present] = FITS[head](values, labels, counts, len(present))
    return weight, bias


def _groups(speakers: Column, train: Rows) -> Labels:
    """Return which training clips [clips] are held out together: speakers, if there are several."""
    groups = np.zeros(len(speakers), np.int64)
    groups[train] = speaker_groups(speakers[train])
    if not groups.any():
        groups[train] = np.arange(len(train)) % GROUPS
    return groups


def _temperature(
    inputs: Values,
    mixture: Mixture,
    groups: Labels,
    fit: Callable[[Mixture], tuple[Values, Biases]],
) -> float:
    """Return the temperature of speakers that are held out of a mixture for it.

    With thousands of inputs LDA is far too sure of what it says. `groups` of speakers [clips] are
    held out one after another until `ENOUGH` clips were; 1 where that leaves no two classes.
    """
    real = np.flatnonzero(mixture.weight == 0)
    rows = real[np.unique(mixture.first[real], return_index=True)[1]]  # of every real clip one
    first, second = groups[mixture.first], groups[mixture.second]
    scores, truth = list[Logits](), list[Labels]()
    for held in np.unique(first):
        if sum(map(len, truth)) >= ENOUGH:
            break
        apart = (first != held) & (second != held)
        if len(np.unique(mixture.label[apart])) < 2:
            continue
        weight, bias = fit(mixture.take(apart))
        own = mixture.take(rows[first[rows] == held])
        own = own.take(np.isfinite(bias)[own.label])  # of classes that the others have
        scores.append(inputs[own.first] @ weight.T + bias)
        truth.append(own.label)
    if not sum(map(len, truth)):
        return 1.0
    return fit_temperature(np.concatenate(scores), np.concatenate(truth))


def logistic_regression(
    values: Values, labels: Labels, counts: Counts, classes: int
) -> tuple[Values, Biases]:
    """Return the weights [classes, inputs] and biases [classes] of scikit-learn's regression."""
    model = LogisticRegression(C=C, max_iter=STEPS).fit(values, labels, counts)
    weight, bias = model.coef_, model.intercept_
    if classes == 2:  # of which scikit-learn gives the difference
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def discriminant_analysis(
    values: Values, labels: Labels, counts: Counts, classes: int
) -> tuple[Values, Biases]:
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
    means = (member / prior[:, None]).astype(np.float32) @ values

    def spread(part: slice) -> Values:
        """Return rows about the mean of their class, such that their squares sum to variances."""
        centred = values[part] - means[labels[part]]
        return centred * np.sqrt(share[part], dtype=np.float32)[:, None]

    rows, inputs = values.shape
    if rows < inputs:  # Woodbury's identity
        deviations = spread(slice(None))
        gram = (deviations @ deviations.T).astype(np.float64)
        sphere = _sphere(gram, inputs)
        gram.flat[:: rows + 1] += sphere / (1 - SHRINKAGE)
        within = cho_solve(cho_factor(gram, overwrite_a=True), deviations @ means.T)
        weight = (means - within.T.astype(np.float32) @ deviations) / sphere
    else:
        covariance = np.zeros((inputs, inputs))
        for start in range(0, rows, BLOCK):
            deviations = spread(slice(start, start + BLOCK))
            covariance += deviations.T @ deviations
        sphere = _sphere(covariance, inputs)
        covariance *= 1 - SHRINKAGE
        covariance.flat[:: inputs + 1] += sphere
        weight = cho_solve(cho_factor(covariance, overwrite_a=True), means.T).T
    return weight, np.log(prior) - (weight * means).sum(axis=1) / 2


def _sphere(products: NDArray[np.float64], inputs: int) -> float:
    """Return the variance of the sphere, given a matrix with the covariance's trace."""
    trace = max(np.trace(products), 1e-6)  # 0 of one clip of every class
    return float(SHRINKAGE * trace / inputs)


FITS: dict[str, Fit] = {LOGISTIC: logistic_regression, LDA: discriminant_analysis}
