"""Training: many heads as one program are the heads one by one, and learn what is to be learnt."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from ser_generalize.calibration import fit_temperature
from ser_generalize.errors import InputError
from ser_generalize.heads import Dropout, Features, HeadStack, Probabilities, parse_head
from ser_generalize.linear import train_linear
from ser_generalize.mixture import Labels, Mixture, Rows
from ser_generalize.neighbours import Neighbours
from ser_generalize.optimiser import one_cycle
from ser_generalize.resampling import SAMPLERS, resample
from ser_generalize.stopping import cross_entropy
from ser_generalize.training import LOSSES, Job, Recipe, Trained, Training, train

LAYERS, WIDTH, CLASSES = 3, 8, 3
NOBODY = np.empty(0, np.int64)


def clips(per_class: int = 100, classes: int = CLASSES, seed: int = 0) -> tuple[Features, Labels]:
    """Return features of which layer 1 alone tells the classes, and the classes."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(classes), per_class))
    features = generator.normal(size=(len(labels), LAYERS, WIDTH))
    features[:, 1, :classes] += 3 * np.eye(classes)[labels]
    return features.astype(np.float32), labels


def job_of(
    features: Features, labels: Labels, rows: Rows, sampler: str = "none", seed: int = 0,
    name: str = "fold", validation: Rows = NOBODY,
) -> Job:  # fmt: skip
    """Return a job that trains on some rows and is tested on all others."""
    neighbours = Neighbours(features.reshape(len(features), -1), labels)
    mixture, _ = resample(sampler, neighbours, rows, seed)
    test = np.setdiff1d(np.arange(len(labels)), np.union1d(rows, validation))
    return Job(name, seed, mixture, rows, test, validation)


def trained(
    features: Features, labels: Labels, jobs: Sequence[Job], recipe: Recipe,
    hidden: Sequence[int] = (32,), classes: int = CLASSES,
) -> list[Trained]:  # fmt: skip
    return train(torch.from_numpy(features), labels, jobs, hidden, classes, recipe)


def fit(
    head: str, train: Features, labels: Labels, test: Features,
    sampler: str = "none",
) -> Probabilities:  # fmt: skip
    """Train on some clips and return the probabilities of others."""
    features, rows = np.concatenate([train, test]), np.arange(len(train))
    job = job_of(features, np.concatenate([labels, np.zeros(len(test), int)]), rows, sampler)
    return predicted(head, features, labels, job)


def predicted(head: str, features: Features, labels: Labels, job: Job) -> Probabilities:
    hidden = parse_head(head)
    if hidden is None:
        found = train_linear(head, features, job, CLASSES).logits
    else:
        found = trained(features, labels, [job], Recipe(), hidden)[0].logits
    return torch.from_numpy(found).softmax(1).numpy()


@pytest.mark.parametrize("head", ["32", "32,16", "logistic", "lda"])
@pytest.mark.parametrize("sampler", ["none", "smote", "balanced"])
def test_what_can_be_told_apart_is(head: str, sampler: str) -> None:
    train, labels = clips()
    test, expected = clips(seed=1)
    probabilities = fit(head, train, labels, test, sampler=sampler)
    assert probabilities.shape == (len(test), CLASSES)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities >= 0).all()
    assert (probabilities.argmax(1) == expected).mean() > 0.85


def uneven_jobs(features: Features, labels: Labels, sampler: str, validate: bool) -> list[Job]:
    """Return jobs with 1 to 5 batches of 64 an epoch, with or without validation clips."""
    order, jobs = np.random.default_rng(3).permutation(len(labels)), []
    for seed, clips in enumerate((130, 64, 290, 65, 200, 40)):
        validation = order[-20 - seed :] if validate and seed != 2 else NOBODY
        rows = np.sort(order[:clips])
        jobs.append(job_of(features, labels, rows, sampler, seed, f"fold {seed}", validation))
    return jobs


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sampler", ["none", "smote", "mixup"])
def test_a_head_alone_and_in_a_group_predict_the_same(
    sampler: str, loss: str, validate: bool
) -> None:
    features, labels = clips(110)
    jobs = uneven_jobs(features, labels, sampler, validate)
    recipe = Recipe(loss=loss, epochs=12)
    together = trained(features, labels, jobs, recipe)
    torch.manual_seed(99)  # nor does it matter what state torch's own generator is in
    for job, one in zip(jobs, together, strict=True):
        [alone] = trained(features, labels, [job], recipe)
        np.testing.assert_allclose(alone.logits, one.logits, atol=2e-4)
        assert len(one.logits) == len(job.test)
        assert alone.epochs == one.epochs
        assert alone.temperature == pytest.approx(one.temperature, rel=1e-2)
        for name, array in alone.parameters.items():
            np.testing.assert_allclose(one.parameters[name], array, atol=2e-4)
    assert len({one.logits[0].tobytes() for one in together}) == len(jobs)  # the seeds count


def test_torch_s_own_generator_is_left_alone() -> None:
    features, labels = clips(per_class=7)
    before = torch.get_rng_state()
    fit("4", features, labels, features)
    assert torch.equal(torch.get_rng_state(), before)


class PlainHead(nn.Module):
    """The same head in everyday torch."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layer_scores = nn.Parameter(torch.zeros(LAYERS))
        self.linears = nn.ModuleList([nn.Linear(WIDTH, hidden), nn.Linear(hidden, CLASSES)])

    def forward(self, clips: torch.Tensor, dropout: Dropout) -> torch.Tensor:
        values = torch.einsum("l,clw->cw", self.layer_scores.softmax(0), clips)
        for index, linear in enumerate(self.linears):
            values = linear(dropout(index, values[None])[0])
            values = values if index else values.relu()
        return values


@pytest.mark.parametrize("loss", ["ce", "focal"])
@pytest.mark.parametrize("sampler", ["none", "smote"])
def test_training_is_that_of_everyday_torch(sampler: str, loss: str) -> None:
    features, labels = clips(per_class=50)
    rows, recipe = np.flatnonzero((labels != 1) | (np.arange(150) % 3 > 0)), Recipe(loss, epochs=9)
    job = job_of(features, labels, rows, sampler, seed=4)
    [found] = trained(features, labels, [job], recipe, (16,))

    head, stack = PlainHead(16), HeadStack(LAYERS, (WIDTH, 16, CLASSES), [4], torch.device("cpu"))
    start = {name.replace("linear.", "linears."): a for name, a in stack.parameters(0).items()}
    head.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    groups = [
        {"params": list(head.linears.parameters()), "weight_decay": recipe.weight_decay},
        {"params": [head.layer_scores], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups)
    steps = -(-len(job.mixture.label) // 64)
    peaks = [recipe.learning_rate, recipe.layer_learning_rate]
    schedule = OneCycleLR(optimiser, peaks, total_steps=steps * recipe.epochs)
    scaler = StandardScaler().fit(features[rows].reshape(len(rows), -1))
    scaled = scaler.transform(features.reshape(len(features), -1)).reshape(features.shape)
    for step in range(steps * recipe.epochs):
        if step % steps == 0:
            epoch = job.mixture.epoch(np.random.default_rng([4, step // steps]))
            values = torch.from_numpy(epoch.of(scaled))
        batch = slice(64 * (step % steps), 64 * (step % steps + 1))
        dropout = Dropout(torch.tensor([4]), torch.tensor([step]), (WIDTH, 16), 64)
        target = torch.from_numpy(epoch.label[batch])
        logits = head(values[batch], dropout)
        each = functional.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
        if loss == "focal":
            each = each * (1 - logits.softmax(1).gather(1, target[:, None])[:, 0]) ** 2
        optimiser.zero_grad()
        each.mean().backward()
        optimiser.step()
        schedule.step()
    for name, tensor in head.state_dict().items():
        array = found.parameters[name.replace("linears.", "linear.")]
        np.testing.assert_allclose(array, tensor.numpy(), atol=2e-5)


def test_a_weighted_loss_is_torch_s() -> None:
    features, labels = clips(per_class=50)
    rows = np.flatnonzero((labels != 1) | (np.arange(150) % 3 == 0))
    job = job_of(features, labels, rows)
    recipe = Recipe(loss="weighted", label_smoothing=0, batch=len(rows))
    training = Training(torch.from_numpy(features), [job], (16,), CLASSES, recipe)
    seen: list[float] = []
    training._check = lambda losses, _: seen.extend(losses.tolist())  # type: ignore[method-assign]
    training.stack.tensors["linear.1.weight"].zero_()  # so that dropout does not matter
    training.stack.tensors["linear.1.bias"].copy_(torch.tensor([[[0.3, -0.2, 1.0]]]))
    training._epoch(0)
    counts = np.bincount(labels[rows])
    expected = functional.cross_entropy(
        torch.tensor([[0.3, -0.2, 1.0]]).expand(len(rows), -1),
        torch.from_numpy(labels[rows]),
        weight=torch.from_numpy(1 / counts).float(),
    )
    assert seen == pytest.approx([expected.item()], rel=1e-5)


@pytest.mark.parametrize("total", [7, 60, 301])
def test_the_schedule_is_torch_s_one_cycle(total: int) -> None:
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    schedule = OneCycleLR(optimiser, 2.0, total_steps=total)
    for step in range(total):
        share, momentum = one_cycle(step, total)
        [group] = optimiser.param_groups
        assert 2 * share == pytest.approx(group["lr"], rel=1e-6)
        assert momentum == pytest.approx(group["betas"][0], rel=1e-6)
        optimiser.step()
        schedule.step()


def test_the_layer_that_informs_gains_weight() -> None:
    features, labels = clips()
    job = job_of(features, labels, np.arange(200))
    scores = trained(features, labels, [job], Recipe())[0].parameters["layer_scores"]
    weights = np.exp(scores) / np.exp(scores).sum()
    assert weights.argmax() == 1
    assert weights[1] > 0.6  # from a third


def test_a_clip_is_predicted_alike_in_any_company() -> None:
    train, labels = clips()
    test, _ = clips(seed=1)
    together = fit("32", train, labels, test)
    alone = np.concatenate([fit("32", train, labels, clip[None]) for clip in test[:3]])
    np.testing.assert_allclose(alone, together[:3], rtol=1e-5)


@pytest.mark.parametrize("head", ["32", "logistic", "lda"])
@pytest.mark.parametrize("constant", [0.0, 22.3])
def test_a_feature_that_never_varied_in_training_decides_nothing(
    head: str, constant: float
) -> None:
    train, labels = clips()
    test, expected = clips(seed=1)
    train[:, :, -1], test[:, :, -1] = constant, constant
    plain = fit(head, train, labels, test)
    assert np.isfinite(plain).all()
    test[:, :, -1] += 0.01  # it does now, by very little
    moved = fit(head, train, labels, test)
    np.testing.assert_allclose(moved, plain, atol=0.02)
    assert (moved.argmax(1) == expected).mean() > 0.85


@pytest.mark.parametrize("head", ["32", "logistic", "lda"])
def test_a_class_that_training_lacks_is_predicted_for_nobody(
    head: str,
) -> None:
    train, labels = clips()
    there = labels != 1
    probabilities = fit(head, train[there], labels[there], train, sampler="smote")
    assert probabilities.shape == (len(train), CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert not (probabilities.argmax(1) == 1).any()
    assert (probabilities.argmax(1) == labels)[there].mean() > 0.9


@pytest.mark.parametrize("head", ["32", "logistic", "lda"])
@pytest.mark.parametrize("weight", [0, 1])
def test_the_head_hears_the_mixture_and_nothing_else(head: str, weight: int) -> None:
    """Clips of class 2 take part with no weight: neither they nor their class are learned."""
    features, labels = clips()
    heard, silent = np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)
    pair = heard, np.resize(silent, len(heard))
    weights, own = np.full(len(heard), weight, dtype=np.float32), labels[heard]
    mixture = Mixture(pair[weight], pair[1 - weight], weights, own, own)
    everything = np.arange(len(labels))
    job = Job("fold", 0, mixture, everything, everything, NOBODY)
    found = predicted(head, features, labels, job)
    assert not (found.argmax(1) == 2).any()
    assert (found.argmax(1) == labels)[heard].mean() > 0.85


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_can_be_trained_on(sampler: str) -> None:
    features, labels = clips(300)
    rows = np.flatnonzero((labels != 1) | (np.arange(900) % 3 == 0))
    job = replace(job_of(features, labels, rows, sampler), test=np.arange(900))
    [found] = trained(features, labels, [job], Recipe())
    assert (found.logits.argmax(1) == labels).mean() > 0.85


def test_bfloat16_learns_the_same() -> None:
    features, labels = clips()
    job, recipe = job_of(features, labels, np.arange(200)), Recipe(epochs=20)
    [full] = trained(features, labels, [job], recipe)
    [half] = trained(features, labels, [job], replace(recipe, bf16=True))
    assert 0 < np.abs(full.logits - half.logits).mean() < 0.05
    assert half.parameters["linear.0.weight"].dtype == np.float32


def test_early_stopping_keeps_the_epoch_of_the_lowest_validation_loss() -> None:
    generator = np.random.default_rng(1)
    features, labels = clips(60)
    noisy = np.where(generator.random(180) < 0.4, generator.integers(0, CLASSES, 180), labels)
    rows, validation = np.arange(90), np.arange(90, 140)
    recipe = Recipe(epochs=40, learning_rate=0.03, label_smoothing=0)  # it learns the noise too
    job = job_of(features, noisy, rows, validation=validation)
    training = Training(torch.from_numpy(features), [job], (64,), CLASSES, recipe)
    losses = []
    for epoch in range(recipe.epochs):
        training._epoch(epoch)
        losses.append(cross_entropy(training.predict([validation])[0], noisy[validation]))
    [found] = trained(features, noisy, [job], recipe, (64,))
    assert found.epochs == int(np.argmin(losses)) + 1 < recipe.epochs
    [whole] = trained(features, noisy, [replace(job, validation=NOBODY)], recipe, (64,))
    assert (whole.epochs, whole.temperature) == (recipe.epochs, 1.0)
    assert not np.allclose(whole.logits, found.logits, atol=0.01)
    assert 0.05 < found.temperature < 20
    assert found.temperature != 1


def test_the_temperature_is_the_most_likely_one() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, (4000, 4)).astype(np.float32)
    chances = torch.from_numpy(honest).softmax(1).numpy()
    labels = np.array([generator.choice(4, p=p / p.sum()) for p in chances.astype(float)])
    assert fit_temperature(honest, labels) == pytest.approx(1, abs=0.06)
    assert fit_temperature(3 * honest, labels) == pytest.approx(3, abs=0.18)
    assert fit_temperature(honest, honest.argmax(1)) == pytest.approx(0.05, rel=0.1)  # the edge
    best = cross_entropy(3 * honest, labels, fit_temperature(3 * honest, labels))
    assert best < min(cross_entropy(3 * honest, labels, each) for each in (1, 2, 2.5, 3.5, 5))


def test_a_loss_that_is_no_number_names_the_fold() -> None:
    features, labels = clips(60)
    features[7, 1, 2] = np.inf
    jobs = [
        job_of(features, labels, rows, name=name)
        for name, rows in (("emodb:03", np.arange(20, 150)), ("emodb:08", np.arange(100)))
    ]
    with pytest.raises(InputError, match="loss of fold emodb:08 is not a number in epoch 1: look"):
        trained(features, labels, jobs, Recipe())


def test_progress_counts_every_epoch() -> None:
    features, labels = clips(per_class=4)
    epochs: list[int] = []
    jobs = [job_of(features, labels, np.arange(9), seed=seed) for seed in range(2)]
    train(
        torch.from_numpy(features), labels, jobs, (4,), CLASSES, Recipe(), lambda: epochs.append(1)
    )
    assert len(epochs) == Recipe().epochs
